//! Training views. The paper's (appendix A.1) are random resized crops and horizontal flips, nothing else; the others
//! are those it was compared with. Further changes of colour ([`Colour`]) are for views that are compared.

mod canvas;
mod colour;

pub use canvas::Canvas;
pub use colour::{Colour, ColourError};

use super::{
    rand_augment::Operation,
    random::{between, chance},
};
use colour::Jitter;
use common::mask::uniform;
use imaging::{Crop, ImageError, Pixels, resize};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How a training view is made of an image (the paper's table 1e). All but the first are flipped at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// The whole image, as in evaluations.
    None,
    /// A part of fixed size at a random place: seven eighths of the side, as 224 of 256 pixels.
    FixedCrop,
    /// A random part of 20 to 100 % of the area, resized: the paper's.
    #[default]
    RandomCrop,
    /// As random-crop, then with brightness, contrast, saturation and hue changed in four of five views.
    ColourJitter,
}

impl Augment {
    /// Whether it is the paper's.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FixedCrop => "fixed-crop",
            Self::RandomCrop => "random-crop",
            Self::ColourJitter => "colour-jitter",
        }
    }

    /// Whether views are random crops.
    #[must_use]
    pub fn is_random_crop(self) -> bool {
        matches!(self, Self::RandomCrop | Self::ColourJitter)
    }

    /// One view, `[H, W, C]`. A random crop has at least `smallest` of the image's area.
    ///
    /// # Errors
    /// If the image cannot be resized.
    pub fn view(
        self,
        image: &Pixels,
        smallest: f64,
        (height, width): (usize, usize),
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<u8>, ImageError> {
        let area = (smallest, SCALE.1);
        match self {
            Self::None => resize(image, Crop::whole(image), height, width),
            Self::FixedCrop => {
                let mut view = resize(image, fixed_crop(image, height, width, rng), height, width)?;
                if uniform(rng) < 0.5 {
                    flip(&mut view, width, image.channels);
                }
                Ok(view)
            }
            Self::RandomCrop => random_view(area, image, height, width, rng),
            Self::ColourJitter => {
                let data = random_view(area, image, height, width, rng)?;
                Ok(jittered(Pixels { height, width, channels: image.channels, data }, rng).data)
            }
        }
    }
}

/// Side of a fixed crop relative to the largest one of the view's shape.
const FIXED: f64 = 224.0 / 256.0;

/// A crop of the view's shape and seven eighths of the largest possible side, at a random place.
fn fixed_crop(image: &Pixels, height: usize, width: usize, rng: &mut ChaCha8Rng) -> Crop {
    let (full_height, full_width) = (image.height as f64, image.width as f64);
    let scale = FIXED * (full_height / height as f64).min(full_width / width as f64);
    let side = |length: usize| (length as f64 * scale).round().max(1.0);
    let (height, width) = (side(height).min(full_height), side(width).min(full_width));
    let left = between(0.0, full_width - width + 1.0, rng).floor().min(full_width - width);
    let top = between(0.0, full_height - height + 1.0, rng).floor().min(full_height - height);
    Crop { left, top, width, height }
}

/// Share of the views that are jittered.
const JITTERED: f64 = 0.8;
/// Brightness, contrast and saturation are multiplied by 1 plus or minus at most this.
const STRENGTH: f64 = 0.4;
/// Hue is turned by at most this share of the circle.
const HUE: f64 = 0.1;

/// With a probability of 0.8 the four changes of colour in a random order, as is usual in contrastive learning (Chen
/// et al. 2020, "Improved Baselines with Momentum Contrastive Learning"); the MAE paper names no strengths. Images
/// without colour keep what they lack.
fn jittered(mut image: Pixels, rng: &mut ChaCha8Rng) -> Pixels {
    if !chance(JITTERED, rng) {
        return image;
    }
    let Jitter { brightness, contrast, saturation, hue, order } = Jitter::draw(1.0, rng);
    for change in order {
        image = match change {
            0 => Operation::Brightness(brightness).apply(image, [0; 4]),
            1 => Operation::Contrast(contrast).apply(image, [0; 4]),
            2 => Operation::Color(saturation).apply(image, [0; 4]),
            _ => turned(image, hue),
        };
    }
    image
}

