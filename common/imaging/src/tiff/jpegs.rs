//! TIFF whose strips or tiles are JPEGs.

use super::directory::{
    Directory, JPEG_TABLES, PHOTOMETRIC, PLANES, STRIP_BYTES, STRIP_OFFSETS, STRIP_ROWS, TILE_BYTES, TILE_HEIGHT,
    TILE_OFFSETS, TILE_WIDTH,
};
use crate::{Pixels, channels::rgb_of_cmyk, jpeg, limits};

/// Decodes all of them, with the tables that they share.
///
/// # Errors
/// In words: if one is damaged or cut off, or they are not of one kind.
pub(super) fn decode(directory: &Directory<'_>) -> Result<Pixels, String> {
    let wrong = || "it is damaged: its parts make no sense".to_owned();
    let size = |tag| directory.value(tag).ok_or_else(wrong);
    let (width, height) = directory.size().ok_or_else(wrong)?;
    limits::check(width, height).map_err(|error| error.to_string())?;
    let (height, width) = (height as usize, width as usize);
    if directory.value(PLANES) == Some(2) {
        return Err("it is a TIFF with a JPEG for each colour, which is not read: save it as PNG".into());
    }
    let (rows, columns, offsets, counts) = match directory.value(TILE_WIDTH) {
        Some(columns) => (size(TILE_HEIGHT)?, columns, directory.values(TILE_OFFSETS), directory.values(TILE_BYTES)),
        None => {
            let rows = directory.value(STRIP_ROWS).unwrap_or(height as u64);
            (rows, width as u64, directory.values(STRIP_OFFSETS), directory.values(STRIP_BYTES))
        }
    };
    let (rows, columns) = ((rows as usize).min(height), columns as usize);
    if rows == 0 || columns == 0 || height == 0 || width == 0 {
        return Err(wrong());
    }
    let across = width.div_ceil(columns);
    if offsets.len() != counts.len() || offsets.len() < across * height.div_ceil(rows) {
        return Err(wrong());
    }
    let tables = directory.content(JPEG_TABLES).and_then(|tables| tables.strip_suffix(&[0xFF, 0xD9]));
    let mut image = Pixels { height, width, channels: 0, data: Vec::new() };
    for (index, (offset, count)) in offsets.iter().zip(&counts).take(across * height.div_ceil(rows)).enumerate() {
        let part = directory.part(*offset, *count).ok_or("it is cut off")?;
        let whole = tables.zip(part.strip_prefix(&[0xFF, 0xD8])).map(|(tables, part)| [tables, part].concat());
        let rgb = directory.value(PHOTOMETRIC) == Some(2);
        let part = jpeg::decode_as(whole.as_deref().unwrap_or(part), rgb).map_err(|error| error.to_string())?;
        if index == 0 {
            image.channels = part.channels;
            image.data = vec![0; height * width * part.channels];
        }
        let (top, left) = (index / across * rows, index % across * columns);
        let (used_rows, used) = (rows.min(height - top), columns.min(width - left));
        if part.channels != image.channels || part.height < used_rows || part.width < used {
            return Err(wrong());
        }
        let channels = image.channels;
        for (y, row) in part.data.chunks_exact(part.width * channels).take(used_rows).enumerate() {
            let at = ((top + y) * width + left) * channels;
            image.data[at..at + used * channels].copy_from_slice(&row[..used * channels]);
        }
    }
    Ok(if image.channels == 4 { rgb_of_cmyk(image) } else { image })
}
