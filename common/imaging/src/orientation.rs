//! How the camera was held, as EXIF says it (tag 274).

use crate::Pixels;
use image::metadata::Orientation;

/// The orientation in EXIF data, which begin as a TIFF does; upright if they say nothing that makes sense.
pub(crate) fn of_exif(exif: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// The image upright.
pub(crate) fn upright(image: Pixels, orientation: Orientation) -> Pixels {
    match image.channels {
        1 => turned::<1>(image, orientation),
        2 => turned::<2>(image, orientation),
        3 => turned::<3>(image, orientation),
        _ => turned::<4>(image, orientation),
    }
}

fn turned<const C: usize>(image: Pixels, orientation: Orientation) -> Pixels {
    // Whether rows become columns, and from which end rows and columns of the source are read.
    let (swapped, from_right, from_bottom) = match orientation {
        Orientation::NoTransforms => return image,
        Orientation::FlipHorizontal => (false, true, false),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, false, true),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, false, true),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, true, false),
    };
    let (height, width) = if swapped { (image.width, image.height) } else { (image.height, image.width) };
    let (source, _) = image.data.as_chunks::<C>();
    let mut data = Vec::with_capacity(image.data.len());
    for y in 0..height {
        for x in 0..width {
            let (row, column) = if swapped { (x, y) } else { (y, x) };
            let row = if from_bottom { image.height - 1 - row } else { row };
            let column = if from_right { image.width - 1 - column } else { column };
            data.extend_from_slice(&source[row * image.width + column]);
        }
    }
    Pixels { height, width, channels: C, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_is_turned_upright() {
        // 1 2 3
        // 4 5 6
        let image = |height, width, data: [u8; 6]| Pixels { height, width, channels: 1, data: data.to_vec() };
        let upright_of = |exif| {
            let orientation = Orientation::from_exif(exif).expect("one of eight");
            upright(image(2, 3, [1, 2, 3, 4, 5, 6]), orientation)
        };
        assert_eq!(upright_of(1), image(2, 3, [1, 2, 3, 4, 5, 6]));
        assert_eq!(upright_of(2), image(2, 3, [3, 2, 1, 6, 5, 4]));
        assert_eq!(upright_of(3), image(2, 3, [6, 5, 4, 3, 2, 1]));
        assert_eq!(upright_of(4), image(2, 3, [4, 5, 6, 1, 2, 3]));
        assert_eq!(upright_of(5), image(3, 2, [1, 4, 2, 5, 3, 6]));
        assert_eq!(upright_of(6), image(3, 2, [4, 1, 5, 2, 6, 3]));
        assert_eq!(upright_of(7), image(3, 2, [6, 3, 5, 2, 4, 1]));
        assert_eq!(upright_of(8), image(3, 2, [3, 6, 2, 5, 1, 4]));
    }

    #[test]
    fn pixels_stay_whole() {
        let image = Pixels { height: 1, width: 2, channels: 3, data: vec![1, 2, 3, 4, 5, 6] };
        let turned = upright(image, Orientation::Rotate90);
        assert_eq!((turned.height, turned.width, turned.data), (2, 1, vec![1, 2, 3, 4, 5, 6]));
    }
}
