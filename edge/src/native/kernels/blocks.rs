//! The way over a product in blocks of rows by one tile of 16 outputs, for the ARM kernels.
//!
//! Whole blocks below each other are computed in one call: at the widths of small encoders the way in and out would
//! be a twentieth of the instructions.

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

#[cfg(target_arch = "arm")]
impl Place {
    /// The place so many rows below.
    pub fn below(self, rows: usize) -> Self {
        Self { a: self.a.wrapping_add(rows * self.lda), c: self.c.wrapping_add(rows * self.ldc), ..self }
    }
}

/// Computes so many blocks, one below the other, each of a number of rows by one tile.
///
/// # Safety
/// The place lies inside a checked product, with the blocks' rows after it, at least one block; the processor has
/// what they need.
pub type Blocks = unsafe fn(Place, usize);

/// Checks the product, then computes it: `blocks[r - 1]` does blocks of r rows. Returns whether the check holds.
///
/// # Safety
/// The processor has what the blocks need.
#[inline]
pub unsafe fn in_blocks(product: Product<'_>, blocks: &[Blocks]) -> bool {
    if !product.check() {
        return false;
    }
    let Product { a, lda, m, b, b_tile, b_step, n, k, c, ldc, .. } = product;
    let whole = whole_blocks(m, blocks.len());
    for tile in 0..n.div_ceil(TILE) {
        let mut row = 0;
        while row < m {
            let (count, rows) = if row < whole {
                (whole / blocks.len(), blocks.len())
            } else {
                (1, (m - row).div_ceil(if m - row > blocks.len() { 2 } else { 1 }))
            };
            // SAFETY: the rows and the tile lie inside the product, whose lengths were checked.
            unsafe {
                let place = Place {
                    a: a.as_ptr().add(row * lda),
                    lda,
                    b: b.as_ptr().add(tile * b_tile),
                    b_step,
                    steps: k / STEP,
                    c: c.as_mut_ptr().add(row * ldc + tile * TILE),
                    ldc,
                };
                blocks[rows - 1](place, count);
            }
            row += count * rows;
        }
    }
    true
}

/// Rows in whole blocks of `most`. What is left over is less than one block, or one row more, which then makes two
/// blocks: a block of a single row loads as much of B as a whole one.
const fn whole_blocks(rows: usize, most: usize) -> usize {
    let left = rows % most;
    if most > 2 && left == 1 && rows > most { rows - left - most } else { rows - left }
}

#[cfg(test)]
mod tests {
    use super::whole_blocks;

    #[test]
    fn one_row_is_left_over_only_where_it_must_be() {
        for most in 1..9 {
            for rows in 0..60 {
                let whole = whole_blocks(rows, most);
                assert!(whole.is_multiple_of(most) && whole <= rows);
                let left = rows - whole;
                assert!(left <= most + 1 && (left <= most || left >= 4), "{rows} rows by {most}: {left} left");
                assert!(left != 1 || most == 2 || rows == 1, "{rows} rows by {most}");
            }
        }
    }
}
