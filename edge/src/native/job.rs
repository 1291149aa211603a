//! One image's encoding: what all threads know of it, and the steps that embedding, attention and MLP share.

use super::{
    format::{Model, Norm},
    kernels::Kernels,
    lanes::CHUNK,
    layout::padded_k,
    product::Product,
    profile::Profiler,
    workspace::{Plan, Scratch, Shape},
};

/// The visible patches in the order of `ids_keep`, each as `common::patch` cuts it.
#[derive(Debug, Clone, Copy)]
pub enum Patches<'p> {
    /// `[V, P]`: pixels as the camera gave them.
    Pixels(&'p [u8]),
    /// `[V, P]`: pixels after the model's normalisation.
    Values(&'p [f32]),
}

impl Patches<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Pixels(pixels) => pixels.len(),
            Self::Values(values) => values.len(),
        }
    }
}

/// What all threads know of one image.
pub(super) struct Job<'j, P: Profiler> {
    pub(super) model: Model<'j>,
    pub(super) kernels: &'static Kernels,
    pub(super) shape: &'j Shape,
    pub(super) plan: &'j Plan,
    pub(super) patches: Patches<'j>,
    /// `[V]`: which of the image's patches each one is.
    pub(super) ids_keep: &'j [u32],
    /// `V + 1`: the class token is the first.
    pub(super) tokens: usize,
    /// From normalised pixels to pixels less 128, see [`pixels`](super::float::pixels).
    pub(super) pixel_map: &'j [[[f32; CHUNK]; 3]; 2],
    pub(super) profiler: &'j P,
}

/// A product of whose lengths this module is sure.
pub(super) fn run(kernels: &Kernels, product: Product<'_>) {
    let done = (kernels.product)(product);
    debug_assert!(done, "a product with wrong lengths");
}

/// LayerNorm of each row of `x` (`[R, D]`), quantised into `scratch.quantized`, scales in `scratch.scales`.
pub(super) fn quantized_norm(job: &Job<'_, impl Profiler>, norm: Norm<'_>, x: &[f32], scratch: &mut Scratch<'_>) {
    let passes = &job.kernels.passes;
    let eps = job.model.spec().norm_eps;
    let y = &mut scratch.wide[..job.shape.dim];
    let rows = x.chunks_exact(job.shape.dim).zip(scratch.quantized.chunks_exact_mut(padded_k(job.shape.dim)));
    for ((x, out), scale) in rows.zip(scratch.scales.iter_mut()) {
        let peak = (passes.norm)(x, norm, eps, y);
        *scale = (passes.quantize)(y, peak, out);
    }
}
