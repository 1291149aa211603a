//! ARM's BF16 extension: `bfdot` adds the products of 4 pairs to 4 sums. Intrinsics for it are not stable yet.

use super::LeftPairs;
use crate::{
    panels::Panels,
    tile::{Init, Out, Place, Size},
};
use std::arch::{aarch64::*, asm};

/// Numbers of a vector.
const LANES: usize = 4;

/// Whether this processor has the instructions that this file uses.
fn available() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

super::tiled_product!("neon,bf16");

/// `M` rows by `V` vectors.
///
/// # Safety
/// `a.data[m * a.row_step + j * a.pair_step]` is there for `m < M` and `j < pairs`, `lines` holds `pairs` lines of
/// this width, and the rows and columns of `place`, which need all `V` vectors, lie inside C and what `out` names.
#[target_feature(enable = "neon,bf16")]
#[inline]
unsafe fn tile_of<const M: usize, const V: usize>(
    pairs: usize,
    a: LeftPairs<'_>,
    (lines, width): (&[u32], usize),
    out: Out<'_>,
    place: Place,
) {
    let mut sums = [[vdupq_n_f32(0.0); V]; M];
    let (mut left, mut right) = (a.data.as_ptr(), lines.as_ptr());
    for _ in 0..pairs {
        let mut line = [vdupq_n_u32(0); V];
        for (v, value) in line.iter_mut().enumerate() {
            // SAFETY: the caller's promise for the panel.
            *value = unsafe { vld1q_u32(right.add(v * LANES)) };
        }
        for (m, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise for A.
            let pair = unsafe { vld1q_dup_u32(left.add(m * a.row_step)) };
            for (sum, line) in row.iter_mut().zip(line) {
                *sum = dot(*sum, pair, line);
            }
        }
        // Past the last pair the pointers are not read; `wrapping_add` may leave the slice.
        left = left.wrapping_add(a.pair_step);
        right = right.wrapping_add(width);
    }
    for (m, row) in sums.into_iter().enumerate() {
        let at = (place.row + m) * out.stride + place.column;
        for (v, value) in row.into_iter().enumerate() {
            let count = (place.columns - v * LANES).min(LANES);
            let (at, column) = (at + v * LANES, place.column + v * LANES);
            let mut values = [0.0_f32; LANES];
            // SAFETY: an array of a vector's size.
            unsafe { vst1q_f32(values.as_mut_ptr(), value) };
            for (i, value) in values.into_iter().take(count).enumerate() {
                // SAFETY: `count` numbers of C from here are inside by the caller's promise.
                unsafe {
                    let to = out.c.add(at + i);
                    *to = match out.init {
                        Init::Zero => value,
                        Init::Sum => *to + value,
                        Init::Bias(bias) => value + bias[column + i],
                        Init::BiasAnd(bias, other) => value + bias[column + i] + other[at + i],
                    };
                }
            }
        }
    }
}

/// `sum` and the products of the pairs of `a` and `b`.
#[target_feature(enable = "neon,bf16")]
#[inline]
fn dot(mut sum: float32x4_t, a: uint32x4_t, b: uint32x4_t) -> float32x4_t {
    // SAFETY: an instruction on registers, which the caller's processor has.
    unsafe {
        asm!(
            "bfdot {sum:v}.4s, {a:v}.8h, {b:v}.8h",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
