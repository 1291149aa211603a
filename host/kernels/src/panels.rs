//! The right side of a product, packed.

use crate::{
    engine::{Bf16, Engine},
    pairs::{pairs, pairs_of_matrix, pairs_of_rows},
    pool::Buffer,
};
use pulp::{Simd, WithSimd, bytemuck};

/// Vectors side by side in a tile.
pub(crate) const VECTORS: usize = 3;

/// `B[K, N]` in panels: the columns of one panel of a row `k` lie side by side, then those of row `k + 1`; for
/// products in bf16 the pairs of two rows, then those of the next two.
#[derive(Debug)]
pub struct Panels {
    pub(crate) data: Buffer,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    /// Columns of a panel.
    pub(crate) width: usize,
    /// By which instructions it is rounded, if it is.
    pub(crate) bf16: Option<Bf16>,
}

/// The most columns of a panel: what a tile is wide on this machine.
pub(crate) struct Width;
impl WithSimd for Width {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        VECTORS * S::F32_LANES
    }
}

impl Panels {
    fn new(engine: Engine, depth: usize, columns: usize) -> Self {
        let (most, bf16) = (engine.arch().dispatch(Width), engine.products());
        // One panel that is narrower than a tile has the vectors that it needs.
        let lanes = most / VECTORS;
        let width = most.min(columns.div_ceil(lanes).max(1) * lanes);
        let lines = if bf16.is_some() { pairs(depth) } else { depth };
        Self { data: Buffer::take(columns.div_ceil(width) * width * lines), depth, columns, width, bf16 }
    }

    /// The lines of a panel in bf16, each of as many pairs as the panel is wide.
    pub(crate) fn pairs_of_panel(&self, panel: usize) -> &[u32] {
        let size = pairs(self.depth) * self.width;
        bytemuck::cast_slice(&self.data[panel * size..][..size])
    }

    /// Packs `B[k][n] = data[k * stride + n]`.
    ///
    /// # Panics
    /// If `data` is too short.
    #[must_use]
    pub fn pack(engine: impl Into<Engine>, data: &[f32], stride: usize, depth: usize, columns: usize) -> Self {
        let mut panels = Self::new(engine.into(), depth, columns);
        let width = panels.width;
        if let Some(bf16) = panels.bf16 {
            let size = (pairs(depth) * width).max(1);
            for (panel, first) in panels.data.chunks_exact_mut(size).zip((0..columns).step_by(width)) {
                let filled = width.min(columns - first);
                let lines = bytemuck::cast_slice_mut::<f32, u32>(panel).chunks_exact_mut(width);
                for (pair, line) in lines.enumerate() {
                    let row = |k: usize| &data[k * stride + first..][..filled];
                    let high = (2 * pair + 1 < depth).then(|| row(2 * pair + 1));
                    pairs_of_rows(bf16, row(2 * pair), high, &mut line[..filled]);
                    line[filled..].fill(0);
                }
            }
            return panels;
        }
        for (panel, first) in panels.data.chunks_exact_mut((depth * width).max(1)).zip((0..columns).step_by(width)) {
            let filled = width.min(columns - first);
            for (k, row) in panel.chunks_exact_mut(width).enumerate() {
                row[..filled].copy_from_slice(&data[k * stride + first..][..filled]);
                row[filled..].fill(0.0);
            }
        }
        panels
    }

    /// Packs the transpose of a matrix stored by rows: `B[k][n] = data[n * stride + k]`.
    ///
    /// # Panics
    /// If `data` is too short.
    #[must_use]
    pub fn pack_transposed(
        engine: impl Into<Engine>,
        data: &[f32],
        stride: usize,
        depth: usize,
        columns: usize,
    ) -> Self {
        let mut panels = Self::new(engine.into(), depth, columns);
        let width = panels.width;
        if let Some(bf16) = panels.bf16 {
            // Pairs are neighbours in a row, so these are transposed as numbers are.
            let lines = pairs(depth);
            let mut rounded = Buffer::take(columns * lines);
            pairs_of_matrix(bf16, data, stride, depth, bytemuck::cast_slice_mut(&mut rounded));
            transpose(&mut panels.data, width, lines, columns, &rounded, lines);
        } else {
            transpose(&mut panels.data, width, depth, columns, data, stride);
        }
        panels
    }
}

/// Writes `columns` rows of `depth` numbers, which begin `stride` apart, as the columns of panels of `width`.
fn transpose(to: &mut [f32], width: usize, depth: usize, columns: usize, data: &[f32], stride: usize) {
    let row = |n: usize| &data[n * stride..][..depth];
    for (panel, first) in to.chunks_exact_mut((depth * width).max(1)).zip((0..columns).step_by(width)) {
        let filled = width.min(columns - first);
        if filled < width {
            panel.fill(0.0);
        }
        // Eight rows at a time, so that a line of the panel is written whole while it is near.
        for base in (0..filled).step_by(8) {
            let rows = base..filled.min(base + 8);
            if rows.len() == 8 {
                let row = |i: usize| row(first + base + i);
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (e, f, g, h) = (row(4), row(5), row(6), row(7));
                for (k, line) in panel.chunks_exact_mut(width).enumerate() {
                    let values = [a[k], b[k], c[k], d[k], e[k], f[k], g[k], h[k]];
                    line[base..base + 8].copy_from_slice(&values);
                }
            } else {
                for n in rows {
                    for (line, value) in panel.chunks_exact_mut(width).zip(row(first + n)) {
                        line[n] = *value;
                    }
                }
            }
        }
    }
}
