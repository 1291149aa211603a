//! Resizing, bicubic with antialiasing, as Pillow does it.

mod exact;

use crate::{ImageError, Pixels};
use common::model::EncoderSpec;
use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x2, U8x3, U8x4},
};

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

/// Resizes `crop` of an image to `height x width`, bicubic (Catmull-Rom) with antialiasing, one dimension after the
/// other. Returns `[H, W, C]`.
///
/// # Errors
/// If a side is 0 or the crop lies outside the image.
pub fn resize(from: &Pixels, crop: Crop, height: usize, width: usize) -> Result<Vec<u8>, ImageError> {
    let Pixels { height: rows, width: columns, .. } = *from;
    if crop == Crop::whole(from) && (height, width) == (rows, columns) {
        return Ok(from.data.clone());
    }
    let Crop { left, top, .. } = crop;
    let (right, bottom) = (left + crop.width, top + crop.height);
    let inside = left >= 0.0 && top >= 0.0 && right <= columns as f64 && bottom <= rows as f64;
    let some = crop.width > 0.0 && crop.height > 0.0 && height > 0 && width > 0;
    if !(inside && some) {
        return Err(ImageError::Resize(format!("{crop:?} of {columns}x{rows} pixels to {width}x{height}")));
    }
    // Chosen here, the library's kernels for other pixels are no part of the program.
    match from.channels {
        1 => resized::<U8, 1>(from, crop, height, width),
        2 => resized::<U8x2, 2>(from, crop, height, width),
        3 => resized::<U8x3, 3>(from, crop, height, width),
        _ => resized::<U8x4, 4>(from, crop, height, width),
    }
}

/// Between the dimensions, values are cut to 8 bits, so that the order matters: it is Pillow's.
fn resized<P: PixelTrait, const C: usize>(
    from: &Pixels,
    crop: Crop,
    height: usize,
    width: usize,
) -> Result<Vec<u8>, ImageError> {
    let Pixels { height: rows, width: columns, ref data, .. } = *from;
    let across = Span { from: crop.left, to: crop.left + crop.width, size: width };
    let down = Span { from: crop.top, to: crop.top + crop.height, size: height };
    // Few values that weigh much: the library's weights of 15 bits are too coarse for them.
    let exact = across.is_close() || down.is_close();
    let lost = |from: usize, to: usize| from as i64 - to as i64;
    if height < rows && 2 * lost(columns, width) < lost(rows, height) {
        let columns = (&in_columns::<P, C>((data, rows, columns), down, exact)?[..], height, columns);
        return in_rows::<P, C>(columns, across, exact);
    }
    // Only the rows that the filter reaches.
    let reach = 2.0 * (crop.height / height as f64).max(1.0) + 1.0;
    let (first, last) = ((down.from - reach).max(0.0) as usize, ((down.to + reach) as usize).min(rows));
    let used = (&data[first * columns * C..last * columns * C], last - first, columns);
    let rows = (&in_rows::<P, C>(used, across, exact)?[..], last - first, width);
    let down = Span { from: down.from - first as f64, to: down.to - first as f64, size: height };
    in_columns::<P, C>(rows, down, exact)
}

/// A part of one dimension, and the size that it is brought to.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
    size: usize,
}

impl Span {
    /// Whether no more than eight values weigh in each result.
    fn is_close(&self) -> bool {
        self.to - self.from < 2.0 * self.size as f64
    }
}

/// Pixels, with their rows and columns.
type Source<'a> = (&'a [u8], usize, usize);

fn in_rows<P: PixelTrait, const C: usize>(
    source: Source<'_>,
    span: Span,
    exact: bool,
) -> Result<Vec<u8>, ImageError> {
    if exact {
        return Ok(exact::rows::<C>(source, span));
    }
    let (height, width) = (source.1 as f64, span.to - span.from);
    by_library::<P>(source, Crop { left: span.from, top: 0.0, width, height }, (source.1, span.size))
}

