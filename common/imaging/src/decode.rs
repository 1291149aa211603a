//! From the bytes of a file to its pixels.

use crate::{
    ImageError, Pixels,
    channels::{convert, rgb_of_cmyk},
    jpeg,
    kinds::{Kind, kind},
    limits::{self, TooLarge},
    orientation::{of_exif, upright},
    tiff,
};
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};
use std::{fs, io::Cursor, path::Path};

/// Decodes a file to `channels` channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. Its format is recognised by its
/// content; it is turned upright as EXIF says.
///
/// # Errors
/// If it cannot be read, is of another kind, damaged, cut off, or larger than [`crate::MAX_PIXELS`].
pub fn open(path: &Path, channels: usize) -> Result<Pixels, ImageError> {
    let bytes = fs::read(path).map_err(|source| ImageError::Io { path: path.into(), source })?;
    decode(&bytes, channels).map_err(|reason| ImageError::Decode { path: path.into(), reason })
}

/// As [`open`], of a file in memory.
///
/// # Errors
/// As [`open`], in words.
pub fn decode(bytes: &[u8], channels: usize) -> Result<Pixels, String> {
    let image = match kind(bytes) {
        Kind::Jpeg => jpeg(bytes)?,
        Kind::Tiff => tiff::decode(bytes)?,
        Kind::Library(format) => library(bytes, format)?,
        Kind::Other(name) => return Err(format!("it is {name}, which is not read: convert it to JPEG or PNG")),
        Kind::NoImage(reason) => return Err(reason.into()),
    };
    if image.data.is_empty() { Err("it has no pixels".into()) } else { Ok(convert(image, channels)) }
}

fn jpeg(bytes: &[u8]) -> Result<Pixels, String> {
    let mut image = jpeg::decode(bytes).map_err(|error| error.to_string())?;
    if image.channels == 4 {
        // As Adobe writes it, and everybody with it: 255 is no ink.
        image.data.iter_mut().for_each(|ink| *ink = !*ink);
        image = rgb_of_cmyk(image);
    }
    Ok(upright(image, jpeg::exif(bytes).map_or(image::metadata::Orientation::NoTransforms, of_exif)))
}

fn library(bytes: &[u8], format: ImageFormat) -> Result<Pixels, String> {
    let text = |error: image::ImageError| match error {
        image::ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it is cut off".to_owned()
        }
        error => error.to_string(),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut bounds = image::Limits::default();
    bounds.max_alloc = Some(limits::MAX_BYTES);
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(text)?;
    let (width, height) = decoder.dimensions();
    let large = limits::check(width.into(), height.into()).and_then(|()| limits::check_bytes(decoder.total_bytes()));
    large.map_err(|error: TooLarge| error.to_string())?;
    let orientation = decoder.orientation().map_err(text)?;
    let image = DynamicImage::from_decoder(decoder).map_err(text)?;
    Ok(upright(eight_bits(image), orientation))
}

/// Of 16 bits, the upper 8 are kept, as Pillow does it for colours.
fn eight_bits(image: DynamicImage) -> Pixels {
    let (height, width) = (image.height() as usize, image.width() as usize);
    let upper = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect();
    let (channels, data) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        DynamicImage::ImageLuma16(image) => (1, upper(image.into_raw())),
        DynamicImage::ImageLumaA16(image) => (2, upper(image.into_raw())),
        DynamicImage::ImageRgb16(image) => (3, upper(image.into_raw())),
        DynamicImage::ImageRgba16(image) => (4, upper(image.into_raw())),
        other => (3, other.into_rgb8().into_raw()),
    };
    Pixels { height, width, channels, data }
}