/// The image with its hues turned by a share of the circle; value and saturation stay.
fn turned(mut image: Pixels, share: f64) -> Pixels {
    if image.channels < 3 {
        return image;
    }
    for pixel in image.data.chunks_exact_mut(image.channels) {
        let rgb = [0, 1, 2].map(|channel| f64::from(pixel[channel]));
        let (high, low) = (rgb[0].max(rgb[1]).max(rgb[2]), rgb[0].min(rgb[1]).min(rgb[2]));
        let chroma = high - low;
        if chroma == 0.0 {
            continue;
        }
        let sector = if high == rgb[0] {
            (rgb[1] - rgb[2]) / chroma
        } else if high == rgb[1] {
            (rgb[2] - rgb[0]) / chroma + 2.0
        } else {
            (rgb[0] - rgb[1]) / chroma + 4.0
        };
        let sector = (sector + 6.0 * share).rem_euclid(6.0);
        for (channel, offset) in [5.0, 3.0, 1.0].into_iter().enumerate() {
            let k = (offset + sector) % 6.0;
            pixel[channel] = (high - chroma * k.min(4.0 - k).clamp(0.0, 1.0)).round() as u8;
        }
    }
    image
}

/// Area of the crop relative to the image's.
const SCALE: (f64, f64) = (0.2, 1.0);
/// Width of the crop relative to its height.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// A crop whose area is uniform in 0.2..1 and whose aspect is log-uniform in 3/4..4/3; after ten tries that do not
/// fit, the largest central crop of an allowed aspect.
pub fn random_crop(height: usize, width: usize, rng: &mut ChaCha8Rng) -> Crop {
    random_crop_of(SCALE, height, width, rng)
}

/// As [`random_crop`], with the area uniform in `scale`.
pub fn random_crop_of(scale: (f64, f64), height: usize, width: usize, rng: &mut ChaCha8Rng) -> Crop {
    let (full_height, full_width) = (height as f64, width as f64);
    let mut between = |low: f64, high: f64| low + (high - low) * f64::from(uniform(rng));
    for _ in 0..10 {
        let area = full_height * full_width * between(scale.0, scale.1);
        let aspect = between(RATIO.0.ln(), RATIO.1.ln()).exp();
        let (width, height) = ((area * aspect).sqrt().round(), (area / aspect).sqrt().round());
        if (1.0..=full_width).contains(&width) && (1.0..=full_height).contains(&height) {
            let left = between(0.0, full_width - width + 1.0).floor().min(full_width - width);
            let top = between(0.0, full_height - height + 1.0).floor().min(full_height - height);
            return Crop { left, top, width, height };
        }
    }
    let aspect = (full_width / full_height).clamp(RATIO.0, RATIO.1);
    let width = full_width.min((full_height * aspect).round()).max(1.0);
    let height = full_height.min((full_width / aspect).round()).max(1.0);
    Crop { left: ((full_width - width) / 2.0).floor(), top: ((full_height - height) / 2.0).floor(), width, height }
}

