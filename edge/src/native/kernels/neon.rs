//! Products for aarch64: NEON alone, with the dot products of ARMv8.2 and with the matrix products of ARMv8.6.
//!
//! A block of rows by one tile of 16 outputs is kept in registers while the inputs go by. Instructions that have no
//! stable intrinsic are inline assembly of one instruction each, so that the compiler allocates the registers.

use super::blocks::{Block, Place, in_blocks};
use crate::native::{
    layout::{STEP, TILE},
    product::Product,
};
use core::{
    arch::{aarch64::*, asm},
    array,
};

/// NEON: blocks of 2 rows, each output in two partial sums, 16 of the 32 registers.
pub fn neon(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] = &[neon_block::<1>, neon_block::<2>];
    // SAFETY: NEON is part of the target (the module is not compiled otherwise).
    unsafe { in_blocks(product, BLOCKS) }
}

/// `sdot`: blocks of 5 rows, 20 of the 32 registers, so that a step of B fits as one load of four registers.
pub fn dotprod(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] =
        &[dotprod_block::<1>, dotprod_block::<2>, dotprod_block::<3>, dotprod_block::<4>, dotprod_block::<5>];
    // SAFETY: the set that holds this function is handed out only where the processor has the dot products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// `smmla`: blocks of 4 rows in two pairs, 16 of the 32 registers.
pub fn i8mm(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] =
        &[i8mm_block::<1, 1>, i8mm_block::<2, 1>, i8mm_block::<3, 2>, i8mm_block::<4, 2>];
    // SAFETY: the set that holds this function is handed out only where the processor has the matrix products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// Two steps a round: `smull` and `smlal` give 16-bit sums of two products, at most 2 * 128 * 127 in magnitude, and
/// `sadalp` adds neighbours to a partial sum of 32 bits: 16 products in 3 instructions.
///
/// # Safety
/// As [`Block`] says, with R rows.
#[target_feature(enable = "neon")]
unsafe fn neon_block<const R: usize>(place: Place) {
    let Place { a, lda, mut b, b_step, steps, c, ldc } = place;
    let mut a: [*const i8; R] = array::from_fn(|row| a.wrapping_add(row * lda));
    // Per row and register of B: the partial sums of its first and of its last two outputs.
    let mut sums = [[[vdupq_n_s32(0); 2]; 4]; R];
    // SAFETY: `steps` of B and as many quarters of A in R rows can be read, and R rows by one tile of C written.
    unsafe {
        for _ in 0..steps / 2 {
            let now = vld1q_s8_x4(b);
            let next = vld1q_s8_x4(b.wrapping_add(b_step));
            b = b.wrapping_add(2 * b_step);
            let now = [now.0, now.1, now.2, now.3];
            let next = [next.0, next.1, next.2, next.3];
            for (a, sums) in a.iter_mut().zip(&mut sums) {
                let values = vld2q_dup_s32(a.cast());
                *a = a.wrapping_add(2 * STEP);
                let (first, second) = (vreinterpretq_s8_s32(values.0), vreinterpretq_s8_s32(values.1));
                for ((sums, now), next) in sums.iter_mut().zip(now).zip(next) {
                    let low = vmull_s8(vget_low_s8(now), vget_low_s8(first));
                    let high = vmull_high_s8(now, first);
                    let low = vmlal_s8(low, vget_low_s8(next), vget_low_s8(second));
                    let high = vmlal_high_s8(high, next, second);
                    *sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], high)];
                }
            }
        }
        if steps % 2 == 1 {
            let now = vld1q_s8_x4(b);
            for (a, sums) in a.iter().zip(&mut sums) {
                let values = vreinterpretq_s8_s32(vld1q_dup_s32(a.cast()));
                for (sums, now) in sums.iter_mut().zip([now.0, now.1, now.2, now.3]) {
                    let low = vmull_s8(vget_low_s8(now), vget_low_s8(values));
                    *sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], vmull_high_s8(now, values))];
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (quarter, [low, high]) in sums.iter().enumerate() {
                vst1q_s32(c.add(row * ldc + quarter * 4), vpaddq_s32(*low, *high));
            }
        }
    }
}

