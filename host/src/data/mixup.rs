//! Mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019) of whole batches, as the reference mixes: an image with the
//! one at the mirrored place, all of a batch alike.

use super::{
    erasing::Rect,
    random::{below, beta, chance},
};
use rand_chacha::ChaCha8Rng;

/// Which mixing is on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mixing {
    /// Shape of mixup's beta distribution; 0 is off.
    pub mixup: f64,
    /// Shape of CutMix's beta distribution; 0 is off. With both on, each has half of the batches.
    pub cutmix: f64,
}

/// How one batch is mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Share of an image's own class.
    pub lambda: f64,
    /// What is pasted of the other image; without it all pixels are averaged.
    pub cut: Option<Rect>,
}

impl Mixing {
    /// Draws the mixing of a batch of `height x width` images; `None` if both kinds are off.
    pub fn draw(self, height: usize, width: usize, rng: &mut ChaCha8Rng) -> Option<Mix> {
        let cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return None,
            (true, true) => chance(0.5, rng),
            (_, cutmix) => cutmix,
        };
        if !cut {
            return Some(Mix { lambda: beta(self.mixup, rng), cut: None });
        }
        let share = (1.0 - beta(self.cutmix, rng)).sqrt();
        let part = |full: usize, rng: &mut ChaCha8Rng| {
            let (half, middle) = ((full as f64 * share) as usize / 2, below(full, rng));
            let (start, end) = (middle.saturating_sub(half), (middle + half).min(full));
            (start, end - start)
        };
        let ((top, rows), (left, columns)) = (part(height, rng), part(width, rng));
        // What the border cuts off counts for the image itself.
        let lambda = 1.0 - (rows * columns) as f64 / (height * width) as f64;
        Some(Mix { lambda, cut: Some(Rect { top, left, height: rows, width: columns }) })
    }
}

impl Mix {
    /// Mixes `images`, `[B, H, W, C]`, of this many values and columns each.
    pub fn images(&self, images: &mut [f32], values: usize, width: usize, channels: usize) {
        let batch = images.len() / values;
        let (first, second) = images.split_at_mut(batch.div_ceil(2) * values);
        let lambda = self.lambda as f32;
        // With an odd number the middle one is mixed with itself, which leaves it.
        for (a, b) in first.chunks_exact_mut(values).zip(second.chunks_exact_mut(values).rev()) {
            match self.cut {
                None => a.iter_mut().zip(b).for_each(|(a, b)| {
                    (*a, *b) = (lambda * *a + (1.0 - lambda) * *b, lambda * *b + (1.0 - lambda) * *a);
                }),
                Some(rect) => {
                    for pixel in rect.pixels(width) {
                        let at = pixel * channels..(pixel + 1) * channels;
                        a[at.clone()].swap_with_slice(&mut b[at]);
                    }
                }
            }
        }
    }
}

/// The target distributions of a batch, `[B, K]`: each label smoothed (Szegedy et al. 2016), then mixed.
#[must_use]
pub fn targets(labels: &[usize], classes: usize, smoothing: f64, mix: Option<&Mix>) -> Vec<f32> {
    let off = smoothing / classes as f64;
    let lambda = mix.map_or(1.0, |mix| mix.lambda);
    let rows = labels.iter().zip(labels.iter().rev());
    rows.flat_map(|(own, other)| {
        let on = move |class: usize, label: &usize| if class == *label { 1.0 - smoothing } else { 0.0 };
        (0..classes).map(move |k| (off + lambda * on(k, own) + (1.0 - lambda) * on(k, other)) as f32)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::generator;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn targets_are_distributions(
            labels in prop::collection::vec(0..7_usize, 1..9), smoothing in 0.0..0.9_f64, lambda in 0.0..=1.0_f64,
            mixed: bool,
        ) {
            let mix = mixed.then_some(Mix { lambda, cut: None });
            let rows = targets(&labels, 7, smoothing, mix.as_ref());
            prop_assert_eq!(rows.len(), labels.len() * 7);
            for (index, row) in rows.chunks_exact(7).enumerate() {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                prop_assert!(row.iter().all(|v| *v >= 0.0));
                let other = labels[labels.len() - 1 - index];
                let own = if mixed && other != labels[index] { lambda } else { 1.0 };
                let expected = smoothing / 7.0 + (1.0 - smoothing) * own;
                prop_assert!((f64::from(row[labels[index]]) - expected).abs() < 1e-6);
            }
        }

        #[test]
        fn lambda_is_the_share_of_the_image_itself(
            batch in 1..7_usize, height in 1..12_usize, width in 1..12_usize, index in 0..1000_u64, cutmix: bool,
        ) {
            let mixing = if cutmix { Mixing { mixup: 0.0, cutmix: 1.0 } } else { Mixing { mixup: 0.8, cutmix: 0.0 } };
            let mix = mixing.draw(height, width, &mut generator(1, index)).expect("on");
            prop_assert_eq!(mix.cut.is_some(), cutmix);
            prop_assert!((0.0..=1.0).contains(&mix.lambda));
            // Image b holds the number b in every pixel and channel.
            let values = height * width * 2;
            let mut images: Vec<f32> = (0..batch).flat_map(|b| vec![b as f32; values]).collect();
            mix.images(&mut images, values, width, 2);
            for (b, image) in images.chunks_exact(values).enumerate() {
                let other = batch - 1 - b;
                let mean = image.iter().map(|v| f64::from(*v)).sum::<f64>() / values as f64;
                let expected = mix.lambda * b as f64 + (1.0 - mix.lambda) * other as f64;
                prop_assert!((mean - expected).abs() < 1e-4, "{b}: {mean} {expected}");
                if cutmix {
                    prop_assert!(image.iter().all(|v| *v == b as f32 || *v == other as f32));
                }
            }
        }
    }

    #[test]
    fn with_both_on_each_has_half_of_the_batches() {
        let mixing = Mixing { mixup: 0.8, cutmix: 1.0 };
        let cuts = (0..1000).filter(|i| mixing.draw(8, 8, &mut generator(4, *i)).is_some_and(|m| m.cut.is_some()));
        assert!((440..560).contains(&cuts.count()));
        assert_eq!(Mixing::default().draw(8, 8, &mut generator(4, 0)), None);
    }
}
