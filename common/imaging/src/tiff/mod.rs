//! TIFF: the first page, of whole numbers up to 16 bits.

mod directory;
mod jpegs;

use crate::{
    Pixels,
    channels::rgb_of_cmyk,
    limits::{self, MAX_BYTES},
    orientation::upright,
};
use directory::Directory;
use image::metadata::Orientation;
use std::{borrow::Cow, io::Cursor};
use tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

/// Decodes the first page.
///
/// # Errors
/// In words: if it is damaged, cut off, of another kind, or too large.
pub(crate) fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    let directory = Directory::first(bytes);
    if let Some(directory) = directory.as_ref().filter(|directory| directory.value(directory::COMPRESSION) == Some(7))
    {
        let orientation = directory.value(directory::ORIENTATION).and_then(|value| u8::try_from(value).ok());
        return Ok(turned(jpegs::decode(directory)?, orientation));
    }
    if directory.as_ref().is_some_and(Directory::has_endless_text) {
        return Err("it is damaged: a text in it is longer than the file".into());
    }
    if let Some((width, height)) = directory.as_ref().and_then(Directory::size) {
        limits::check(width, height).map_err(|error| error.to_string())?;
    }
    let palette = directory.as_ref().filter(|directory| directory.value(directory::PHOTOMETRIC) == Some(3));
    // The library reads no palettes: to it, their indices are grey.
    let mut content = Cow::Borrowed(bytes);
    if let Some(directory) = palette {
        directory.set_short(content.to_mut(), directory::PHOTOMETRIC, 1);
    }
    let mut bounds = Limits::default();
    bounds.decoding_buffer_size = MAX_BYTES as usize;
    bounds.intermediate_buffer_size = MAX_BYTES as usize;
    let mut decoder = Decoder::new(Cursor::new(&content[..])).map_err(said)?.with_limits(bounds);
    let (width, height) = decoder.dimensions().map_err(said)?;
    limits::check(width.into(), height.into()).map_err(|error| error.to_string())?;
    let orientation = decoder.find_tag_unsigned(Tag::Orientation).ok().flatten();
    let mut image = samples(&mut decoder, (height as usize, width as usize), palette.is_some())?;
    if let Some(directory) = palette {
        image = colored(&image, &directory.values(directory::COLOR_MAP))?;
    }
    Ok(turned(image, orientation))
}

fn turned(image: Pixels, orientation: Option<u8>) -> Pixels {
    upright(image, orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms))
}

fn said(error: TiffError) -> String {
    match error {
        TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "it is cut off".into(),
        TiffError::LimitsExceeded => limits::TooLarge::Memory.to_string(),
        error => error.to_string(),
    }
}

/// The samples as 8 bits; those of a palette stay as they are.
fn samples(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    (height, width): (usize, usize),
    indices: bool,
) -> Result<Pixels, String> {
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(said)?.unwrap_or_default();
    if formats.iter().any(|format| !matches!(format, 1 | 4)) {
        let advice = "which range is white is not known: save it with 8 or 16 bits";
        return Err(format!("it is a TIFF of signed or floating-point numbers, of which {advice}"));
    }
    let color = decoder.colortype().map_err(said)?;
    let (channels, bits) = match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) => (1, bits),
        ColorType::GrayA(bits @ (8 | 16)) | ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples: 2 } => {
            (2, bits)
        }
        ColorType::RGB(bits @ (8 | 16)) => (3, bits),
        ColorType::RGBA(bits @ (8 | 16)) | ColorType::CMYK(bits @ (8 | 16)) => (4, bits),
        other => {
            return Err(format!("it is a TIFF of {other:?}, which is not read: save it as RGB or grey of 8 bits"));
        }
    };
    let mut read = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut read).map_err(said)?;
    let data: Vec<u8> = match read {
        DecodingResult::U8(data) if bits < 8 => unpacked(&data, width, bits, indices),
        DecodingResult::U8(data) => data,
        DecodingResult::U16(data) => data.into_iter().map(|value| (value >> 8) as u8).collect(),
        _ => return Err(format!("it is a TIFF of {color:?}, which is not read")),
    };
    let length = height * width * channels;
    let data = if layout.planes > 1 { interleaved(&data, height * width, channels) } else { data };
    if data.len() < length {
        return Err("it is cut off".into());
    }
    let image = Pixels { height, width, channels, data };
    Ok(if matches!(color, ColorType::CMYK(_)) { rgb_of_cmyk(image) } else { image })
}

/// Rows of several values a byte, which begin with a byte each, as values up to 255, or as they are.
fn unpacked(data: &[u8], width: usize, bits: u8, indices: bool) -> Vec<u8> {
    let (each, most) = (usize::from(8 / bits), (1_u8 << bits) - 1);
    let value = |row: &[u8], x: usize| {
        let value = row[x / each] >> (8 - bits as usize * (x % each + 1)) & most;
        if indices { value } else { value * (255 / most) }
    };
    data.chunks_exact(width.div_ceil(each)).flat_map(|row| (0..width).map(move |x| value(row, x))).collect()
}

fn interleaved(planes: &[u8], size: usize, channels: usize) -> Vec<u8> {
    let mut data = vec![0; planes.len()];
    for (channel, plane) in planes.chunks(size.max(1)).enumerate().take(channels) {
        for (out, sample) in data.iter_mut().skip(channel).step_by(channels).zip(plane) {
            *out = *sample;
        }
    }
    data
}

/// RGB from indices and a palette: all its reds, greens and blues, of 16 bits.
fn colored(image: &Pixels, palette: &[u64]) -> Result<Pixels, String> {
    let count = palette.len() / 3;
    let highest = image.data.iter().max().copied().unwrap_or_default();
    if usize::from(highest) >= count || image.channels != 1 {
        return Err("it is damaged: its palette is too short".into());
    }
    let color = |index: &u8| [0, 1, 2].map(|part| (palette[part * count + usize::from(*index)] >> 8) as u8);
    let data = image.data.iter().flat_map(color).collect();
    Ok(Pixels { channels: 3, data, height: image.height, width: image.width })
}