/// `sum[i] += b[4 i..][..4] · a[4 L..][..4]`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot<const L: u8>(sum: int32x4_t, b: int8x16_t, a: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: reads and writes only the named registers; the caller is compiled for the instruction.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]", inout(vreg) sum, in(vreg) b, in(vreg) a, const L,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// # Safety
/// As [`Block`] says, with R rows.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_block<const R: usize>(place: Place) {
    let Place { a, lda, mut b, b_step, steps, c, ldc } = place;
    let mut a: [*const i8; R] = array::from_fn(|row| a.wrapping_add(row * lda));
    let mut sums = [[vdupq_n_s32(0); 4]; R];

    /// One step of all rows: lane L of each row's inputs.
    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    fn step<const R: usize, const L: u8>(sums: &mut [[int32x4_t; 4]; R], b: int8x16x4_t, a: &[int8x16_t; R]) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip([b.0, b.1, b.2, b.3]) {
                *sum = sdot::<L>(*sum, b, *a);
            }
        }
    }

    // SAFETY: `steps` of B and as many quarters of A in R rows can be read, and R rows by one tile of C written.
    unsafe {
        for _ in 0..steps / 4 {
            let values = array::from_fn(|row| vld1q_s8(a[row]));
            a = a.map(|a| a.wrapping_add(4 * STEP));
            step::<R, 0>(&mut sums, vld1q_s8_x4(b), &values);
            b = b.wrapping_add(b_step);
            step::<R, 1>(&mut sums, vld1q_s8_x4(b), &values);
            b = b.wrapping_add(b_step);
            step::<R, 2>(&mut sums, vld1q_s8_x4(b), &values);
            b = b.wrapping_add(b_step);
            step::<R, 3>(&mut sums, vld1q_s8_x4(b), &values);
            b = b.wrapping_add(b_step);
        }
        for _ in 0..steps % 4 {
            let values = array::from_fn(|row| vreinterpretq_s8_s32(vld1q_dup_s32(a[row].cast())));
            a = a.map(|a| a.wrapping_add(STEP));
            step::<R, 0>(&mut sums, vld1q_s8_x4(b), &values);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (quarter, sum) in sums.iter().enumerate() {
                vst1q_s32(c.add(row * ldc + quarter * 4), *sum);
            }
        }
    }
}

/// `sum[2 i + j] += a[8 i..][..8] · b[8 j..][..8]`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn smmla(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: reads and writes only the named registers; the caller is compiled for the instruction.
    unsafe {
        asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Two steps a round: interleaving the words of two steps of B puts 8 inputs of an output together.
///
/// # Safety
/// As [`Block`] says, with R rows, of which the P pairs are made (the last row may lack a partner).
#[target_feature(enable = "neon,i8mm")]
unsafe fn i8mm_block<const R: usize, const P: usize>(place: Place) {
    let Place { a, lda, mut b, b_step, steps, c, ldc } = place;
    // A row without a partner is its own.
    let mut a: [[*const i8; 2]; P] =
        array::from_fn(|pair| [2 * pair, (2 * pair + 1).min(R - 1)].map(|row| a.wrapping_add(row * lda)));
    // Per pair of rows and of outputs: a 2 by 2 matrix.
    let mut sums = [[vdupq_n_s32(0); 8]; P];

    /// One round: A's pairs by 8 inputs, B's 16 outputs by 8 inputs.
    #[target_feature(enable = "neon,i8mm")]
    #[inline]
    fn round<const P: usize>(sums: &mut [[int32x4_t; 8]; P], a: [int8x16_t; P], now: int8x16x4_t, next: int8x16x4_t) {
        let pairs = [(now.0, next.0), (now.1, next.1), (now.2, next.2), (now.3, next.3)];
        for (quarter, (now, next)) in pairs.into_iter().enumerate() {
            let (now, next) = (vreinterpretq_s32_s8(now), vreinterpretq_s32_s8(next));
            let (low, high) =
                (vreinterpretq_s8_s32(vzip1q_s32(now, next)), vreinterpretq_s8_s32(vzip2q_s32(now, next)));
            for (sums, a) in sums.iter_mut().zip(a) {
                sums[2 * quarter] = smmla(sums[2 * quarter], a, low);
                sums[2 * quarter + 1] = smmla(sums[2 * quarter + 1], a, high);
            }
        }
    }

    // SAFETY: `steps` of B and as many quarters of A in R rows can be read, and R rows by one tile of C written.
    unsafe {
        for _ in 0..steps / 2 {
            let values = array::from_fn(|pair| vcombine_s8(vld1_s8(a[pair][0]), vld1_s8(a[pair][1])));
            a = a.map(|rows| rows.map(|a| a.wrapping_add(2 * STEP)));
            round(&mut sums, values, vld1q_s8_x4(b), vld1q_s8_x4(b.wrapping_add(b_step)));
            b = b.wrapping_add(2 * b_step);
        }
        if steps % 2 == 1 {
            // The second step is zeros.
            let word = |a: *const i8| vreinterpret_s8_s32(vset_lane_s32::<0>(a.cast::<i32>().read_unaligned(), vdup_n_s32(0)));
            let values = array::from_fn(|pair| vcombine_s8(word(a[pair][0]), word(a[pair][1])));
            let zero = vdupq_n_s8(0);
            round(&mut sums, values, vld1q_s8_x4(b), int8x16x4_t(zero, zero, zero, zero));
        }
        for (pair, sums) in sums.iter().enumerate() {
            for quarter in 0..TILE / 4 {
                let both = sums[2 * quarter..][..2].try_into().map(|pair: [int32x4_t; 2]| pair.map(|sum| vreinterpretq_s64_s32(sum)));
                let Ok([low, high]) = both else { return };
                let to = c.add(2 * pair * ldc + quarter * 4);
                vst1q_s32(to, vreinterpretq_s32_s64(vzip1q_s64(low, high)));
                if 2 * pair + 1 < R {
                    vst1q_s32(to.add(ldc), vreinterpretq_s32_s64(vzip2q_s64(low, high)));
                }
            }
        }
    }
}
