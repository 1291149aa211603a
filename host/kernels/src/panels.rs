//! The right side of a product, packed.

use crate::pool::Buffer;
use pulp::{Arch, Simd, WithSimd};

/// Vectors side by side in a tile.
pub(crate) const VECTORS: usize = 3;

/// `B[K, N]` in panels: the columns of one panel of a row `k` lie side by side, then those of row `k + 1`.
#[derive(Debug)]
pub struct Panels {
    pub(crate) data: Buffer,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    /// Columns of a panel.
    pub(crate) width: usize,
}

/// Columns of a panel: what a tile is wide on this machine.
pub(crate) struct Width;
impl WithSimd for Width {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        VECTORS * S::F32_LANES
    }
}

impl Panels {
    fn new(arch: Arch, depth: usize, columns: usize) -> Self {
        let width = arch.dispatch(Width);
        Self { data: Buffer::take(columns.div_ceil(width) * width * depth), depth, columns, width }
    }

    /// Packs `B[k][n] = data[k * stride + n]`.
    ///
    /// # Panics
    /// If `data` is too short.
    #[must_use]
    pub fn pack(arch: Arch, data: &[f32], stride: usize, depth: usize, columns: usize) -> Self {
        let mut panels = Self::new(arch, depth, columns);
        let width = panels.width;
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
    pub fn pack_transposed(arch: Arch, data: &[f32], stride: usize, depth: usize, columns: usize) -> Self {
        let mut panels = Self::new(arch, depth, columns);
        let width = panels.width;
        for (panel, first) in panels.data.chunks_exact_mut((depth * width).max(1)).zip((0..columns).step_by(width)) {
            let filled = width.min(columns - first);
            if filled < width {
                panel.fill(0.0);
            }
            // Eight rows at a time, so that a line of the panel is written whole while it is near.
            for base in (0..filled).step_by(8) {
                let rows = base..filled.min(base + 8);
                if rows.len() == 8 {
                    let row = |i: usize| &data[(first + base + i) * stride..][..depth];
                    let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                    let (e, f, g, h) = (row(4), row(5), row(6), row(7));
                    for (k, line) in panel.chunks_exact_mut(width).enumerate() {
                        let values = [a[k], b[k], c[k], d[k], e[k], f[k], g[k], h[k]];
                        line[base..base + 8].copy_from_slice(&values);
                    }
                } else {
                    for n in rows {
                        let row = &data[(first + n) * stride..][..depth];
                        for (line, value) in panel.chunks_exact_mut(width).zip(row) {
                            line[n] = *value;
                        }
                    }
                }
            }
        }
        panels
    }
}
