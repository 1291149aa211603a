//! The tokens of an image that one thread works on, with the memory that belongs to them.

use super::{
    layout::TILE,
    workspace::{Line, Plan, Shape, take},
};

/// Keys and values of all tokens, laid out as right sides of products.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeysValues<'w> {
    /// `[T / 16][H * slot / 4][16][4]`: outputs are tokens, inputs a head's channels.
    pub(super) keys: &'w [i8],
    /// `[T / 4][H * slot][4]`: outputs are a head's channels, inputs tokens.
    pub(super) values: &'w [i8],
    /// `[T / 16][H][16]`: the scale of each key.
    pub(super) key_scales: &'w [f32],
    /// `[T / 16][H][16]`: the scale of each value.
    pub(super) value_scales: &'w [f32],
}

/// Where keys and values are written; the fields of [`KeysValues`].
#[derive(Debug, Default)]
pub(super) struct KeysValuesMut<'w> {
    pub(super) keys: &'w mut [i8],
    pub(super) values: &'w mut [i8],
    pub(super) key_scales: &'w mut [f32],
    pub(super) value_scales: &'w mut [f32],
}

impl<'w> KeysValuesMut<'w> {
    pub(super) fn new(plan: &Plan, shape: &Shape, lines: &mut &'w mut [Line]) -> Self {
        let scales = plan.tokens * shape.heads;
        Self {
            keys: take(lines, scales * plan.key_slot),
            values: take(lines, scales * plan.value_slot),
            key_scales: take(lines, scales),
            value_scales: take(lines, scales),
        }
    }

    pub(super) fn view(&self) -> KeysValues<'_> {
        KeysValues {
            keys: self.keys,
            values: self.values,
            key_scales: self.key_scales,
            value_scales: self.value_scales,
        }
    }

    pub(super) fn reborrow(&mut self) -> KeysValuesMut<'_> {
        KeysValuesMut {
            keys: self.keys,
            values: self.values,
            key_scales: self.key_scales,
            value_scales: self.value_scales,
        }
    }
}

/// A range of tokens, beginning at a multiple of 16, with all that belongs to them alone.
#[derive(Debug)]
pub(super) struct TokenRange<'w> {
    /// The first token.
    pub(super) first: usize,
    /// Tokens.
    pub(super) count: usize,
    /// The residual stream, `[count, D]`.
    pub(super) x: &'w mut [f32],
    /// `[count, H * slot]`.
    pub(super) queries: &'w mut [i8],
    /// `[count / 16][H][16]`: the scale of each query.
    pub(super) query_scales: &'w mut [f32],
    /// Where keys and values go; empty where none are written.
    pub(super) next: KeysValuesMut<'w>,
    /// Scratch of as many threads as will share the range.
    pub(super) scratch: &'w mut [Line],
}

impl<'w> TokenRange<'w> {
    pub(super) fn reborrow(&mut self) -> TokenRange<'_> {
        TokenRange {
            first: self.first,
            count: self.count,
            x: self.x,
            queries: self.queries,
            query_scales: self.query_scales,
            next: self.next.reborrow(),
            scratch: self.scratch,
        }
    }

    /// Cuts after `tiles` times 16 tokens; the second range gets the scratch from line `scratch` on.
    #[cfg(feature = "std")]
    pub(super) fn split(self, plan: &Plan, shape: &Shape, tiles: usize, scratch: usize) -> (Self, Self) {
        let tokens = (tiles * TILE).min(self.count);
        let rows = tokens * shape.heads;
        let (x, x_rest) = cut(self.x, tokens * shape.dim);
        let (queries, queries_rest) = cut(self.queries, rows * plan.key_slot);
        let (query_scales, query_scales_rest) = cut(self.query_scales, rows);
        let (keys, keys_rest) = cut(self.next.keys, rows * plan.key_slot);
        let (values, values_rest) = cut(self.next.values, rows * plan.value_slot);
        let (key_scales, key_scales_rest) = cut(self.next.key_scales, rows);
        let (value_scales, value_scales_rest) = cut(self.next.value_scales, rows);
        let (own, others) = cut(self.scratch, scratch);
        let first = TokenRange {
            first: self.first,
            count: tokens,
            x,
            queries,
            query_scales,
            next: KeysValuesMut { keys, values, key_scales, value_scales },
            scratch: own,
        };
        let second = TokenRange {
            first: self.first + tokens,
            count: self.count - tokens,
            x: x_rest,
            queries: queries_rest,
            query_scales: query_scales_rest,
            next: KeysValuesMut {
                keys: keys_rest,
                values: values_rest,
                key_scales: key_scales_rest,
                value_scales: value_scales_rest,
            },
            scratch: others,
        };
        (first, second)
    }

    /// Tiles of 16 tokens, the last perhaps not full.
    #[cfg(feature = "std")]
    pub(super) fn tiles(&self) -> usize {
        self.count.div_ceil(TILE)
    }
}

/// Cuts where asked, or at the end if that comes before.
#[cfg(feature = "std")]
fn cut<T>(slice: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    let at = at.min(slice.len());
    slice.split_at_mut(at)
}

/// Where the scales of token `token` (counted from the range's first) begin in `[T / 16][H][16]`.
pub(super) const fn scales_at(token: usize, heads: usize) -> usize {
    token / TILE * heads * TILE + token % TILE
}
