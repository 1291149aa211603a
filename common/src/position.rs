//! The fixed 2-D sine-cosine position table (MAE appendix A.1, after "Attention Is All You Need" §3.5).
//!
//! The first half of each row encodes the patch's **column**, the second its row; each half is sines, then
//! cosines, of `position * 10000^(-i / (D/4))`, computed in f64.

use crate::patch::PatchGrid;

/// Writes the position of patch `index` into `out` (`[D]`, D a multiple of 4; a rest stays untouched).
pub fn sincos_2d(grid: &PatchGrid, index: usize, out: &mut [f32]) {
    let quarter = out.len() / 4;
    let (row, col) = (index / grid.cols(), index % grid.cols());
    for (half, position) in out.chunks_exact_mut((2 * quarter).max(1)).zip([col, row]) {
        for i in 0..quarter {
            let omega = 1.0 / libm::pow(10000.0, i as f64 / quarter as f64);
            let angle = position as f64 * omega;
            half[i] = libm::sin(angle) as f32;
            half[quarter + i] = libm::cos(angle) as f32;
        }
    }
}

/// The table of a whole grid, `[1 + L, D]` with a leading zero row for the class token, or `[L, D]` without.
#[cfg(feature = "alloc")]
#[must_use]
pub fn sincos_2d_table(grid: &PatchGrid, dim: usize, cls_token: bool) -> alloc::vec::Vec<f32> {
    let first = usize::from(cls_token);
    let mut table = alloc::vec![0.0; (first + grid.patches()) * dim];
    for (index, row) in table[first * dim..].chunks_exact_mut(dim.max(1)).enumerate() {
        sincos_2d(grid, index, row);
    }
    table
}
