//! What a block keeps of its forward pass for the backward pass.

use crate::{norm::Statistics, pool::Buffer};
use std::ops::Range;

/// The widths on which the size of what is kept depends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    /// Of a token (`D`).
    pub(crate) dim: usize,
    /// Of the MLP's hidden layer (`F`).
    pub(crate) hidden: usize,
}

/// What the backward pass needs of the forward pass, beside its input.
#[derive(Debug)]
pub struct Saved {
    /// Queries, keys, values, `[B N, 3D]`.
    pub(crate) qkv: Buffer,
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

/// The part of [`Saved`] that belongs to some rows, being written.
pub(crate) struct SavedPart<'a> {
    pub(crate) qkv: &'a mut [f32],
    pub(crate) attended: &'a mut [f32],
    pub(crate) middle: &'a mut [f32],
    pub(crate) hidden: &'a mut [f32],
    pub(crate) norm1: &'a mut [Statistics],
    pub(crate) norm2: &'a mut [Statistics],
}

impl<'a> SavedPart<'a> {
    /// Cuts the first `rows` rows off.
    pub(crate) fn take(&mut self, widths: Widths, rows: usize) -> SavedPart<'a> {
        let Widths { dim: d, hidden: f } = widths;
        SavedPart {
            qkv: cut(&mut self.qkv, rows * 3 * d),
            attended: cut(&mut self.attended, rows * d),
            middle: cut(&mut self.middle, rows * d),
            hidden: cut(&mut self.hidden, rows * f),
            norm1: cut(&mut self.norm1, rows),
            norm2: cut(&mut self.norm2, rows),
        }
    }
}

/// As [`SavedPart`], being read.
pub(crate) struct SavedRows<'a> {
    pub(crate) qkv: &'a [f32],
    pub(crate) middle: &'a [f32],
    pub(crate) attended: &'a [f32],
    pub(crate) hidden: &'a [f32],
    pub(crate) norm1: &'a [Statistics],
    pub(crate) norm2: &'a [Statistics],
}

impl Saved {
    pub(crate) fn take(widths: Widths, rows: usize) -> Self {
        let Widths { dim: d, hidden: f } = widths;
        Self {
            qkv: Buffer::take(rows * 3 * d),
            attended: Buffer::take(rows * d),
            middle: Buffer::take(rows * d),
            hidden: Buffer::take(rows * f),
            norm1: vec![[0.0; 2]; rows],
            norm2: vec![[0.0; 2]; rows],
        }
    }

    pub(crate) fn whole(&mut self) -> SavedPart<'_> {
        let Self { qkv, attended, middle, hidden, norm1, norm2 } = self;
        SavedPart { qkv, attended, middle, hidden, norm1, norm2 }
    }

    pub(crate) fn rows(&self, widths: Widths, rows: Range<usize>) -> SavedRows<'_> {
        let (Widths { dim: d, hidden: f }, Range { start, end }) = (widths, rows);
        SavedRows {
            qkv: &self.qkv[start * 3 * d..end * 3 * d],
            attended: &self.attended[start * d..end * d],
            middle: &self.middle[start * d..end * d],
            hidden: &self.hidden[start * f..end * f],
            norm1: &self.norm1[start..end],
            norm2: &self.norm2[start..end],
        }
    }
}

/// Cuts the first `count` elements off.
pub(crate) fn cut<'a, T>(data: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (part, rest) = std::mem::take(data).split_at_mut(count);
    *data = rest;
    part
}
