//! What a block keeps of its forward pass for the backward pass.

use crate::{
    engine::Bf16,
    kept::{Kept, KeptImages, KeptPart, cut},
    norm::Statistics,
    pool::Buffer,
};
use std::ops::Range;

/// The sizes on which that of what is kept depends, of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Tokens (`N`).
    pub(crate) tokens: usize,
    /// Tokens of the context (`C`), 0 without one.
    pub(crate) context: usize,
    /// Width of a token (`D`).
    pub(crate) dim: usize,
    /// Width of the MLP's hidden layer (`F`).
    pub(crate) hidden: usize,
}

impl Sizes {
    /// What is projected from a token itself: queries, keys and values, `3D`, or with a context queries alone, `D`.
    pub(crate) fn own(self) -> usize {
        if self.context == 0 { 3 * self.dim } else { self.dim }
    }
}

/// What the backward pass needs of the forward pass, beside its input. With products in bf16, what only they read is
/// kept as they round it, and so is the hidden layer.
#[derive(Debug)]
pub struct Saved {
    sizes: Sizes,
    /// Queries, keys, values, `[B N, 3D]`; with a context queries alone, `[B N, D]`.
    own: Kept,
    /// Keys and values of the context, `[B C, 2D]`.
    context: Kept,
    /// Output of attention before its projection, `[B N, D]`.
    attended: Kept,
    /// After the first residual, `[B N, D]`.
    middle: Buffer,
    /// Before the GELU, `[B N, F]`.
    hidden: Kept,
    /// Of the norm before attention, `[B N]`.
    pub(crate) norm1: Vec<Statistics>,
    /// Of the norm before the MLP, `[B N]`.
    norm2: Vec<Statistics>,
}

/// The part of [`Saved`] that belongs to some images, being written.
pub(crate) struct SavedPart<'a> {
    sizes: Sizes,
    pub(crate) own: KeptPart<'a>,
    pub(crate) context: KeptPart<'a>,
    pub(crate) attended: KeptPart<'a>,
    pub(crate) middle: &'a mut [f32],
    pub(crate) hidden: KeptPart<'a>,
    pub(crate) norm1: &'a mut [Statistics],
    pub(crate) norm2: &'a mut [Statistics],
}

impl<'a> SavedPart<'a> {
    /// Cuts the first images off.
    pub(crate) fn take(&mut self, images: usize) -> SavedPart<'a> {
        let (sizes, rows) = (self.sizes, images * self.sizes.tokens);
        SavedPart {
            sizes,
            own: self.own.take(images),
            context: self.context.take(images),
            attended: self.attended.take(images),
            middle: cut(&mut self.middle, rows * sizes.dim),
            hidden: self.hidden.take(images),
            norm1: cut(&mut self.norm1, rows),
            norm2: cut(&mut self.norm2, rows),
        }
    }
}

/// As [`SavedPart`], being read.
pub(crate) struct SavedImages<'a> {
    pub(crate) own: KeptImages<'a>,
    pub(crate) context: KeptImages<'a>,
    pub(crate) attended: KeptImages<'a>,
    pub(crate) middle: &'a [f32],
    pub(crate) hidden: KeptImages<'a>,
    pub(crate) norm1: &'a [Statistics],
    pub(crate) norm2: &'a [Statistics],
}

impl Saved {
    /// For `images`, rounded by `bf16` where that is said above.
    pub(crate) fn take(sizes: Sizes, images: usize, bf16: Option<Bf16>) -> Self {
        let Sizes { tokens, context, dim, hidden } = sizes;
        let kept = |size| Kept::take(images, size, bf16);
        Self {
            sizes,
            own: kept(tokens * sizes.own()),
            context: kept(context * 2 * dim),
            attended: kept(tokens * dim),
            middle: Buffer::take(images * tokens * dim),
            hidden: kept(tokens * hidden),
            norm1: vec![[0.0; 2]; images * tokens],
            norm2: vec![[0.0; 2]; images * tokens],
        }
    }

    pub(crate) fn whole(&mut self) -> SavedPart<'_> {
        let Self { sizes, own, context, attended, middle, hidden, norm1, norm2 } = self;
        SavedPart {
            sizes: *sizes,
            own: own.whole(),
            context: context.whole(),
            attended: attended.whole(),
            middle,
            hidden: hidden.whole(),
            norm1,
            norm2,
        }
    }

    pub(crate) fn images(&self, images: Range<usize>) -> SavedImages<'_> {
        let rows = images.start * self.sizes.tokens..images.end * self.sizes.tokens;
        let dim = self.sizes.dim;
        SavedImages {
            own: self.own.images(images.clone()),
            context: self.context.images(images.clone()),
            attended: self.attended.images(images.clone()),
            middle: &self.middle[rows.start * dim..rows.end * dim],
            hidden: self.hidden.images(images),
            norm1: &self.norm1[rows.clone()],
            norm2: &self.norm2[rows],
        }
    }
}
