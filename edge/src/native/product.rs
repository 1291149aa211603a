//! The one operation that differs between machines: an exact product of 8-bit integers.

use super::layout::{MAX_K, STEP, TILE, padded_n};

/// C = A · Bᵀ of 8-bit integers, summed exactly in i32.
///
/// Element (n, k) of B lies at byte `n / 16 * b_tile + k / 4 * b_step + n % 16 * 4 + k % 4`: 64 bytes are 16 outputs
/// by 4 inputs. Columns past N in the last tile are computed, too.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[M, lda]`, row-major; the first `k` of each row are used. -128..=127.
    pub a: &'a [i8],
    /// No value of A is negative: some machines are faster then. The sums are wrong if one is.
    pub unsigned: bool,
    /// Values from a row of A to the next; at least `k`.
    pub lda: usize,
    /// Rows of A and C.
    pub m: usize,
    /// B in tiles. -127..=127, never -128: kernels add pairs of products in 16 bits.
    pub b: &'a [i8],
    /// Bytes from a tile of 16 outputs to the next.
    pub b_tile: usize,
    /// Bytes from a step of 4 inputs to the next; at least 64, and 64 when packed.
    pub b_step: usize,
    /// Outputs, columns of C.
    pub n: usize,
    /// Inputs; a multiple of 4, at least 4 and at most [`MAX_K`].
    pub k: usize,
    /// `[M, ldc]`; whole tiles of each row are written.
    pub c: &'a mut [i32],
    /// Values from a row of C to the next; at least `n` rounded up to 16.
    pub ldc: usize,
}

impl Product<'_> {
    /// Whether all lengths fit: then every index that the fields allow lies inside the slices. Kernels rely on it.
    #[must_use]
    pub fn check(&self) -> bool {
        // Index after the last that is used.
        let end =
            |rows: usize, stride: usize, last: usize| rows.checked_sub(1)?.checked_mul(stride)?.checked_add(last);
        let Some(columns) = self.n.checked_next_multiple_of(TILE) else { return false };
        let whole = self.k.is_multiple_of(STEP) && (STEP..=MAX_K).contains(&self.k);
        if !whole || self.b_step < TILE * STEP || self.lda < self.k || self.ldc < columns {
            return false;
        }
        if self.m == 0 || self.n == 0 {
            return true;
        }
        let fits = |end: Option<usize>, length: usize| end.is_some_and(|end| end <= length);
        let steps = end(self.k / STEP, self.b_step, TILE * STEP);
        fits(end(self.m, self.lda, self.k), self.a.len())
            && fits(steps.and_then(|last| end(columns / TILE, self.b_tile, last)), self.b.len())
            && fits(end(self.m, self.ldc, columns), self.c.len())
    }
}

/// The product in portable code. Returns whether [`Product::check`] holds; nothing is written if not.
#[inline(always)]
pub fn portable(product: Product<'_>) -> bool {
    if !product.check() {
        return false;
    }
    let Product { a, lda, m, b, b_tile, b_step, n, k, c, ldc, .. } = product;
    if m == 0 {
        // B may be empty then.
        return true;
    }
    for tile in 0..padded_n(n) / TILE {
        let b = &b[tile * b_tile..];
        for row in 0..m {
            let mut sums = [0_i32; TILE];
            for (step, a) in a[row * lda..row * lda + k].as_chunks::<STEP>().0.iter().enumerate() {
                let b = &b[step * b_step..][..TILE * STEP];
                for (sum, b) in sums.iter_mut().zip(b.as_chunks::<STEP>().0) {
                    for (a, b) in a.iter().zip(b) {
                        *sum += i32::from(*a) * i32::from(*b);
                    }
                }
            }
            c[row * ldc + tile * TILE..][..TILE].copy_from_slice(&sums);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::pack::{PACKED_STEP, pack, packed_len, packed_tile};
    use proptest::prelude::*;

    fn values(count: usize, seed: u64, least: i8) -> Vec<i8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as i8).max(least)
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn the_portable_product_is_the_plain_one(
            m in 0_usize..5, n in 1_usize..40, steps in 1_usize..20, spare in 0_usize..3, seed: u64,
        ) {
            let (k, lda) = (steps * STEP, steps * STEP + spare);
            let ldc = padded_n(n) + spare;
            let (a, b) = (values(m * lda, seed, -128), values(n * k, seed ^ 0x55, -127));
            let mut packed = vec![0; packed_len(n, k)];
            prop_assert!(pack(&b, n, k, &mut packed));
            let mut c = vec![7; m * ldc];
            let (b_tile, b_step) = (packed_tile(k), PACKED_STEP);
            let product =
                Product { a: &a, unsigned: false, lda, m, b: &packed, b_tile, b_step, n, k, c: &mut c, ldc };
            let done = portable(product);
            prop_assert!(done);
            for row in 0..m {
                for column in 0..n {
                    let product = |i| i32::from(a[row * lda + i]) * i32::from(b[column * k + i]);
                    prop_assert_eq!(c[row * ldc + column], (0..k).map(product).sum::<i32>());
                }
                prop_assert!(c[row * ldc + padded_n(n)..][..spare].iter().all(|value| *value == 7));
            }
        }

        /// A product whose check holds never panics, whatever the fields.
        #[test]
        fn what_the_check_accepts_stays_inside(
            (m, n, k) in (0_usize..4, 0_usize..36, 0_usize..14),
            (lda, ldc) in (0_usize..16, 0_usize..50),
            (b_tile, b_step) in (0_usize..900, 0_usize..150),
            (a, b, c) in (0_usize..50, 0_usize..1500, 0_usize..150),
        ) {
            let (a, b) = (vec![1; a], vec![1; b]);
            let mut c = vec![0; c];
            portable(Product { a: &a, unsigned: false, lda, m, b: &b, b_tile, b_step, n, k, c: &mut c, ldc });
        }
    }

    #[test]
    fn huge_strides_are_refused() {
        let (a, b, mut c) = ([0; 64], [0; 64], [0; 64]);
        for stride in [usize::MAX, usize::MAX / 2, 1 << (usize::BITS - 8)] {
            let mut product = Product {
                a: &a,
                unsigned: false,
                lda: 4,
                m: 3,
                b: &b,
                b_tile: 64,
                b_step: 64,
                n: 3,
                k: 4,
                c: &mut c,
                ldc: 16,
            };
            assert!(product.check());
            product.lda = stride;
            assert!(!product.check());
            (product.lda, product.ldc) = (4, stride);
            assert!(!product.check());
            (product.ldc, product.k, product.lda) = (16, stride - 3, stride);
            assert!(!product.check());
            (product.k, product.n) = (4, stride);
            assert!(!product.check());
            (product.n, product.b_tile) = (17, stride);
            assert!(!product.check());
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        let (a, b) = (vec![-128; MAX_K], vec![-127; TILE * MAX_K]);
        let mut c = [0; TILE];
        let (b_tile, b_step) = (packed_tile(MAX_K), PACKED_STEP);
        assert!(portable(Product {
            a: &a,
            unsigned: false,
            lda: MAX_K,
            m: 1,
            b: &b,
            b_tile,
            b_step,
            n: 1,
            k: MAX_K,
            c: &mut c,
            ldc: 16
        }));
        assert_eq!(c[0], 128 * 127 * MAX_K as i32);
    }
}
