//! The way over a product in blocks of rows by one tile of 16 outputs, for the ARM kernels.

use crate::native::{
    layout::{STEP, TILE},
    product::Product,
};

/// What a block is computed from: its first row of A, its tile of B, its place in C, and the strides.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The first row's values.
    pub a: *const i8,
    /// Values from a row to the next.
    pub lda: usize,
    /// The tile's first step.
    pub b: *const i8,
    /// Bytes from a step to the next.
    pub b_step: usize,
    /// Steps of 4 inputs, at least 1.
    pub steps: usize,
    /// The block's first sum.
    pub c: *mut i32,
    /// Sums from a row to the next.
    pub ldc: usize,
}

/// Computes a block of a number of rows by one tile.
///
/// # Safety
/// The place lies inside a checked product, with that number of rows after it; the processor has what the block needs.
pub type Block = unsafe fn(Place);

/// Checks the product, then computes it: `blocks[r - 1]` does r rows. Returns whether the check holds.
///
/// # Safety
/// The processor has what the blocks need.
#[inline]
pub unsafe fn in_blocks(product: Product<'_>, blocks: &[Block]) -> bool {
    if !product.check() {
        return false;
    }
    let Product { a, lda, m, b, b_tile, b_step, n, k, c, ldc } = product;
    for tile in 0..n.div_ceil(TILE) {
        let mut row = 0;
        while row < m {
            let rows = share(m - row, blocks.len());
            // SAFETY: the rows and the tile lie inside the product, whose lengths were checked.
            unsafe {
                blocks[rows - 1](Place {
                    a: a.as_ptr().add(row * lda),
                    lda,
                    b: b.as_ptr().add(tile * b_tile),
                    b_step,
                    steps: k / STEP,
                    c: c.as_mut_ptr().add(row * ldc + tile * TILE),
                    ldc,
                });
            }
            row += rows;
        }
    }
    true
}

/// How many rows to take of what is left, at most `most`: a block of one row, which loads as much of B as a full one,
/// follows no full one.
const fn share(left: usize, most: usize) -> usize {
    if left > most && left < 2 * most {
        left.div_ceil(2)
    } else if left < most {
        left
    } else {
        most
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn rows_are_shared_out_evenly_and_whole() {
        for most in 1..9 {
            for rows in 1..60 {
                let (mut left, mut least) = (rows, most);
                while left > 0 {
                    let taken = share(left, most);
                    assert!((1..=most).contains(&taken));
                    least = least.min(taken);
                    left -= taken;
                }
                assert!(rows < most || least >= most / 2, "{rows} rows by {most}: a block of {least}");
            }
        }
    }
}
