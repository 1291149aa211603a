//! Losses against the seam: reconstructions break at the borders of patches, because each removed patch is predicted
//! by itself and the loss does not know that it has neighbours.
//!
//! Two additions, each off at 0. A **loss map** weighs a removed pixel by its distance to the nearest visible patch,
//! where the eye finds the seam. A **gradient term** asks that the prediction change across a border as the image
//! does; across one with a visible patch that is the error of the border's own pixels once more, and between two
//! removed patches it is the only term that couples them. docs/seam.md has the definitions and what they bring.

use crate::model::MaskBatch;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::patch::PatchGrid;
use serde::{Deserialize, Serialize};

/// How much is added.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeamConfig {
    /// `W`: a removed pixel that touches a visible patch weighs `1 + W` before the weights are normalised.
    #[serde(default)]
    pub weight: f64,
    /// `G`: factor of the gradient term.
    #[serde(default)]
    pub gradient: f64,
}

impl SeamConfig {
    /// Whether there is nothing to add.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// Losses of a grid of patches.
#[derive(Debug, Clone)]
pub struct Seam {
    config: SeamConfig,
    grid: PatchGrid,
    /// Weights of a patch's pixels before normalisation for each set of visible neighbours, `[256, p * p]`.
    table: Vec<f32>,
}

/// The neighbours of a patch, row and column; their order numbers the bits of a set of visible ones.
const NEIGHBOURS: [(isize, isize); 8] = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)];

impl Seam {
    /// The losses of a recipe; `None` if it asks for none.
    #[must_use]
    pub fn new(config: SeamConfig, grid: PatchGrid) -> Option<Self> {
        let side = grid.patch_size();
        if config.is_off() {
            return None;
        }
        let table = (0..256_usize).flat_map(|visible| {
            (0..side * side).map(move |pixel| weight(visible, (pixel / side, pixel % side), side, config.weight))
        });
        Some(Self { config, grid, table: table.collect() })
    }

    /// The mean squared `error` of removed patches (`[B * (L - V), P]`) with these terms, `[1]`. `unit`: the error's
    /// unit in each patch, `[B * (L - V), 1]`, where that is not the pixel's.
    pub fn loss(&self, error: Tensor<2>, unit: Option<Tensor<2>>, masks: &MaskBatch) -> Tensor<1> {
        let device = error.device();
        let mut loss = match self.config.weight > 0.0 {
            true => (error.clone().powi_scalar(2) * self.weights(masks, &device)).mean(),
            false => error.clone().powi_scalar(2).mean(),
        };
        if self.config.gradient > 0.0 {
            let error = unit.map_or_else(|| error.clone(), |unit| error.clone() * unit);
            loss = loss + self.gradient(error, masks).mul_scalar(self.config.gradient);
        }
        loss
    }

    /// Weight of each value of the removed patches, `[B * (L - V), P]`; their mean is 1 in every image.
    pub fn weights(&self, masks: &MaskBatch, device: &Device) -> Tensor<2> {
        let (grid, channels) = (&self.grid, self.grid.channels());
        let pixels = grid.patch_size() * grid.patch_size();
        let mut values = Vec::with_capacity(masks.removed_count() * grid.patch_dim());
        for mask in masks.masks() {
            let (removed, first) = (mask.removed(), values.len());
            for patch in (0..removed.len()).filter(|patch| removed[*patch] == 1) {
                let row = visible_neighbours(grid, &removed, patch) * pixels;
                let weights = &self.table[row..row + pixels];
                values.extend(weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, channels)));
            }
            let image = &mut values[first..];
            let mean = image.iter().map(|value| f64::from(*value)).sum::<f64>() / image.len().max(1) as f64;
            image.iter_mut().for_each(|value| *value /= mean as f32);
        }
        Tensor::from_data(TensorData::new(values, [masks.removed_count(), grid.patch_dim()]), device)
    }

    /// Mean square of the difference between the errors on both sides of a border, over all values beside borders of
    /// which one side at least is removed; visible patches have no error. `error`: `[B * (L - V), P]`. Returns `[1]`.
    fn gradient(&self, error: Tensor<2>, masks: &MaskBatch) -> Tensor<1> {
        let (grid, device) = (&self.grid, error.device());
        let [_, values] = error.dims();
        // One more row, without error, for all visible patches.
        let none = Tensor::zeros([1, values], &device);
        let all = Tensor::cat(vec![error, none], 0).select(0, removed_or_last(masks, &device));
        let (side, channels) = (grid.patch_size(), grid.channels());
        let (rows, cols) = (grid.rows(), grid.cols());
        let all: Tensor<6> = all.reshape([masks.batch(), rows, cols, side, side, channels]);
        let (mut sum, mut count) = (Tensor::zeros([1], &device), 0);
        // Across borders between columns: dimension 2 numbers the patch, 4 the pixel; between rows: 1 and 3.
        for (patch, pixel, patches) in [(2, 4, cols), (1, 3, rows)] {
            if patches > 1 {
                let before = all.clone().narrow(patch, 0, patches - 1).narrow(pixel, side - 1, 1);
                let behind = all.clone().narrow(patch, 1, patches - 1).narrow(pixel, 0, 1);
                sum = sum + (before - behind).powi_scalar(2).sum();
            }
        }
        for mask in masks.masks() {
            let removed = mask.removed();
            let beside = |a: usize, b: usize| usize::from(removed[a] == 1 || removed[b] == 1);
            for patch in 0..removed.len() {
                let right = if patch % cols + 1 < cols { beside(patch, patch + 1) } else { 0 };
                let below = if patch / cols + 1 < rows { beside(patch, patch + cols) } else { 0 };
                count += (right + below) * side * channels;
            }
        }
        sum.div_scalar(count.max(1) as f64)
    }
}

