//! Element-wise helpers on slices.

use pulp::{Arch, Simd, WithSimd};

/// Element-wise functions, for the tests of [`crate::math`].
#[cfg(test)]
pub mod map {
    use super::*;

    /// A function of one number, written for vectors.
    pub trait Function {
        /// Its value in every lane.
        fn at<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s;
    }

    struct InPlace<'a, F>(&'a mut [f32], &'a F);

    impl<F: Function> WithSimd for InPlace<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (head, tail) = S::as_mut_simd_f32s(self.0);
            for x in head {
                *x = self.1.at(simd, *x);
            }
            if !tail.is_empty() {
                let x = simd.partial_load_f32s(tail);
                simd.partial_store_f32s(tail, self.1.at(simd, x));
            }
        }
    }

    /// Replaces every element by the function's value.
    pub fn in_place<F: Function>(arch: Arch, values: &mut [f32], function: &F) {
        arch.dispatch(InPlace(values, function));
    }
}

struct Add<'a>(&'a mut [f32], &'a [f32]);

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(sum, values) = self;
        let (sum, sum_tail) = S::as_mut_simd_f32s(sum);
        let (values, tail) = S::as_simd_f32s(values);
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum = simd.add_f32s(*sum, *value);
        }
        for (sum, value) in sum_tail.iter_mut().zip(tail) {
            *sum += value;
        }
    }
}

/// `sum += values`.
///
/// # Panics
/// If the lengths differ.
pub fn add(arch: Arch, sum: &mut [f32], values: &[f32]) {
    assert_eq!(sum.len(), values.len());
    arch.dispatch(Add(sum, values));
}

struct ColumnSums<'a>(&'a mut [f32], &'a [f32]);

impl WithSimd for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(sums, rows) = self;
        let width = sums.len();
        // Four rows at a time: one load and store of the sums serves four.
        let mut quads = rows.chunks_exact(4 * width);
        for quad in &mut quads {
            let (a, rest) = quad.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            let (head, tail) = S::as_mut_simd_f32s(sums);
            let [(a, at), (b, bt), (c, ct), (d, dt)] = [a, b, c, d].map(S::as_simd_f32s);
            for ((((sum, a), b), c), d) in head.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let pairs = simd.add_f32s(simd.add_f32s(*a, *b), simd.add_f32s(*c, *d));
                *sum = simd.add_f32s(*sum, pairs);
            }
            for (i, sum) in tail.iter_mut().enumerate() {
                *sum += (at[i] + bt[i]) + (ct[i] + dt[i]);
            }
        }
        for row in quads.remainder().chunks_exact(width) {
            Add(sums, row).with_simd(simd);
        }
    }
}

/// Adds every row of `rows: [R, W]` to `sums: [W]`.
///
/// # Panics
/// If `rows` is not a whole number of rows.
pub fn add_rows(arch: Arch, sums: &mut [f32], rows: &[f32]) {
    assert!(!sums.is_empty() && rows.len().is_multiple_of(sums.len()));
    arch.dispatch(ColumnSums(sums, rows));
}

/// Every instruction set of this machine, the portable one included; for tests.
#[must_use]
pub fn every_arch() -> Vec<Arch> {
    let mut every = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        every.extend(pulp::x86::V3::try_new().map(Arch::V3));
        every.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    #[cfg(target_arch = "aarch64")]
    every.extend(pulp::aarch64::Neon::try_new().map(Arch::Neon));
    every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_rows_are_exact_for_small_integers() {
        for arch in every_arch() {
            for (rows, width) in [(1, 1), (4, 16), (7, 5), (9, 37), (64, 48)] {
                let values: Vec<f32> = (0..rows * width).map(|i| (i % 13) as f32).collect();
                let mut sums = vec![1.0; width];
                add_rows(arch, &mut sums, &values);
                for (col, sum) in sums.iter().enumerate() {
                    let expected: f32 = 1.0 + (0..rows).map(|row| values[row * width + col]).sum::<f32>();
                    assert_eq!(*sum, expected, "{arch:?}");
                }
            }
        }
    }
}
