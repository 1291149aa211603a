//! Matrices of 8-bit integers in tiles, as [`Product`](super::product::Product) reads them.

use super::layout::{STEP, TILE, padded_k, padded_n};

/// Bytes of a packed matrix of `n` output and `k` input channels.
#[must_use]
pub const fn packed_len(n: usize, k: usize) -> usize {
    padded_n(n) * padded_k(k)
}

/// Bytes from a tile to the next in a packed matrix of `k` input channels (`b_tile` of a product).
#[must_use]
pub const fn packed_tile(k: usize) -> usize {
    padded_k(k) * TILE
}

/// Bytes from a step to the next in a packed matrix (`b_step` of a product).
pub const PACKED_STEP: usize = TILE * STEP;

/// Where element (`n`, `k`) of a matrix of `inputs` input channels lies when packed.
#[must_use]
pub const fn packed_index(n: usize, k: usize, inputs: usize) -> usize {
    n / TILE * packed_tile(inputs) + k / STEP * PACKED_STEP + n % TILE * STEP + k % STEP
}

/// Packs `matrix` (`[N, K]`, row-major) into `out` (`[packed_len(n, k)]`); what pads is zero. Returns whether the
/// lengths are right; nothing is written if not.
#[must_use]
pub fn pack(matrix: &[i8], n: usize, k: usize, out: &mut [i8]) -> bool {
    if matrix.len() != n * k || out.len() != packed_len(n, k) {
        return false;
    }
    out.fill(0);
    for (n, row) in matrix.chunks_exact(k.max(1)).enumerate() {
        for (index, value) in row.iter().enumerate() {
            out[packed_index(n, index, k)] = *value;
        }
    }
    true
}