fn in_columns<P: PixelTrait, const C: usize>(
    source: Source<'_>,
    span: Span,
    exact: bool,
) -> Result<Vec<u8>, ImageError> {
    if exact {
        return Ok(exact::columns::<C>(source, span));
    }
    let (height, width) = (span.to - span.from, source.2 as f64);
    by_library::<P>(source, Crop { left: 0.0, top: span.from, width, height }, (span.size, source.2))
}

fn by_library<P: PixelTrait>(
    (data, rows, columns): Source<'_>,
    crop: Crop,
    (height, width): (usize, usize),
) -> Result<Vec<u8>, ImageError> {
    let error = |reason: &dyn std::fmt::Display| ImageError::Resize(reason.to_string());
    let source = TypedImageRef::<P>::from_buffer(columns as u32, rows as u32, data).map_err(|e| error(&e))?;
    let mut resized = vec![0; height * width * size_of::<P>()];
    let target = TypedImage::<P>::from_buffer(width as u32, height as u32, &mut resized);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .use_alpha(false)
        .crop(crop.left, crop.top, crop.width, crop.height);
    let mut target = target.map_err(|e| error(&e))?;
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|e| error(&e))?;
    drop(target);
    Ok(resized)
}

/// The whole image as the encoder's input, `[H, W, C]` of `spec`, whose channels it must have: other proportions are
/// squashed.
///
/// # Errors
/// If it cannot be resized.
pub fn prepare(image: Pixels, spec: &EncoderSpec) -> Result<Vec<u8>, ImageError> {
    let (height, width) = (spec.image_height as usize, spec.image_width as usize);
    if (height, width) == (image.height, image.width) {
        return Ok(image.data);
    }
    resize(&image, Crop::whole(&image), height, width)
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

    /// Between the dimensions values are cut to 8 bits, so that the order shows: Pillow's results, rows first,
    /// columns first, and of a part with borders between pixels.
    #[test]
    fn the_order_is_that_of_pillow() {
        let data = (0..108).map(|i| if (i * i * 7 + i * 3) % 5 < 2 { 255 } else { 0 }).collect();
        let from = Pixels { height: 9, width: 12, channels: 1, data };
        let part = Crop { left: 1.5, top: 0.25, width: 8.5, height: 8.5 };
        let whole = Crop::whole(&from);
        for (crop, height, width, expected) in
            [(whole, 5, 7, &ROWS_FIRST[..]), (whole, 3, 11, &COLUMNS_FIRST), (part, 4, 6, &PART)]
        {
            let found = resize(&from, crop, height, width).expect("resize");
            assert!(found.len() == expected.len());
            let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(1), "{height}x{width}: {found:?}");
        }
    }

    #[rustfmt::skip]
    const ROWS_FIRST: [u8; 35] = [
        135, 63, 114, 133, 62, 116, 137, 97, 117, 106, 105, 113, 108, 102, 102, 121, 94, 97, 124, 93, 94, 102, 88,
        121, 103, 89, 118, 108, 122, 95, 108, 127, 88, 116, 120,
    ];
    #[rustfmt::skip]
    const COLUMNS_FIRST: [u8; 33] = [
        99, 127, 71, 100, 109, 118, 98, 78, 114, 98, 133, 114, 89, 113, 102, 99, 102, 99, 114, 90, 113, 89, 97, 116,
        80, 92, 122, 106, 103, 71, 123, 102, 117,
    ];
    #[rustfmt::skip]
    const PART: [u8; 24] = [
        84, 114, 103, 131, 78, 119, 120, 87, 115, 90, 114, 107, 87, 127, 96, 117, 98, 96, 114, 80, 114, 117, 90, 121,
    ];

    #[test]
    fn a_crop_outside_the_image_is_an_error() {
        for (left, top, width, height) in [
            (100.0, 0.0, 120.0, 60.0),
            (0.0, 50.0, 10.0, 20.0),
            (0.0, 90.0, 1.0, 1.0),
            (-1.0, 0.0, 9.0, 9.0),
            (0.0, f64::NAN, 9.0, 9.0),
        ] {
            let crop = Crop { left, top, width, height };
            assert!(matches!(resize(&gradient(60, 120), crop, 8, 8), Err(ImageError::Resize(_))), "{crop:?}");
        }
    }
}
