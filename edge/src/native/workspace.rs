//! The memory that an encoder works in: its size, and its parts.

use super::{
    error::NativeError,
    layout::{MAX_K, TILE, padded_k, padded_n},
    softmax::HeadScales,
};
use common::model::{EncoderSpec, SpecError};

/// A cache line, the unit of a workspace.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Line([u8; 64]);

#[allow(unsafe_code)]
mod plain {
    // SAFETY: zeros are a valid array of bytes.
    unsafe impl bytemuck::Zeroable for super::Line {}
    // SAFETY: 64 bytes at an alignment of 64: no padding, and every value is valid.
    unsafe impl bytemuck::Pod for super::Line {}
}

impl Line {
    /// A line of zeros.
    pub const ZERO: Self = Self([0; 64]);
}

/// Rows of queries that are attended together.
pub(super) const ATTENTION_ROWS: usize = 24;
/// Outputs of the first layer of the MLP that are computed together; whole tiles.
pub(super) const PANEL: usize = 192;

/// The numbers of an encoder on which its memory depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Width of a token (D).
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP.
    pub mlp_dim: usize,
    /// Values of a patch.
    pub patch_dim: usize,
    /// Patches of an image.
    pub patches: usize,
}

/// Lengths of the parts of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Tokens, rounded up to whole tiles.
    pub(super) tokens: usize,
    /// Bytes of a head in a row of queries or keys.
    pub(super) key_slot: usize,
    /// Bytes of a head in a row of values.
    pub(super) value_slot: usize,
    /// Rows that are worked on together, a multiple of 4.
    pub(super) rows: usize,
    /// Rows of queries that are attended together.
    pub(super) attention_rows: usize,
    /// i8 values of the activations of a block of rows.
    pub(super) quantized: usize,
    /// i32 sums.
    pub(super) sums: usize,
    /// i8 digits of attention weights.
    pub(super) digits: usize,
    /// f32 values of a block of rows.
    pub(super) wide: usize,
}

/// Lines that hold so many bytes.
const fn lines(bytes: usize) -> usize {
    bytes.div_ceil(64)
}