/// One training view, `[H, W, C]`.
///
/// # Errors
/// If the image cannot be resized.
pub fn training_view(
    image: &Pixels,
    height: usize,
    width: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<u8>, ImageError> {
    random_view(SCALE, image, height, width, rng)
}

/// A random crop with an area uniform in `scale`, perhaps flipped.
fn random_view(
    scale: (f64, f64),
    image: &Pixels,
    height: usize,
    width: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<u8>, ImageError> {
    let crop = random_crop_of(scale, image.height, image.width, rng);
    let mut view = resize(image, crop, height, width)?;
    if uniform(rng) < 0.5 {
        flip(&mut view, width, image.channels);
    }
    Ok(view)
}

/// Mirrors `[H, W, C]` left to right.
pub fn flip(view: &mut [u8], width: usize, channels: usize) {
    for row in view.chunks_exact_mut(width * channels) {
        for col in 0..width / 2 {
            let (left, right) = row.split_at_mut((width - 1 - col) * channels);
            left[col * channels..(col + 1) * channels].swap_with_slice(&mut right[..channels]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::generator;

    #[test]
    fn crops_lie_inside_and_keep_area_and_aspect() {
        for (height, width) in [(32, 32), (480, 640), (1, 1), (3, 1000)] {
            for index in 0..500 {
                let crop = random_crop(height, width, &mut generator(1, index));
                assert!(crop.left >= 0.0 && crop.left + crop.width <= width as f64, "{crop:?}");
                assert!(crop.top >= 0.0 && crop.top + crop.height <= height as f64, "{crop:?}");
                if height >= 32 && width < 1000 {
                    let area = crop.width * crop.height / (height * width) as f64;
                    assert!((0.15..=1.0).contains(&area), "{crop:?}");
                    assert!((0.7..1.42).contains(&(crop.width / crop.height)), "{crop:?}");
                }
            }
        }
    }

    #[test]
    fn every_augmentation_makes_views_of_the_models_size_and_the_crops_differ() {
        let data = (0..40 * 60 * 3).map(|i| (i * 31 % 256) as u8).collect();
        let image = Pixels { height: 40, width: 60, channels: 3, data };
        let view =
            |augment: Augment, index| augment.view(&image, 0.2, (16, 16), &mut generator(1, index)).expect("view");
        for augment in [Augment::None, Augment::FixedCrop, Augment::RandomCrop, Augment::ColourJitter] {
            assert_eq!(view(augment, 3).len(), 16 * 16 * 3);
            assert_eq!(view(augment, 3), view(augment, 3));
            assert_eq!(view(augment, 3) == view(augment, 4), augment == Augment::None);
        }
        for index in 0..200 {
            let crop = fixed_crop(&image, 16, 16, &mut generator(2, index));
            assert_eq!((crop.height, crop.width), (35.0, 35.0));
            assert!(crop.left >= 0.0 && crop.left <= 25.0 && crop.top >= 0.0 && crop.top <= 5.0, "{crop:?}");
        }
    }

    #[test]
    fn the_smallest_area_is_that_which_was_asked_for() {
        let image =
            Pixels { height: 64, width: 64, channels: 1, data: (0..64 * 64).map(|i| (i / 64) as u8).collect() };
        let spread = |smallest: f64, index| {
            let view = Augment::RandomCrop.view(&image, smallest, (64, 64), &mut generator(1, index)).expect("view");
            usize::from(view[64 * 63]) - usize::from(view[0])
        };
        let least = |smallest| (0..100).map(|index| spread(smallest, index)).min();
        assert!((0..20).all(|index| spread(1.0, index) == 63), "the whole image");
        assert!(least(0.9) > Some(50) && least(0.05) < Some(25), "{:?} {:?}", least(0.9), least(0.05));
    }

    #[test]
    fn hues_turn_and_gray_stays() {
        let image = |data: Vec<u8>| Pixels { height: 1, width: data.len() / 3, channels: 3, data };
        let found = turned(image(vec![200, 0, 0, 90, 90, 90, 10, 210, 10]), 1.0 / 3.0).data;
        assert_eq!(found, [0, 200, 0, 90, 90, 90, 10, 10, 210]);
        let all: Vec<u8> = (0..300 * 3).map(|i| (i * 37 % 256) as u8).collect();
        assert_eq!(turned(image(all.clone()), 0.0).data, all);
        let changed = (0..100).filter(|i| jittered(image(all.clone()), &mut generator(5, *i)).data != all).count();
        assert!((65..95).contains(&changed), "{changed}");
    }

    #[test]
    fn flipping_twice_changes_nothing() {
        let original: Vec<u8> = (0..2 * 5 * 3).collect();
        let mut view = original.clone();
        flip(&mut view, 5, 3);
        assert_eq!(view[..3], original[12..15]);
        flip(&mut view, 5, 3);
        assert_eq!(view, original);
    }
}
