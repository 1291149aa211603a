//! RandAugment (Cubuk et al. 2019) with operations that grow stronger with their magnitude, as the reference's
//! `rand-m9-mstd0.5-inc1`: two operations an image, each skipped half of the time, at magnitude N(9, 0.5) of 10.

use super::{
    geometry::{affine, rotation},
    random::{below, chance, normal},
};
use imaging::Pixels;
use rand_chacha::ChaCha8Rng;

/// Operations an image.
const OPERATIONS: usize = 2;
/// How often one of them is done.
const PROBABILITY: f64 = 0.5;
/// Mean and standard deviation of the magnitude.
const MAGNITUDE: (f64, f64) = (9.0, 0.5);
/// The strongest magnitude.
const STRONGEST: f64 = 10.0;

/// One operation with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// Stretches each channel to 0..255.
    AutoContrast,
    /// Flattens each channel's histogram.
    Equalize,
    /// 255 minus the value.
    Invert,
    /// Degrees, counter-clockwise.
    Rotate(f64),
    /// Keeps this many bits.
    Posterize(u32),
    /// Inverts values from this one on.
    Solarize(u16),
    /// Adds this to values below 128.
    SolarizeAdd(u8),
    /// Saturation times this.
    Color(f64),
    /// Distance from the mean luma times this.
    Contrast(f64),
    /// Values times this.
    Brightness(f64),
    /// Distance from the smoothed image times this.
    Sharpness(f64),
    /// Columns a row.
    ShearX(f64),
    /// Rows a column.
    ShearY(f64),
    /// Share of the width.
    TranslateX(f64),
    /// Share of the height.
    TranslateY(f64),
}

impl Operation {
    /// Draws an operation of this `magnitude`, 0 to 10.
    pub fn draw(magnitude: f64, rng: &mut ChaCha8Rng) -> Self {
        let strength = magnitude / STRONGEST;
        let which = below(15, rng);
        let sign = if chance(0.5, rng) { -1.0 } else { 1.0 };
        let enhanced = (1.0 + sign * strength * 0.9).max(0.1);
        match which {
            0 => Self::AutoContrast,
            1 => Self::Equalize,
            2 => Self::Invert,
            3 => Self::Rotate(sign * strength * 30.0),
            4 => Self::Posterize(4 - (strength * 4.0) as u32),
            5 => Self::Solarize(256 - (strength * 256.0) as u16),
            6 => Self::SolarizeAdd((strength * 110.0) as u8),
            7 => Self::Color(enhanced),
            8 => Self::Contrast(enhanced),
            9 => Self::Brightness(enhanced),
            10 => Self::Sharpness(enhanced),
            11 => Self::ShearX(sign * strength * 0.3),
            12 => Self::ShearY(sign * strength * 0.3),
            13 => Self::TranslateX(sign * strength * 0.45),
            _ => Self::TranslateY(sign * strength * 0.45),
        }
    }

    /// The image after the operation; `fill` is seen where there is no image.
    #[must_use]
    pub fn apply(self, image: Pixels, fill: [u8; 4]) -> Pixels {
        let (height, width) = (image.height as f64, image.width as f64);
        match self {
            Self::AutoContrast => by_channel(image, stretched),
            Self::Equalize => by_channel(image, equalized),
            Self::Invert => each(image, |v| 255 - v),
            Self::Posterize(bits) => each(image, |v| v & !(0xff_u32 >> bits.min(8)) as u8),
            Self::Solarize(threshold) => each(image, |v| if u16::from(v) < threshold { v } else { 255 - v }),
            Self::SolarizeAdd(add) => each(image, |v| if v < 128 { v.saturating_add(add) } else { v }),
            Self::Brightness(factor) => each(image, |v| blend(0.0, v, factor)),
            Self::Contrast(factor) => {
                let lumas = image.data.chunks_exact(image.channels).map(|pixel| u64::from(luma(pixel)));
                let mean = (lumas.sum::<u64>() as f64 / (height * width) + 0.5).floor();
                each(image, |v| blend(mean, v, factor))
            }
            Self::Color(factor) => color(image, factor),
            Self::Sharpness(factor) => sharpness(&image, factor),
            Self::Rotate(degrees) => affine(&image, rotation(degrees, image.height, image.width), fill),
            Self::ShearX(factor) => affine(&image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], fill),
            Self::ShearY(factor) => affine(&image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], fill),
            Self::TranslateX(share) => affine(&image, [1.0, 0.0, share * width, 0.0, 1.0, 0.0], fill),
            Self::TranslateY(share) => affine(&image, [1.0, 0.0, 0.0, 0.0, 1.0, share * height], fill),
        }
    }
}

