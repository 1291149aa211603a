//! What a product is made of, and the tile of sums that it writes.

use pulp::Simd;

/// Most rows of a tile, with 32 registers: 24 sums, 3 vectors of B, one of A.
pub(crate) const ROWS: usize = 8;

/// `A[M, K]` where it lies.
#[derive(Debug, Clone, Copy)]
pub enum Left<'a> {
    /// `A[m][k] = data[m * stride + k]`.
    Rows(&'a [f32], usize),
    /// `A[m][k] = data[k * stride + m]`: the transpose of a matrix stored by rows.
    Columns(&'a [f32], usize),
}

/// What the product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Init<'a> {
    /// Nothing.
    Zero,
    /// What `C` holds.
    Sum,
    /// A row vector, `[N]`.
    Bias(&'a [f32]),
    /// A row vector `[N]` and a matrix `[M, N]` with the stride of `C`.
    BiasAnd(&'a [f32], &'a [f32]),
}

/// Of a product.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

/// Where a product goes, and what it is added to; [`product`] has checked that all of it lies inside.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    pub(crate) c: *mut f32,
    pub(crate) stride: usize,
    pub(crate) init: Init<'a>,
}

/// A tile's first row and column, and how many columns it has.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
}

/// Writes a tile.
///
/// # Safety
/// Rows and columns of `place` lie inside C and inside what `init` names; `place.columns` needs all `V` vectors.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const M: usize, const V: usize>(
    simd: S,
    sums: [[S::f32s; V]; M],
    out: Out<'_>,
    place: Place,
) {
    let lanes = S::F32_LANES;
    for (m, row) in sums.into_iter().enumerate() {
        let at = (place.row + m) * out.stride + place.column;
        for (v, mut value) in row.into_iter().enumerate() {
            let count = (place.columns - v * lanes).min(lanes);
            let mask = simd.mask_between_m32s(0, count as u32);
            let whole = count == lanes;
            let (at, column) = (at + v * lanes, place.column + v * lanes);
            let load = |from: *const f32| {
                // SAFETY: `count` elements from here are readable by the caller's promise; the mask keeps to them.
                unsafe {
                    if whole { from.cast::<S::f32s>().read_unaligned() } else { simd.mask_load_ptr_f32s(mask, from) }
                }
            };
            match out.init {
                Init::Zero => {}
                Init::Sum => value = simd.add_f32s(value, load(out.c.wrapping_add(at))),
                Init::Bias(bias) => value = simd.add_f32s(value, load(bias.as_ptr().wrapping_add(column))),
                Init::BiasAnd(bias, other) => {
                    value = simd.add_f32s(value, load(bias.as_ptr().wrapping_add(column)));
                    value = simd.add_f32s(value, load(other.as_ptr().wrapping_add(at)));
                }
            }
            // SAFETY: `count` elements of C from here are writable by the caller's promise; the mask keeps to them.
            unsafe {
                let to = out.c.add(at);
                if whole {
                    to.cast::<S::f32s>().write_unaligned(value);
                } else {
                    simd.mask_store_ptr_f32s(mask, to, value);
                }
            }
        }
    }
}
