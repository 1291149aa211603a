//! The masks of a batch, and which of the removed patches are predicted, drawn on the host and uploaded as indices:
//! the same on every backend.

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{
    mask::{self, Mask, MaskKind},
    patch::PatchGrid,
};

/// One mask an image, all keeping the same number of patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskBatch {
    masks: Vec<Mask>,
    /// The numbers of the patches that are predicted, rising, as many of each image; all removed ones without.
    predicted: Option<Vec<Vec<u32>>>,
}

/// How many of `removed` patches are predicted: their share `ratio`, at least one.
#[must_use]
pub fn len_predicted(removed: usize, ratio: f64) -> usize {
    ((removed as f64 * ratio) as usize).clamp(1.min(removed), removed)
}

impl MaskBatch {
    /// Draws masks for samples `first_sample..first_sample + batch` that each keep `len_keep` patches of `grid`.
    #[must_use]
    pub fn draw(
        kind: MaskKind,
        grid: &PatchGrid,
        len_keep: usize,
        seed: u64,
        first_sample: u64,
        batch: usize,
    ) -> Self {
        let draw = |i| Mask::draw(kind, grid, len_keep, &mut mask::generator(seed, first_sample + i as u64));
        Self { masks: (0..batch).map(draw).collect(), predicted: None }
    }

    /// The same masks, of whose removed patches only a random share `ratio` is predicted, chosen for samples
    /// `first_sample..`; with 1 all are.
    #[must_use]
    pub fn predicting(self, ratio: f64, seed: u64, first_sample: u64) -> Self {
        if ratio >= 1.0 {
            return Self { predicted: None, ..self };
        }
        let count = len_predicted(self.patches() - self.visible(), ratio);
        let choose = |(mask, sample)| {
            let rng = &mut mask::generator(seed, sample);
            let mut chosen: Vec<(f32, u32)> = removed(mask).map(|id| (mask::uniform(rng), id)).collect();
            chosen.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut ids: Vec<u32> = chosen.into_iter().take(count).map(|(_, id)| id).collect();
            ids.sort_unstable();
            ids
        };
        let predicted = self.masks.iter().zip(first_sample..).map(choose).collect();
        Self { predicted: Some(predicted), ..self }
    }

    /// Masks made elsewhere; `None` unless there is one at least and all have the same lengths.
    #[must_use]
    pub fn from_masks(masks: Vec<Mask>) -> Option<Self> {
        let lengths = |mask: &Mask| (mask.ids_keep.len(), mask.ids_restore.len());
        let first = lengths(masks.first()?);
        masks.iter().all(|mask| lengths(mask) == first).then_some(Self { masks, predicted: None })
    }

    /// The masks of these images, and of others behind them, which keep as many patches; all removed ones are
    /// predicted.
    #[must_use]
    pub(crate) fn and(mut self, others: Self) -> Self {
        debug_assert_eq!((self.visible(), self.patches()), (others.visible(), others.patches()));
        self.masks.extend(others.masks);
        Self { predicted: None, ..self }
    }

    /// Images (`B`).
    #[must_use]
    pub fn batch(&self) -> usize {
        self.masks.len()
    }

    /// Patches of an image (`L`).
    #[must_use]
    pub fn patches(&self) -> usize {
        self.masks[0].ids_restore.len()
    }

    /// Visible patches of an image (`V`).
    #[must_use]
    pub fn visible(&self) -> usize {
        self.masks[0].ids_keep.len()
    }

    /// Removed patches of the batch.
    #[must_use]
    pub fn removed_count(&self) -> usize {
        self.batch() * (self.patches() - self.visible())
    }

    /// The masks themselves.
    #[must_use]
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// Rows of the visible patches among `[B * L]`, `[B * V]`.
    pub fn keep_rows(&self, device: &Device) -> Tensor<1, Int> {
        let length = self.patches() as i32;
        let rows = self.masks.iter().zip(0..);
        indices(rows.flat_map(|(mask, b)| mask.ids_keep.iter().map(move |id| b * length + *id as i32)), device)
    }

    /// Patch numbers of the visible patches, `[B * V]`.
    pub fn positions(&self, device: &Device) -> Tensor<1, Int> {
        indices(self.masks.iter().flat_map(|mask| mask.ids_keep.iter().map(|id| *id as i32)), device)
    }

    /// For each place of the decoder's input, `[B * (1 + L)]`, the row of the encoder's output `[B * (1 + V)]`
    /// that belongs there; removed patches name the row behind the last, where the mask token stands.
    pub fn restore_rows(&self, device: &Device) -> Tensor<1, Int> {
        let (visible, mask_token) = (self.visible() as i32, (self.batch() * (1 + self.visible())) as i32);
        let rows = self.masks.iter().zip(0..).flat_map(|(mask, b)| {
            let first = b * (1 + visible);
            let patch = move |place: &u32| match *place as i32 {
                place if place < visible => first + 1 + place,
                _ => mask_token,
            };
            std::iter::once(first).chain(mask.ids_restore.iter().map(patch))
        });
        indices(rows, device)
    }

    /// Whether all removed patches are predicted.
    #[must_use]
    pub fn predicts_all(&self) -> bool {
        self.predicted.is_none()
    }

    /// Patch numbers of the predicted patches of each image, rising.
    fn predicted(&self) -> Vec<Vec<u32>> {
        let all = || self.masks.iter().map(|mask| removed(mask).collect()).collect();
        self.predicted.clone().unwrap_or_else(all)
    }