/// The image after some operations; `fill` is seen where there is no image.
#[must_use]
pub fn rand_augment(mut image: Pixels, fill: [u8; 4], rng: &mut ChaCha8Rng) -> Pixels {
    for _ in 0..OPERATIONS {
        let magnitude = (MAGNITUDE.0 + MAGNITUDE.1 * normal(rng)).clamp(0.0, STRONGEST);
        let operation = Operation::draw(magnitude, rng);
        if chance(PROBABILITY, rng) {
            image = operation.apply(image, fill);
        }
    }
    image
}

fn each(mut image: Pixels, value: impl Fn(u8) -> u8) -> Pixels {
    image.data.iter_mut().for_each(|v| *v = value(*v));
    image
}

/// `from` at factor 0, `to` at 1, beyond it at more.
fn blend(from: f64, to: u8, factor: f64) -> u8 {
    (from + factor * (f64::from(to) - from)).clamp(0.0, 255.0) as u8
}

/// ITU-R 601 luma of RGB; the first channel of anything else.
fn luma(pixel: &[u8]) -> u8 {
    match pixel {
        [r, g, b, ..] => {
            ((u32::from(*r) * 19595 + u32::from(*g) * 38470 + u32::from(*b) * 7471 + 0x8000) >> 16) as u8
        }
        [v, ..] => *v,
        [] => 0,
    }
}

/// Replaces each channel's values by a table made from its histogram.
fn by_channel(mut image: Pixels, table: impl Fn(&[u32; 256]) -> Option<[u8; 256]>) -> Pixels {
    for channel in 0..image.channels {
        let mut histogram = [0; 256];
        let values = || (channel..image.data.len()).step_by(image.channels);
        values().for_each(|at| histogram[usize::from(image.data[at])] += 1);
        if let Some(table) = table(&histogram) {
            values().for_each(|at| image.data[at] = table[usize::from(image.data[at])]);
        }
    }
    image
}

fn stretched(histogram: &[u32; 256]) -> Option<[u8; 256]> {
    let low = histogram.iter().position(|count| *count > 0)?;
    let high = histogram.iter().rposition(|count| *count > 0)?;
    let scale = 255.0 / (high - low) as f64;
    (high > low).then(|| std::array::from_fn(|v| (v as f64 * scale - low as f64 * scale).clamp(0.0, 255.0) as u8))
}

fn equalized(histogram: &[u32; 256]) -> Option<[u8; 256]> {
    let last = histogram.iter().rev().find(|count| **count > 0)?;
    let step = (histogram.iter().sum::<u32>() - last) / 255;
    let mut below = step / 2;
    (step > 0).then(|| {
        histogram.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        })
    })
}

/// Blends with the gray image; images without colour stay.
fn color(mut image: Pixels, factor: f64) -> Pixels {
    if image.channels >= 3 {
        for pixel in image.data.chunks_exact_mut(image.channels) {
            let gray = f64::from(luma(pixel));
            pixel[..3].iter_mut().for_each(|v| *v = blend(gray, *v, factor));
        }
    }
    image
}

