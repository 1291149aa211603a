//! Pixel and patch normalisation.

use serde::{Deserialize, Serialize};

/// Epsilon under the root of the per-patch normalisation (MAE §4.1, "per-patch normalization").
pub const NORM_PIX_EPS: f32 = 1e-6;

/// Mean and standard deviation of each channel over a data set, in units of pixel value / 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelStats {
    /// Mean of each channel; entries past the last channel are 0.
    pub mean: [f32; 4],
    /// Standard deviation of each channel; entries past the last channel are 1.
    pub std: [f32; 4],
}

impl PixelStats {
    /// The statistics of ImageNet, which the paper's recipe uses for every RGB data set.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406, 0.0], std: [0.229, 0.224, 0.225, 1.0] };

    /// What is usual for so many channels: the paper's recipe normalises RGB with ImageNet's statistics; other images
    /// are brought to about -1..1.
    #[must_use]
    pub const fn usual(channels: usize) -> Self {
        if channels == 3 { Self::IMAGENET } else { Self { mean: [0.5; 4], std: [0.25; 4] } }
    }

    /// `value` of `channel` in 0..=255 as the encoder sees it.
    #[must_use]
    pub fn normalize(&self, value: u8, channel: usize) -> f32 {
        (f32::from(value) / 255.0 - self.mean[channel]) / self.std[channel]
    }

    /// The inverse of [`Self::normalize`], rounded and clamped to 0..=255.
    #[must_use]
    pub fn denormalize(&self, value: f32, channel: usize) -> u8 {
        libm::roundf((value * self.std[channel] + self.mean[channel]) * 255.0).clamp(0.0, 255.0) as u8
    }

    /// Normalises interleaved pixels. `pixels` and `out`: `[H, W, C]`, `channels` = C.
    pub fn normalize_image(&self, pixels: &[u8], channels: usize, out: &mut [f32]) {
        for (pixel, out) in pixels.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
            for (channel, (value, out)) in pixel.iter().zip(out).enumerate() {
                *out = self.normalize(*value, channel);
            }
        }
    }
}

/// Mean and standard deviation of one patch, as the normalised target divides by them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchStats {
    /// Mean over the patch vector.
    pub mean: f32,
    /// `sqrt(unbiased variance + 1e-6)`.
    pub std: f32,
}

impl PatchStats {
    /// Statistics of a patch vector `[p*p*C]`, with the unbiased variance of the official implementation.
    #[must_use]
    pub fn of(patch: &[f32]) -> Self {
        let count = patch.len() as f64;
        let mean = patch.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let squares = patch.iter().map(|v| (f64::from(*v) - mean) * (f64::from(*v) - mean)).sum::<f64>();
        let variance = squares / (count - 1.0).max(1.0);
        Self { mean: mean as f32, std: libm::sqrt(variance + f64::from(NORM_PIX_EPS)) as f32 }
    }

    /// The target that `norm_pix_loss` compares with, in place. `patch`: `[p*p*C]`.
    pub fn normalize(self, patch: &mut [f32]) {
        patch.iter_mut().for_each(|v| *v = (*v - self.mean) / self.std);
    }

    /// Turns a normalised prediction back into pixels, in place. `patch`: `[p*p*C]`.
    pub fn denormalize(self, patch: &mut [f32]) {
        patch.iter_mut().for_each(|v| *v = *v * self.std + self.mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_round_trip() {
        for value in 0..=255 {
            for channel in 0..3 {
                let stats = PixelStats::IMAGENET;
                assert_eq!(stats.denormalize(stats.normalize(value, channel), channel), value);
            }
        }
    }

    #[test]
    fn patch_statistics_use_the_unbiased_variance() {
        let stats = PatchStats::of(&[1.0, 2.0, 3.0, 4.0]);
        assert!((stats.mean - 2.5).abs() < 1e-7);
        assert!((stats.std - (5.0_f32 / 3.0 + 1e-6).sqrt()).abs() < 1e-6);
        let mut patch = [1.0, 2.0, 3.0, 4.0];
        stats.normalize(&mut patch);
        stats.denormalize(&mut patch);
        assert!(patch.iter().zip([1.0, 2.0, 3.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
