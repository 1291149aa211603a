//! AVX-512 BF16: `vdpbf16ps` adds the products of 16 pairs to 16 sums, twice the work of an instruction in f32.

use super::LeftPairs;
use crate::{
    pairs::avx512::{LANES, available, mask},
    panels::Panels,
    tile::{Init, Out, Place, Size},
};
use std::arch::x86_64::*;

super::tiled_product!("avx512f,avx512bw,avx512bf16");

/// `M` rows by `V` vectors.
///
/// # Safety
/// `a.data[m * a.row_step + j * a.pair_step]` is there for `m < M` and `j < pairs`, `lines` holds `pairs` lines of
/// this width, and the rows and columns of `place`, which need all `V` vectors, lie inside C and what `out` names.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn tile_of<const M: usize, const V: usize>(
    pairs: usize,
    a: LeftPairs<'_>,
    (lines, width): (&[u32], usize),
    out: Out<'_>,
    place: Place,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    let (mut left, mut right) = (a.data.as_ptr(), lines.as_ptr());
    for _ in 0..pairs {
        let mut line = [_mm512_setzero_si512(); V];
        for (v, value) in line.iter_mut().enumerate() {
            // SAFETY: the caller's promise for the panel.
            *value = unsafe { _mm512_loadu_si512(right.add(v * LANES).cast()) };
        }
        for (m, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise for A.
            let pair = bf16(_mm512_set1_epi32(unsafe { left.add(m * a.row_step).read() }.cast_signed()));
            for (sum, line) in row.iter_mut().zip(line) {
                *sum = _mm512_dpbf16_ps(*sum, pair, bf16(line));
            }
        }
        // Past the last pair the pointers are not read; `wrapping_add` may leave the slice.
        left = left.wrapping_add(a.pair_step);
        right = right.wrapping_add(width);
    }
    for (m, row) in sums.into_iter().enumerate() {
        let at = (place.row + m) * out.stride + place.column;
        for (v, mut value) in row.into_iter().enumerate() {
            let mask = mask(place.columns - v * LANES);
            let (at, column) = (at + v * LANES, place.column + v * LANES);
            // SAFETY: what the mask keeps is inside by the caller's promise.
            let load = |from: *const f32| unsafe { _mm512_maskz_loadu_ps(mask, from) };
            match out.init {
                Init::Zero => {}
                Init::Sum => value = _mm512_add_ps(value, load(out.c.wrapping_add(at))),
                Init::Bias(bias) => value = _mm512_add_ps(value, load(bias.as_ptr().wrapping_add(column))),
                Init::BiasAnd(bias, other) => {
                    value = _mm512_add_ps(value, load(bias.as_ptr().wrapping_add(column)));
                    value = _mm512_add_ps(value, load(other.as_ptr().wrapping_add(at)));
                }
            }
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_ps(out.c.wrapping_add(at), mask, value) };
        }
    }
}

/// The same bits, as pairs of bf16.
#[target_feature(enable = "avx512f")]
#[inline]
fn bf16(pairs: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of any value.
    unsafe { std::mem::transmute(pairs) }
}