/// Blends with the image smoothed by a 3x3 kernel whose middle weighs five; the rim is not smoothed.
fn sharpness(image: &Pixels, factor: f64) -> Pixels {
    let Pixels { height, width, channels, ref data } = *image;
    let mut out = data.clone();
    for row in 1..height.saturating_sub(1) {
        for col in 1..width.saturating_sub(1) {
            for channel in 0..channels {
                let at = |row: usize, col: usize| (row * width + col) * channels + channel;
                let around = (row - 1..=row + 1).flat_map(|r| (col - 1..=col + 1).map(move |c| (r, c)));
                let sum: u32 = around.map(|(r, c)| u32::from(data[at(r, c)])).sum();
                let middle = data[at(row, col)];
                let smooth = (f64::from(sum + 4 * u32::from(middle)) / 13.0 + 0.5).floor();
                out[at(row, col)] = blend(smooth, middle, factor);
            }
        }
    }
    Pixels { data: out, ..*image }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::*;
    use common::mask::generator;

    fn image(channels: usize) -> Pixels {
        let data = (0..8 * 8 * channels).map(|i| (40 + i * 29 % 150) as u8).collect();
        Pixels { height: 8, width: 8, channels, data }
    }

    #[test]
    fn operations_without_strength_change_nothing() {
        let neutral = [
            Rotate(0.0),
            Posterize(8),
            Solarize(256),
            SolarizeAdd(0),
            Color(1.0),
            Contrast(1.0),
            Brightness(1.0),
            Sharpness(1.0),
            ShearX(0.0),
            ShearY(0.0),
            TranslateX(0.0),
            TranslateY(0.0),
        ];
        for channels in 1..=4 {
            for operation in neutral {
                assert_eq!(operation.apply(image(channels), [0; 4]), image(channels), "{operation:?}");
            }
            assert_eq!(Invert.apply(Invert.apply(image(channels), [0; 4]), [0; 4]), image(channels));
        }
    }

    #[test]
    fn tables_are_those_of_their_definitions() {
        let of = |data: &[u8]| Pixels { height: 1, width: data.len(), channels: 1, data: data.to_vec() };
        let after = |operation: Operation, data: &[u8]| operation.apply(of(data), [0; 4]).data;
        assert_eq!(after(Posterize(1), &[0, 127, 128, 255]), [0, 0, 128, 128]);
        assert_eq!(after(Posterize(0), &[0, 127, 255]), [0, 0, 0]);
        assert_eq!(after(Solarize(26), &[0, 25, 26, 255]), [0, 25, 229, 0]);
        assert_eq!(after(SolarizeAdd(99), &[0, 127, 128]), [99, 226, 128]);
        assert_eq!(after(AutoContrast, &[50, 75, 101]), [0, 125, 255]);
        assert_eq!(after(AutoContrast, &[7, 7, 7]), [7, 7, 7], "one value cannot be stretched");
        assert_eq!(after(Brightness(1.9), &[10, 100, 200]), [19, 190, 255]);
        assert_eq!(after(Contrast(0.5), &[0, 200]), [50, 150]);
        assert_eq!(after(Equalize, &[3; 9]), [3; 9]);
        // A full and flat histogram stays; a narrow one is spread.
        let flat: Vec<u8> = (0..=255).flat_map(|v| [v; 4]).collect();
        assert_eq!(after(Equalize, &flat), flat);
        let narrow: Vec<u8> = (0..1024).map(|i| 100 + (i % 16) as u8).collect();
        let spread = after(Equalize, &narrow);
        assert!(spread.iter().max() > Some(&230) && spread.iter().min() < Some(&20), "{:?}", &spread[..16]);
    }

    #[test]
    fn operations_equal_pillows() {
        let text = include_str!("../../../tests/golden/pillow.json");
        let golden: std::collections::BTreeMap<String, String> = serde_json::from_str(text).expect("golden file");
        let data = (0..16 * 17 * 3).map(|i: usize| (40 + (i * 29 + i / 51 * 13) % 150) as u8).collect();
        let image = Pixels { height: 16, width: 17, channels: 3, data };
        let operations = [
            ("autocontrast", AutoContrast),
            ("equalize", Equalize),
            ("invert", Invert),
            ("posterize 1", Posterize(1)),
            ("solarize 110", Solarize(110)),
            ("color 1.81", Color(1.81)),
            ("color 0.19", Color(0.19)),
            ("contrast 1.81", Contrast(1.81)),
            ("contrast 0.19", Contrast(0.19)),
            ("brightness 1.81", Brightness(1.81)),
            ("sharpness 1.81", Sharpness(1.81)),
            ("sharpness 0.19", Sharpness(0.19)),
            ("rotate 27", Rotate(27.0)),
            ("shear-x 0.27", ShearX(0.27)),
            ("translate-y 0.4", TranslateY(0.4)),
        ];
        assert_eq!(operations.len() + 1, golden.len());
        for (name, operation) in operations {
            let found = operation.apply(image.clone(), [124, 116, 104, 0]).data;
            let hex = |at: usize| u8::from_str_radix(&golden[name][2 * at..2 * at + 2], 16).expect("hexadecimal");
            let differences = found.iter().enumerate().map(|(at, value)| value.abs_diff(hex(at)));
            // Pillow blends in f32, which now and then falls on the other side of a whole number.
            let (largest, sum) = differences.fold((0, 0), |(m, s), d| (m.max(d), s + u32::from(d)));
            assert!(largest <= 1 && sum <= 40, "{name}: {largest}, {sum} in all");
        }
    }

    #[test]
    fn color_and_sharpness_move_away_from_gray_and_smooth() {
        let red = Pixels { height: 1, width: 1, channels: 3, data: vec![200, 100, 50] };
        let gray = Color(0.0).apply(red.clone(), [0; 4]).data;
        assert!(gray[0] == gray[1] && gray[1] == gray[2], "{gray:?}");
        let vivid = Color(1.5).apply(red, [0; 4]).data;
        assert!(vivid[0] > 200 && vivid[2] < 50, "{vivid:?}");
        let mut dot = Pixels { height: 3, width: 3, channels: 1, data: vec![100; 9] };
        dot.data[4] = 200;
        assert!(Sharpness(1.9).apply(dot.clone(), [0; 4]).data[4] > 230);
        assert!(Sharpness(0.1).apply(dot, [0; 4]).data[4] < 160);
    }

    #[test]
    fn drawn_operations_keep_within_their_bounds_and_cover_all_kinds() {
        let mut kinds = std::collections::BTreeSet::new();
        for index in 0..600 {
            let rng = &mut generator(3, index);
            let operation = Operation::draw(f64::from(index as u32 % 11), rng);
            kinds.insert(format!("{operation:?}").split('(').next().map(str::to_owned));
            match operation {
                Rotate(v) => assert!(v.abs() <= 30.0),
                Posterize(bits) => assert!(bits <= 4),
                Solarize(v) => assert!(v <= 256),
                SolarizeAdd(v) => assert!(v <= 110),
                Color(v) | Contrast(v) | Brightness(v) | Sharpness(v) => assert!((0.1..=1.9).contains(&v)),
                ShearX(v) | ShearY(v) => assert!(v.abs() <= 0.3),
                TranslateX(v) | TranslateY(v) => assert!(v.abs() <= 0.45),
                AutoContrast | Equalize | Invert => {}
            }
        }
        assert_eq!(kinds.len(), 15);
    }

    #[test]
    fn the_same_generator_gives_the_same_image() {
        let augmented = |index| rand_augment(image(3), [128; 4], &mut generator(1, index)).data;
        assert_eq!(augmented(7), augmented(7));
        let changed = (0..100).filter(|index| augmented(*index) != image(3).data).count();
        // A quarter of all images meets no operation.
        assert!((55..95).contains(&changed), "{changed}");
    }
}
