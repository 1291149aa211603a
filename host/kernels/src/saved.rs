//! What a block keeps of its forward pass for the backward pass.

use crate::{norm::Statistics, pool::Buffer};
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

    /// Elements of the five buffers for some images, in the order of the fields, and rows.
    fn lens(self, images: usize) -> ([usize; 5], usize) {
        let (Self { context, dim, hidden, .. }, rows) = (self, images * self.tokens);
        ([rows * self.own(), images * context * 2 * dim, rows * dim, rows * dim, rows * hidden], rows)
    }
}

/// What the backward pass needs of the forward pass, beside its input.
#[derive(Debug)]
pub struct Saved {
    /// Queries, keys, values, `[B N, 3D]`; with a context queries alone, `[B N, D]`.
    pub(crate) own: Buffer,
    /// Keys and values of the context, `[B C, 2D]`.
    pub(crate) context: Buffer,
    /// Output of attention before its projection, `[B N, D]`.
    pub(crate) attended: Buffer,
    /// After the first residual, `[B N, D]`.
    pub(crate) middle: Buffer,
    /// Before the GELU, `[B N, F]`.
    pub(crate) hidden: Buffer,
    /// Of the norm before attention, `[B N]`.
    pub(crate) norm1: Vec<Statistics>,
    /// Of the norm before the MLP, `[B N]`.
    pub(crate) norm2: Vec<Statistics>,
}

/// The part of [`Saved`] that belongs to some images, being written.
pub(crate) struct SavedPart<'a> {
    pub(crate) own: &'a mut [f32],
    pub(crate) context: &'a mut [f32],
    pub(crate) attended: &'a mut [f32],
    pub(crate) middle: &'a mut [f32],
    pub(crate) hidden: &'a mut [f32],
    pub(crate) norm1: &'a mut [Statistics],
    pub(crate) norm2: &'a mut [Statistics],
}

impl<'a> SavedPart<'a> {
    /// Cuts the first images off.
    pub(crate) fn take(&mut self, sizes: Sizes, images: usize) -> SavedPart<'a> {
        let ([own, context, attended, middle, hidden], rows) = sizes.lens(images);
        SavedPart {
            own: cut(&mut self.own, own),
            context: cut(&mut self.context, context),
            attended: cut(&mut self.attended, attended),
            middle: cut(&mut self.middle, middle),
            hidden: cut(&mut self.hidden, hidden),
            norm1: cut(&mut self.norm1, rows),
            norm2: cut(&mut self.norm2, rows),
        }
    }
}

/// As [`SavedPart`], being read.
pub(crate) struct SavedImages<'a> {
    pub(crate) own: &'a [f32],
    pub(crate) context: &'a [f32],
    pub(crate) attended: &'a [f32],
    pub(crate) middle: &'a [f32],
    pub(crate) hidden: &'a [f32],
    pub(crate) norm1: &'a [Statistics],
    pub(crate) norm2: &'a [Statistics],
}

impl Saved {
    pub(crate) fn take(sizes: Sizes, images: usize) -> Self {
        let ([own, context, attended, middle, hidden], rows) = sizes.lens(images);
        Self {
            own: Buffer::take(own),
            context: Buffer::take(context),
            attended: Buffer::take(attended),
            middle: Buffer::take(middle),
            hidden: Buffer::take(hidden),
            norm1: vec![[0.0; 2]; rows],
            norm2: vec![[0.0; 2]; rows],
        }
    }

    pub(crate) fn whole(&mut self) -> SavedPart<'_> {
        let Self { own, context, attended, middle, hidden, norm1, norm2 } = self;
        SavedPart { own, context, attended, middle, hidden, norm1, norm2 }
    }

    pub(crate) fn images(&self, sizes: Sizes, images: Range<usize>) -> SavedImages<'_> {
        let ((starts, first), (ends, end)) = (sizes.lens(images.start), sizes.lens(images.end));
        let [own, context, attended, middle, hidden] = std::array::from_fn(|i| starts[i]..ends[i]);
        SavedImages {
            own: &self.own[own],
            context: &self.context[context],
            attended: &self.attended[attended],
            middle: &self.middle[middle],
            hidden: &self.hidden[hidden],
            norm1: &self.norm1[first..end],
            norm2: &self.norm2[first..end],
        }
    }
}

/// Cuts the first `count` elements off.
pub(crate) fn cut<'a, T>(data: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (part, rest) = std::mem::take(data).split_at_mut(count);
    *data = rest;
    part
}
