//! How visible the borders of patches are in reconstructions. docs/seam.md defines the figures.

use crate::{
    model::MaskBatch,
    objective::{Learner, target::FittedTarget},
    pictures::fill,
    progress::bar,
    run::RunConfig,
};
use common::{
    mask::{self, MaskKind},
    patch::PatchGrid,
};

/// Images that are reconstructed at once.
const BATCH: usize = 64;

/// Removed pixels this close to a visible patch are near it.
const NEAR: usize = 2;

/// The patches that are removed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Masks {
    /// How they are chosen.
    pub kind: MaskKind,
    /// Their share.
    pub ratio: f64,
    /// Random choices come from this, one stream an image.
    pub seed: u64,
}

/// The figures of `images` (`[H, W, C]` each) as the model of a run, which `fill::load` gives, reconstructs them;
/// with a progress bar.
///
/// # Errors
/// If an image does not fit the model, or the device fails.
pub fn measure(
    (model, target): &(Learner, FittedTarget),
    config: &RunConfig,
    images: &[Vec<u8>],
    masks: Masks,
) -> anyhow::Result<SeamFigures> {
    let grid = config.model.grid()?;
    let kept = mask::len_keep(grid.patches(), masks.ratio);
    let (mut sums, bar) = (SeamSums::default(), bar(images.len(), "reconstructing"));
    for (batch, views) in images.chunks(BATCH).enumerate() {
        let masks = MaskBatch::draw(masks.kind, &grid, kept, masks.seed, (batch * BATCH) as u64, views.len());
        let filled = fill::fill(model, (config, target), views, &masks)?;
        for ((view, filled), mask) in views.iter().zip(&filled).zip(masks.masks()) {
            sums.add(&grid, view, filled, &mask.removed());
        }
        bar.inc(views.len() as u64);
    }
    bar.finish_and_clear();
    Ok(sums.figures())
}

/// Sums over images; [`Self::figures`] makes figures of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeamSums {
    /// Steps across borders of the original and of the reconstruction: sums of magnitudes, and how many.
    across: [f64; 2],
    across_count: f64,
    /// The same inside removed patches.
    inside: [f64; 2],
    inside_count: f64,
    /// Squared errors near visible patches and far from them, and how many.
    squares: [f64; 2],
    counts: [f64; 2],
}

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SeamFigures {
    /// Steps across borders over steps inside removed patches, in the originals.
    pub original: f64,
    /// The same in the reconstructions.
    pub reconstruction: f64,
    /// The second over the first: 1 where no seam is visible.
    pub seam: f64,
    /// Root mean square error of removed pixels at most two from a visible patch, in steps of 1/255.
    pub rmse_near: f64,
    /// That of the other removed pixels.
    pub rmse_far: f64,
    /// That of all.
    pub rmse: f64,
}

impl SeamSums {
    /// Takes in an image. `original`, `filled`: `[H, W, C]`; `removed`: `[L]`, 1 removed.
    pub fn add(&mut self, grid: &PatchGrid, original: &[u8], filled: &[u8], removed: &[u8]) {
        let (height, width, channels) = (grid.height(), grid.width(), grid.channels());
        let (side, cols) = (grid.patch_size(), grid.cols());
        let patch = |y: usize, x: usize| y / side * cols + x / side;
        let at = |y: usize, x: usize| (y * width + x) * channels;
        let mut steps = |one: (usize, usize), other: (usize, usize)| {
            let (a, b) = (patch(one.0, one.1), patch(other.0, other.1));
            let gone = (removed[a] == 1, removed[b] == 1);
            let (sums, count) = match a == b {
                true if gone.0 => (&mut self.inside, &mut self.inside_count),
                false if gone.0 || gone.1 => (&mut self.across, &mut self.across_count),
                _ => return,
            };
            for (sum, image) in sums.iter_mut().zip([original, filled]) {
                let (i, j) = (at(one.0, one.1), at(other.0, other.1));
                *sum += (0..channels).map(|c| f64::from(image[i + c].abs_diff(image[j + c]))).sum::<f64>();
            }
            *count += channels as f64;
        };
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            if x + 1 < width {
                steps((y, x), (y, x + 1));
            }
            if y + 1 < height {
                steps((y, x), (y + 1, x));
            }
        }
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            if removed[patch(y, x)] == 0 {
                continue;
            }
            let rows = y.saturating_sub(NEAR)..(y + NEAR + 1).min(height);
            let mut around =
                rows.flat_map(|v| (x.saturating_sub(NEAR)..(x + NEAR + 1).min(width)).map(move |u| (v, u)));
            let part = usize::from(!around.any(|(v, u)| removed[patch(v, u)] == 0));
            let i = at(y, x);
            let squares = (i..i + channels).map(|i| f64::from(original[i].abs_diff(filled[i])).powi(2));
            self.squares[part] += squares.sum::<f64>();
            self.counts[part] += channels as f64;
        }
    }

    /// The figures of all images so far. One that no pixel counts for is no number.
    #[must_use]
    pub fn figures(&self) -> SeamFigures {
        let ratio =
            |image: usize| (self.across[image] / self.across_count) / (self.inside[image] / self.inside_count);
        let rmse = |squares: f64, count: f64| (squares / count).sqrt();
        let (original, reconstruction) = (ratio(0), ratio(1));
        SeamFigures {
            original,
            reconstruction,
            seam: reconstruction / original,
            rmse_near: rmse(self.squares[0], self.counts[0]),
            rmse_far: rmse(self.squares[1], self.counts[1]),
            rmse: rmse(self.squares.iter().sum(), self.counts.iter().sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_reconstruction_has_no_seam_and_flat_patches_have() {
        let grid = PatchGrid::new(16, 16, 8, 1).unwrap();
        let original: Vec<u8> = (0..256).map(|i| (i % 16 * 9 + i / 16 * 5) as u8).collect();
        let removed = [0, 1, 1, 1];
        let mut sums = SeamSums::default();
        sums.add(&grid, &original, &original, &removed);
        let figures = sums.figures();
        assert_eq!((figures.seam, figures.rmse), (1.0, 0.0));

        // Each removed patch a slope of half the height about its own mean: the steps inside halve, those across
        // grow.
        let mut filled = original.clone();
        for (y, x) in (0..16).flat_map(|y| (0..16).map(move |x| (y, x))) {
            if y >= 8 || x >= 8 {
                let (cy, cx) = (y / 8 * 8, x / 8 * 8);
                let mean = (cx as f64 + 3.5) * 9.0 + (cy as f64 + 3.5) * 5.0;
                filled[y * 16 + x] = (mean + (f64::from(original[y * 16 + x]) - mean) / 2.0).round() as u8;
            }
        }
        let mut sums = SeamSums::default();
        sums.add(&grid, &original, &filled, &removed);
        let blocky = sums.figures();
        assert!(blocky.reconstruction > 4.0 * blocky.original, "{blocky:?}");
        assert!(blocky.rmse_near > 0.0 && blocky.rmse_far > 0.0);
        // 16 + 4 + 16 pixels of the three removed patches lie within two of the visible one.
        assert_eq!(sums.counts, [36.0, 156.0]);
    }
}
