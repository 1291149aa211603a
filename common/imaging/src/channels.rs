//! Numbers of channels, and grey, as Pillow computes them.

use crate::Pixels;

/// Luma of Rec. 601, rounded as Pillow does it.
#[inline(always)]
fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// The image with `channels` channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. Colours hidden by alpha are seen.
pub(crate) fn convert(image: Pixels, channels: usize) -> Pixels {
    let Pixels { height, width, data, .. } = image;
    let data = match (image.channels, channels) {
        (from, to) if from == to => data,
        (1, 2) => each(&data, |[grey]: &[u8; 1]| [*grey, 255]),
        (1, 4) => each(&data, |[grey]: &[u8; 1]| [*grey, *grey, *grey, 255]),
        (1, _) => each(&data, |[grey]: &[u8; 1]| [*grey; 3]),
        (2, 1) => each(&data, |[grey, _]: &[u8; 2]| [*grey]),
        (2, 4) => each(&data, |[grey, alpha]: &[u8; 2]| [*grey, *grey, *grey, *alpha]),
        (2, _) => each(&data, |[grey, _]: &[u8; 2]| [*grey; 3]),
        (3, 1) => each(&data, |rgb: &[u8; 3]| [grey(*rgb)]),
        (3, 2) => each(&data, |rgb: &[u8; 3]| [grey(*rgb), 255]),
        (3, _) => each(&data, |[r, g, b]: &[u8; 3]| [*r, *g, *b, 255]),
        (_, 1) => each(&data, |[r, g, b, _]: &[u8; 4]| [grey([*r, *g, *b])]),
        (_, 2) => each(&data, |[r, g, b, alpha]: &[u8; 4]| [grey([*r, *g, *b]), *alpha]),
        _ => each(&data, |[r, g, b, _]: &[u8; 4]| [*r, *g, *b]),
    };
    Pixels { height, width, channels, data }
}

/// RGB from cyan, magenta, yellow and black, of which 255 is full.
pub(crate) fn rgb_of_cmyk(image: Pixels) -> Pixels {
    let part = |ink: u8, light: u32| {
        let product = u32::from(ink) * light + 128;
        light.saturating_sub((product + (product >> 8)) >> 8) as u8
    };
    let data = each(&image.data, |[c, m, y, k]: &[u8; 4]| [*c, *m, *y].map(|ink| part(ink, u32::from(255 - *k))));
    Pixels { channels: 3, data, ..image }
}

fn each<const FROM: usize, const TO: usize>(data: &[u8], pixel: impl Fn(&[u8; FROM]) -> [u8; TO]) -> Vec<u8> {
    let (pixels, _) = data.as_chunks::<FROM>();
    pixels.iter().flat_map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(data: &[u8], channels: usize) -> Vec<u8> {
        convert(Pixels { height: 1, width: 1, channels: data.len(), data: data.to_vec() }, channels).data
    }

    #[test]
    fn grey_is_that_of_rec_601() {
        for (rgb, expected) in
            [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([255; 3], 255), ([1, 2, 3], 2)]
        {
            assert_eq!(pixel(&rgb, 1), [expected]);
        }
    }

    #[test]
    fn alpha_hides_nothing() {
        assert_eq!(pixel(&[10, 20, 30, 0], 3), [10, 20, 30]);
        assert_eq!(pixel(&[10, 20, 30, 0], 4), [10, 20, 30, 0]);
        assert_eq!(pixel(&[10, 20, 30, 7], 2), [18, 7]);
        assert_eq!(pixel(&[9, 0], 3), [9; 3]);
        assert_eq!(pixel(&[9], 4), [9, 9, 9, 255]);
    }

    #[test]
    fn black_darkens_every_ink() {
        let rgb = |cmyk: [u8; 4]| rgb_of_cmyk(Pixels { height: 1, width: 1, channels: 4, data: cmyk.to_vec() }).data;
        assert_eq!(rgb([0, 0, 0, 0]), [255; 3]);
        assert_eq!(rgb([255, 0, 0, 0]), [0, 255, 255]);
        assert_eq!(rgb([128, 0, 255, 128]), [63, 127, 0]);
        assert_eq!(rgb([7, 8, 9, 255]), [0; 3]);
    }
}