    /// Patch numbers of the predicted patches, `[B * K]`.
    pub fn predicted_ids(&self, device: &Device) -> Tensor<1, Int> {
        indices(self.predicted().into_iter().flatten().map(|id| id as i32), device)
    }

    /// Rows of the predicted patches among rows of images that have `extra` tokens before their `L` patches,
    /// `[B * K]`.
    pub fn predicted_rows(&self, extra: usize, device: &Device) -> Tensor<1, Int> {
        let (extra, length) = (extra as i32, self.patches() as i32);
        let rows = self.predicted().into_iter().zip(0..);
        let rows = rows.flat_map(|(ids, b)| ids.into_iter().map(move |id| b * (extra + length) + extra + id as i32));
        indices(rows, device)
    }

    /// Patch numbers of all patches, `[B * L]`.
    pub fn every_patch(&self, device: &Device) -> Tensor<1, Int> {
        indices((0..self.batch()).flat_map(|_| 0..self.patches() as i32), device)
    }

    /// Places of the encoder's tokens where the class token's is 0 and that of a patch one more than its number,
    /// `[B * (1 + V)]`.
    pub fn token_positions(&self, device: &Device) -> Tensor<1, Int> {
        let tokens = |mask: &Mask| -> Vec<i32> {
            std::iter::once(0).chain(mask.ids_keep.iter().map(|id| 1 + *id as i32)).collect()
        };
        indices(self.masks.iter().flat_map(tokens), device)
    }

    /// The 0/1 mask (1 removed), `[B, L, 1]`.
    pub fn removed(&self, device: &Device) -> Tensor<3> {
        let values: Vec<f32> = self.masks.iter().flat_map(|mask| mask.removed()).map(f32::from).collect();
        Tensor::from_data(TensorData::new(values, [self.batch(), self.patches(), 1]), device)
    }
}

/// Numbers of the patches that a mask removes, rising.
fn removed(mask: &Mask) -> impl Iterator<Item = u32> {
    let visible = mask.ids_keep.len() as u32;
    mask.ids_restore.iter().zip(0..).filter(move |(place, _)| **place >= visible).map(|(_, id)| id)
}

fn indices(rows: impl Iterator<Item = i32>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_predicted_patches_are_a_share_of_the_removed_ones_and_depend_on_seed_and_sample_alone() {
        let grid = PatchGrid::new(24, 24, 4, 3).expect("a grid");
        let masks = MaskBatch::draw(MaskKind::Random, &grid, 9, 3, 40, 50);
        let some = masks.clone().predicting(0.5, 7, 40);
        assert_eq!((some.masks(), some.predicts_all()), (masks.masks(), false));
        let mut seen = vec![0; 36];
        for (mask, ids) in some.masks().iter().zip(some.predicted()) {
            assert_eq!(ids.len(), 13, "the whole part of 27 / 2");
            assert!(ids.is_sorted_by(|a, b| a < b));
            ids.iter().for_each(|id| seen[*id as usize] += 1);
            assert!(ids.iter().all(|id| mask.removed()[*id as usize] == 1));
        }
        // Each place 18 times in 50 on the average.
        assert!(seen.iter().all(|count| (6..32).contains(count)), "{seen:?}");
        let distinct: BTreeSet<Vec<u32>> = some.predicted().into_iter().collect();
        assert_eq!(distinct.len(), 50);
        // A batch that begins later has the same of the same samples.
        let later = MaskBatch::draw(MaskKind::Random, &grid, 9, 3, 55, 10).predicting(0.5, 7, 55);
        assert_eq!(later.predicted(), some.predicted()[15..25]);
        assert_ne!(masks.clone().predicting(0.5, 8, 40), some);
        assert!(some.predicting(1.0, 7, 40) == masks && masks.predicts_all());
    }

    #[test]
    fn at_least_one_patch_is_predicted() {
        for (removed, ratio, count) in [(48, 0.5, 24), (48, 1e-9, 1), (3, 0.67, 2), (3, 0.66, 1), (7, 1.0, 7)] {
            assert_eq!(len_predicted(removed, ratio), count, "{removed} {ratio}");
        }
    }

    #[test]
    fn rows_and_places_are_those_of_the_patches() {
        let device = Device::flex();
        let noise = [[0.3, 0.1, 0.9, 0.2], [0.9, 0.8, 0.2, 0.1]];
        let masks = MaskBatch::from_masks(noise.map(|noise| Mask::from_noise(&noise, 2)).to_vec()).expect("masks");
        let read = |tensor: Tensor<1, Int>| tensor.try_into_vec_as::<i32>().expect("numbers");
        assert_eq!(read(masks.predicted_ids(&device)), [0, 2, 0, 1]);
        assert_eq!(read(masks.predicted_rows(0, &device)), [0, 2, 4, 5]);
        assert_eq!(read(masks.predicted_rows(1, &device)), [1, 3, 6, 7]);
        assert_eq!(read(masks.token_positions(&device)), [0, 2, 4, 0, 4, 3]);
        assert_eq!(read(masks.every_patch(&device)), [0, 1, 2, 3, 0, 1, 2, 3]);
        let one = MaskBatch { predicted: Some(vec![vec![2], vec![0]]), ..masks };
        assert_eq!(read(one.predicted_rows(1, &device)), [3, 6]);
    }
}
