//! The paper's augmentation (appendix A.1): random resized crop and horizontal flip, nothing else.

use common::mask::uniform;
use edge::image_source::{Crop, ImageError, Pixels, resize};
use rand_chacha::ChaCha8Rng;

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
    let crop = random_crop(image.height, image.width, rng);
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
    fn flipping_twice_changes_nothing() {
        let original: Vec<u8> = (0..2 * 5 * 3).collect();
        let mut view = original.clone();
        flip(&mut view, 5, 3);
        assert_eq!(view[..3], original[12..15]);
        flip(&mut view, 5, 3);
        assert_eq!(view, original);
    }
}