/// `1 + W exp(-d / s)`, with `d` the distance in pixels from the pixel to the nearest one that touches a visible
/// patch, and `s` a quarter of a patch; 1 where no neighbour is visible.
fn weight(visible: usize, (y, x): (usize, usize), side: usize, weight: f64) -> f32 {
    let apart = |pixel: usize, direction: isize| match direction {
        -1 => pixel,
        1 => side - 1 - pixel,
        _ => 0,
    } as f64;
    let around = NEIGHBOURS.iter().enumerate().filter(|(bit, _)| visible >> bit & 1 == 1);
    let nearest = around.map(|(_, (row, col))| apart(y, *row).hypot(apart(x, *col))).min_by(f64::total_cmp);
    nearest.map_or(1.0, |distance| 1.0 + weight * (-distance / (side as f64 / 4.0)).exp()) as f32
}

/// The set of a patch's visible neighbours. `removed`: `[L]`.
fn visible_neighbours(grid: &PatchGrid, removed: &[u8], patch: usize) -> usize {
    let (rows, cols) = (grid.rows() as isize, grid.cols() as isize);
    let (row, col) = (patch as isize / cols, patch as isize % cols);
    let bits = NEIGHBOURS.iter().enumerate().filter(|(_, (down, right))| {
        let (row, col) = (row + down, col + right);
        (0..rows).contains(&row) && (0..cols).contains(&col) && removed[(row * cols + col) as usize] == 0
    });
    bits.map(|(bit, _)| 1 << bit).sum()
}