const fn greater(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl Shape {
    /// The shape of an encoder.
    ///
    /// # Errors
    /// If its image cannot be cut into patches.
    pub fn of(spec: &EncoderSpec) -> Result<Self, NativeError> {
        let grid = spec.grid().map_err(SpecError::from)?;
        Ok(Self {
            dim: spec.dim as usize,
            heads: spec.heads as usize,
            mlp_dim: spec.mlp_dim(),
            patch_dim: grid.patch_dim(),
            patches: grid.patches(),
        })
    }

    /// Lines of a workspace for up to `max_visible` patches, worked on in blocks of `rows` tokens (rounded up to a
    /// multiple of 4; 48 is fast on large machines, 4 takes the least memory) by `threads` threads.
    #[must_use]
    pub const fn workspace(&self, max_visible: usize, rows: usize, threads: usize) -> usize {
        let plan = self.plan(max_visible, rows);
        let copies = if threads > 1 { 2 } else { 1 };
        plan.shared(self) + copies * plan.keys_and_values(self) + greater(threads, 1) * plan.scratch()
    }

    pub(super) const fn plan(&self, max_visible: usize, rows: usize) -> Plan {
        let tokens = (max_visible + 1).next_multiple_of(TILE);
        let most = greater(rows, 4).next_multiple_of(4);
        let rows = if most < tokens { most } else { tokens };
        let head = self.dim / greater(self.heads, 1);
        let (key_slot, value_slot) = (padded_k(head), padded_n(head));
        let attention_rows = if rows < ATTENTION_ROWS { rows } else { ATTENTION_ROWS };
        // Four tokens' keys and values lie here, too, before they are put in their places.
        let heads = 4 * self.heads * (key_slot + value_slot);
        let widest = greater(padded_k(self.dim), greater(padded_k(self.mlp_dim), padded_k(self.patch_dim)));
        let panel = greater(padded_n(3 * self.dim), PANEL);
        let attention = attention_rows * tokens + 2 * attention_rows * value_slot;
        Plan {
            tokens,
            key_slot,
            value_slot,
            rows,
            attention_rows,
            quantized: greater(rows * widest, heads),
            sums: greater(rows * panel, attention),
            digits: 2 * attention_rows * tokens,
            wide: greater(rows * greater(self.mlp_dim, self.dim), self.patch_dim),
        }
    }

    /// The plan with the most rows, at most `rows`, that fits into `available` lines.
    pub(super) fn fitting(
        &self,
        max_visible: usize,
        rows: usize,
        threads: usize,
        available: usize,
    ) -> Result<Plan, NativeError> {
        if max_visible == 0 || max_visible > self.patches {
            return Err(NativeError::Visible { found: max_visible, most: self.patches });
        }
        if max_visible + 1 > MAX_K {
            return Err(NativeError::TooLarge("more than 131071 patches are visible"));
        }
        // Everything else is bounded by the widths, which are at most `MAX_K` each.
        let most = greater(4 * self.dim, self.heads.saturating_mul(padded_n(self.dim / greater(self.heads, 1))));
        let tokens = max_visible.saturating_add(TILE);
        if tokens.checked_mul(most).is_none_or(|bytes| bytes > usize::MAX / 16) {
            return Err(NativeError::TooLarge("its activations would not fit into this machine's memory"));
        }
        let mut rows = rows.clamp(4, (max_visible + 1).next_multiple_of(TILE)).next_multiple_of(4);
        while rows > 4 && self.workspace(max_visible, rows, threads) > available {
            rows -= 4;
        }
        let expected = self.workspace(max_visible, rows, threads);
        if expected > available {
            return Err(NativeError::Length {
                what: "the workspace, in lines of 64 bytes,",
                expected,
                found: available,
            });
        }
        Ok(self.plan(max_visible, rows))
    }
}

impl Plan {
    /// Lines of the residual stream, the queries with their scales, and the mean.
    const fn shared(&self, shape: &Shape) -> usize {
        lines(4 * self.tokens * shape.dim)
            + lines(self.tokens * shape.heads * self.key_slot)
            + lines(4 * self.tokens * shape.heads)
            + lines(4 * shape.dim)
    }

    /// Lines of one set of keys and values with their scales.
    pub(super) const fn keys_and_values(&self, shape: &Shape) -> usize {
        lines(self.tokens * shape.heads * self.key_slot)
            + lines(self.tokens * shape.heads * self.value_slot)
            + 2 * lines(4 * self.tokens * shape.heads)
    }

    /// Lines of one thread's scratch.
    pub(super) const fn scratch(&self) -> usize {
        lines(self.quantized)
            + lines(4 * self.sums)
            + lines(self.digits)
            + lines(4 * self.wide)
            + 2 * lines(4 * self.rows)
            + lines(4 * HeadScales::room(self.tokens))
    }
}

/// One thread's scratch.
pub(super) struct Scratch<'w> {
    pub(super) quantized: &'w mut [i8],
    pub(super) sums: &'w mut [i32],
    pub(super) digits: &'w mut [i8],
    pub(super) wide: &'w mut [f32],
    /// Of the rows' activations.
    pub(super) scales: &'w mut [f32],
    /// The greatest magnitudes of the rows.
    pub(super) peaks: &'w mut [f32],
    /// What a head's scores and weights are scaled by.
    pub(super) head_scales: &'w mut [f32],
}

impl<'w> Scratch<'w> {
    pub(super) fn new(plan: &Plan, mut lines: &'w mut [Line]) -> Self {
        Self {
            quantized: take(&mut lines, plan.quantized),
            sums: take(&mut lines, plan.sums),
            digits: take(&mut lines, plan.digits),
            wide: take(&mut lines, plan.wide),
            scales: take(&mut lines, plan.rows),
            peaks: take(&mut lines, plan.rows),
            head_scales: take(&mut lines, HeadScales::room(plan.tokens)),
        }
    }
}

/// Takes `count` values from the front, in whole lines. Fewer if there are fewer: sizes are checked when an encoder
/// is made.
pub(super) fn take<'w, T: bytemuck::Pod>(from: &mut &'w mut [Line], count: usize) -> &'w mut [T] {
    let all = core::mem::take(from);
    let (own, rest) = all.split_at_mut(lines(count * size_of::<T>()).min(all.len()));
    *from = rest;
    let values = bytemuck::cast_slice_mut(own);
    let count = count.min(values.len());
    &mut values[..count]
}
