//! Image files, and the one way in which an image becomes an encoder's input.

use common::model::EncoderSpec;
use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x2, U8x3, U8x4},
};
use image::DynamicImage;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The path does not exist, or may not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder holds no image.
    #[error("{0} holds no image (jpg, jpeg, png, webp or bmp, also in sub-folders)")]
    NoImages(PathBuf),
    /// The file is no image, or damaged.
    #[error("cannot decode {path}: {reason}")]
    Decode {
        /// File.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The pixels cannot be resized.
    #[error("cannot resize the image: {0}")]
    Resize(String),
}

/// Interleaved 8-bit pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels, 1 to 4.
    pub channels: usize,
    /// `[H, W, C]`.
    pub data: Vec<u8>,
}

/// A part of an image, in pixels of it; borders may lie between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// Left border.
    pub left: f64,
    /// Top border.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Crop {
    /// The whole image.
    #[must_use]
    pub fn whole(image: &Pixels) -> Self {
        Self { left: 0.0, top: 0.0, width: image.width as f64, height: image.height as f64 }
    }
}

const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// Whether the file's name is that of an image.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// All images below `path`, in the order of their paths; `path` itself if it is a file.
///
/// # Errors
/// If `path` cannot be read or holds no image.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| ImageError::Io { path, source }
    };
    if fs::metadata(path).map_err(io_error(path))?.is_file() {
        return Ok(vec![path.into()]);
    }
    let (mut images, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
            let entry = entry.map_err(io_error(&folder))?;
            let kind = entry.file_type().map_err(io_error(&folder))?;
            // A link to a folder could lead back up; a link to a file cannot.
            if kind.is_dir() {
                folders.push(entry.path());
            } else if is_image(&entry.path()) && (kind.is_file() || entry.path().is_file()) {
                images.push(entry.path());
            }
        }
    }
    images.sort();
    if images.is_empty() { Err(ImageError::NoImages(path.into())) } else { Ok(images) }
}

/// Decodes a file, recognising its format by content.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn open(path: &Path) -> Result<DynamicImage, ImageError> {
    let bytes = fs::read(path).map_err(|source| ImageError::Io { path: path.into(), source })?;
    decode(&bytes).map_err(|reason| ImageError::Decode { path: path.into(), reason })
}

/// Decodes an image in memory.
///
/// # Errors
/// What the decoder says.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let image = image::load_from_memory(bytes).map_err(|error| error.to_string())?;
    if image.width() == 0 || image.height() == 0 { Err("it has no pixels".into()) } else { Ok(image) }
}

/// The image with `channels` channels: 1 luma, 2 luma and alpha, 3 RGB, 4 RGBA.
#[must_use]
pub fn pixels(image: DynamicImage, channels: usize) -> Pixels {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let data = match channels {
        1 => image.into_luma8().into_raw(),
        2 => image.into_luma_alpha8().into_raw(),
        4 => image.into_rgba8().into_raw(),
        _ => image.into_rgb8().into_raw(),
    };
    Pixels { height, width, channels, data }
}

/// Resizes `crop` of an image to `height x width`, bicubic (Catmull-Rom) with antialiasing. Returns `[H, W, C]`.
///
/// # Errors
/// If a side is 0 or the crop lies outside the image.
pub fn resize(from: &Pixels, crop: Crop, height: usize, width: usize) -> Result<Vec<u8>, ImageError> {
    if crop == Crop::whole(from) && (height, width) == (from.height, from.width) {
        return Ok(from.data.clone());
    }
    // Chosen here, the library's kernels for other pixels are no part of the program.
    match from.channels {
        1 => resized::<U8>(from, crop, height, width),
        2 => resized::<U8x2>(from, crop, height, width),
        3 => resized::<U8x3>(from, crop, height, width),
        _ => resized::<U8x4>(from, crop, height, width),
    }
}

fn resized<P: PixelTrait>(from: &Pixels, crop: Crop, height: usize, width: usize) -> Result<Vec<u8>, ImageError> {
    let error = |reason: &dyn std::fmt::Display| ImageError::Resize(reason.to_string());
    let source = TypedImageRef::<P>::from_buffer(from.width as u32, from.height as u32, &from.data);
    let source = source.map_err(|e| error(&e))?;
    let mut data = vec![0; height * width * from.channels];
    let mut target = TypedImage::<P>::from_buffer(width as u32, height as u32, &mut data).map_err(|e| error(&e))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .use_alpha(false)
        .crop(crop.left, crop.top, crop.width, crop.height);
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|e| error(&e))?;
    drop(target);
    Ok(data)
}

/// The whole image as the encoder's input, `[H, W, C]` of `spec`: other proportions are squashed.
///
/// # Errors
/// If it cannot be resized.
pub fn prepare(image: DynamicImage, spec: &EncoderSpec) -> Result<Vec<u8>, ImageError> {
    let pixels = pixels(image, spec.channels as usize);
    resize(&pixels, Crop::whole(&pixels), spec.image_height as usize, spec.image_width as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(height: usize, width: usize) -> Pixels {
        let data = (0..height * width).flat_map(|i| [(i % width * 255 / width) as u8, 128, 7]).collect();
        Pixels { height, width, channels: 3, data }
    }

    #[test]
    fn resizing_keeps_constants_and_gradients() {
        let from = gradient(60, 120);
        let crop = Crop { left: 0.0, top: 0.0, width: 120.0, height: 60.0 };
        let small = resize(&from, crop, 16, 32).expect("resize");
        assert!(small.chunks_exact(3).all(|p| p[1..] == [128, 7]));
        let row: Vec<u8> = small[..32 * 3].chunks_exact(3).map(|p| p[0]).collect();
        assert!(row.is_sorted() && row[31] > 240);
    }

    #[test]
    fn a_crop_outside_the_image_is_an_error() {
        let crop = Crop { left: 100.0, top: 0.0, width: 120.0, height: 60.0 };
        assert!(matches!(resize(&gradient(60, 120), crop, 8, 8), Err(ImageError::Resize(_))));
    }

    #[test]
    fn folders_are_searched_in_order() {
        let root = tempfile::tempdir().expect("folder");
        assert!(matches!(find(root.path()), Err(ImageError::NoImages(_))));
        assert!(matches!(find(&root.path().join("none")), Err(ImageError::Io { .. })));
        fs::create_dir(root.path().join("b")).expect("folder");
        for name in ["z.PNG", "a.txt", "b/c.jpeg"] {
            fs::write(root.path().join(name), "x").expect("file");
        }
        let found = find(root.path()).expect("images");
        assert_eq!(found, [root.path().join("b/c.jpeg"), root.path().join("z.PNG")]);
        assert!(matches!(open(&found[0]), Err(ImageError::Decode { .. })));
    }
}
