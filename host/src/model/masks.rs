//! The masks of a batch, drawn on the host and uploaded as indices: the same on every backend.

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{
    mask::{self, Mask, MaskKind},
    patch::PatchGrid,
};

/// One mask an image, all keeping the same number of patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskBatch {
    masks: Vec<Mask>,
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
        Self { masks: (0..batch).map(draw).collect() }
    }

    /// Masks made elsewhere; `None` unless there is one at least and all have the same lengths.
    #[must_use]
    pub fn from_masks(masks: Vec<Mask>) -> Option<Self> {
        let lengths = |mask: &Mask| (mask.ids_keep.len(), mask.ids_restore.len());
        let first = lengths(masks.first()?);
        masks.iter().all(|mask| lengths(mask) == first).then_some(Self { masks })
    }

    /// The masks of these images, and of others behind them, which keep as many patches.
    #[must_use]
    pub(crate) fn and(mut self, others: Self) -> Self {
        debug_assert_eq!((self.visible(), self.patches()), (others.visible(), others.patches()));
        self.masks.extend(others.masks);
        self
    }

    /// The masks of the first `count` images.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self { masks: self.masks[..count.min(self.masks.len())].to_vec() }
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

    /// Rows of the removed patches among rows of images that have `extra` tokens before their `L` patches,
    /// `[B * (L - V)]`.
    pub fn removed_rows(&self, extra: usize, device: &Device) -> Tensor<1, Int> {
        let (visible, extra, length) = (self.visible() as u32, extra as i32, self.patches() as i32);
        let rows = self.masks.iter().zip(0..).flat_map(|(mask, b)| {
            let removed = mask.ids_restore.iter().zip(0..).filter(move |(place, _)| **place >= visible);
            removed.map(move |(_, id)| b * (extra + length) + extra + id)
        });
        indices(rows, device)
    }

    /// The 0/1 mask (1 removed), `[B, L, 1]`.
    pub fn removed(&self, device: &Device) -> Tensor<3> {
        let values: Vec<f32> = self.masks.iter().flat_map(|mask| mask.removed()).map(f32::from).collect();
        Tensor::from_data(TensorData::new(values, [self.batch(), self.patches(), 1]), device)
    }
}

fn indices(rows: impl Iterator<Item = i32>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}