/// For each patch of the batch, `[B * L]`, its row among the removed ones, or the row behind the last.
fn removed_or_last(masks: &MaskBatch, device: &Device) -> Tensor<1, Int> {
    let (mut next, last) = (0, masks.removed_count() as i32);
    let mut rows = Vec::with_capacity(masks.batch() * masks.patches());
    for removed in masks.masks().iter().flat_map(|mask| mask.removed()) {
        rows.push(if removed == 1 { next } else { last });
        next += i32::from(removed);
    }
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Mae, MaeConfig},
        objective::{Learner, Objective, loss_as_trained},
        preset::{Preset, Recipe},
    };
    use common::mask::{Mask, MaskKind};

    fn seam(weight: f64, gradient: f64) -> (Seam, MaeConfig) {
        let mut preset = Preset::named("pico-32").unwrap().with_recipe(Recipe::Paper);
        let grid = preset.model.grid().unwrap();
        preset.model.depth = 1;
        (Seam::new(SeamConfig { weight, gradient }, grid).unwrap(), preset.model)
    }

    /// Patches `kept` of the grid are visible.
    fn masks(grid: &PatchGrid, kept: &[usize]) -> MaskBatch {
        let noise: Vec<f32> = (0..grid.patches()).map(|i| if kept.contains(&i) { 0.0 } else { 1.0 }).collect();
        MaskBatch::from_masks(vec![Mask::from_noise(&noise, kept.len())]).unwrap()
    }

    #[test]
    fn weights_fall_with_the_distance_to_a_visible_patch_and_have_the_mean_one() {
        let (seam, config) = seam(3.0, 0.0);
        let (grid, device) = (config.grid().unwrap(), Device::flex());
        let batch = masks(&grid, &[9]);
        let values = seam.weights(&batch, &device).try_into_vec_as::<f32>().unwrap();
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 1e-6, "{mean}");
        // Patch 10, row 9 of the removed ones, lies to the right of the visible one: its columns fall from left to
        // right.
        let patch = &values[9 * 48..10 * 48];
        let column = |x: usize| patch[x * 3];
        assert!(column(0) > column(1) && column(1) > column(2) && column(2) > column(3));
        let far = values[values.len() - 1];
        assert!((column(0) / far - 4.0).abs() < 1e-4, "touching weighs 1 + W");
        assert!((column(1) / far - (1.0 + 3.0 * (-1.0_f32).exp())).abs() < 1e-4);
        // The diagonal neighbour's corner touches, too; patch 18.
        assert!((values[17 * 48] / far - 4.0).abs() < 1e-4);
    }

    #[test]
    fn the_gradient_term_is_that_of_the_pixels() {
        let (seam, config) = seam(0.0, 1.0);
        let (grid, device) = (config.grid().unwrap(), Device::flex());
        let batch = MaskBatch::draw(MaskKind::Random, &grid, 16, 7, 0, 2);
        let (rows, values) = (batch.removed_count(), grid.patch_dim());
        let error: Vec<f32> = (0..rows * values).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let found = seam.gradient(Tensor::from_data(TensorData::new(error.clone(), [rows, values]), &device), &batch);
        let found = found.try_into_vec_as::<f32>().unwrap()[0];
        // The same from whole images.
        let (mut sum, mut count, mut next) = (0.0, 0, 0);
        for mask in batch.masks() {
            let (mut image, removed) = (vec![0.0; grid.image_len()], mask.removed());
            for (patch, _) in removed.iter().enumerate().filter(|(_, removed)| **removed == 1) {
                grid.insert(&mut image, patch, &error[next * values..(next + 1) * values]).unwrap();
                next += 1;
            }
            let at = |y: usize, x: usize, c: usize| image[(y * 32 + x) * 3 + c];
            let gone = |y: usize, x: usize| removed[y / 4 * 8 + x / 4] == 1;
            for (along, across, c) in (0..32)
                .flat_map(|a| (3..31).step_by(4).map(move |b| (a, b)))
                .flat_map(|(a, b)| (0..3).map(move |c| (a, b, c)))
            {
                for (one, other) in [((along, across), (along, across + 1)), ((across, along), (across + 1, along))] {
                    if gone(one.0, one.1) || gone(other.0, other.1) {
                        sum += f64::from(at(one.0, one.1, c) - at(other.0, other.1, c)).powi(2);
                        count += 1;
                    }
                }
            }
        }
        let expected = sum / f64::from(count);
        assert!((f64::from(found) - expected).abs() < 1e-5 * expected, "{found} {expected}");
    }

    #[test]
    fn without_weights_the_loss_is_that_of_the_paper() {
        let (mut seam, config) = seam(1.0, 1.0);
        seam.config = SeamConfig::default();
        let (grid, device) = (config.grid().unwrap(), Device::flex());
        let model = Mae::new(&config, 0, &device).unwrap();
        let batch = MaskBatch::draw(MaskKind::Random, &grid, 16, 7, 0, 2);
        let values: Vec<f32> = (0..2 * grid.image_len()).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        let shape = [2, grid.patches(), grid.patch_dim()];
        let patches = Tensor::<3>::from_data(TensorData::new(values, shape), &device);
        let one = |loss: Tensor<1>| loss.try_into_vec_as::<f32>().unwrap()[0];
        let plain = one(loss_as_trained(&model, patches.clone(), &batch));
        let learner = Learner::from(model);
        let pred = learner.predict_removed(learner.encode(patches.clone(), &batch), &batch);
        let with = |seam: &Seam| {
            let objective = Objective { norm_pix_loss: true, seam: Some(seam.clone()) };
            one(objective.loss(pred.clone(), patches.clone(), &batch))
        };
        assert!((with(&seam) - plain).abs() < 1e-6);
        seam.config.weight = 1.0;
        let weighted = with(&seam);
        seam.config.gradient = 1.0;
        let both = with(&seam);
        assert!(weighted != plain && both > weighted);
    }
}
