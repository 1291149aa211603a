//! The passes for NEON, and the sets for aarch64.

use super::{
    dotprod, i8mm, neon,
    set::{Kernels, passes},
};
use crate::native::lanes::{CHUNK, Lanes};
use core::arch::aarch64::*;

/// NEON alone: Cortex-A53, A57, A72, A73 (Raspberry Pi 3 and 4).
static NEON: Kernels = Kernels { name: "neon", rows: 48, product: neon::neon, passes: passes!(Quarter) };
/// Dot products of ARMv8.2: Cortex-A55, A76, A78 (Raspberry Pi 5, Jetson Orin).
static DOTPROD: Kernels = Kernels { name: "dotprod", rows: 48, product: dotprod::dotprod, passes: passes!(Quarter) };
/// Matrix products of ARMv8.6: Cortex-A510, A710, Neoverse V1.
static I8MM: Kernels = Kernels { name: "i8mm", rows: 48, product: i8mm::i8mm, passes: passes!(Quarter) };

/// Whether this machine has a feature: asked of the processor, or known when compiling without a standard library.
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        {
            std::arch::is_aarch64_feature_detected!($feature)
        }
        #[cfg(not(feature = "std"))]
        {
            cfg!(target_feature = $feature)
        }
    }};
}

/// The sets that this processor can run, the slowest first.
pub(super) fn usable() -> [Option<&'static Kernels>; 3] {
    [Some(&NEON), has!("dotprod").then_some(&DOTPROD), has!("i8mm").then_some(&I8MM)]
}

/// A quarter of a chunk.
#[derive(Clone, Copy)]
struct Quarter(float32x4_t);

/// Methods that are one intrinsic each.
macro_rules! plain {
    ($($name:ident = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            // SAFETY: NEON is part of the target (the module is not compiled otherwise).
            Self(unsafe { $intrinsic(self.0, other.0) })
        }
    )*};
}

// The NEON maximum differs from the portable one for NaN and for zeros of both signs. Neither reaches it: what is
// given to an encoder is checked or finite by construction, and a zero's sign is lost before it could matter.
impl Lanes for Quarter {
    const PARTS: usize = 4;

    plain!(add = vaddq_f32; sub = vsubq_f32; mul = vmulq_f32; max = vmaxq_f32; min = vminq_f32;);

    #[inline(always)]
    fn mul_add(self, times: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vfmaq_f32(plus.0, self.0, times.0) })
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    fn load(from: &[f32; CHUNK], part: usize) -> Self {
        // SAFETY: as above; 4 values from 0, 4, 8 or 12 lie inside.
        Self(unsafe { vld1q_f32(from.as_ptr().add(part % 4 * 4)) })
    }
    #[inline(always)]
    fn convert(from: &[i32; CHUNK], part: usize) -> Self {
        // SAFETY: as for `load`.
        Self(unsafe { vcvtq_f32_s32(vld1q_s32(from.as_ptr().add(part % 4 * 4))) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; CHUNK], part: usize) {
        // SAFETY: as for `load`.
        unsafe { vst1q_f32(to.as_mut_ptr().add(part % 4 * 4), self.0) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as for `splat`.
        Self(unsafe { vabsq_f32(self.0) })
    }
    #[inline(always)]
    fn times_two_to(self, whole: Self) -> Self {
        // SAFETY: as for `splat`.
        unsafe {
            let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(whole.0));
            Self(vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(self.0), exponent)))
        }
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [i8; CHUNK], part: usize) {
        // SAFETY: as for `splat`.
        unsafe { store_low_bytes(vreinterpretq_s32_f32(self.0), to, part) }
    }
    #[inline(always)]
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], part: usize) {
        // SAFETY: as for `splat`.
        unsafe {
            let (bits, mask) = (vreinterpretq_s32_f32(self.0), vdupq_n_s32(127));
            store_low_bytes(vandq_s32(vshrq_n_s32::<7>(bits), mask), high, part);
            store_low_bytes(vandq_s32(bits, mask), low, part);
        }
    }

    #[inline(always)]
    fn store_all_bytes(parts: &[Self; CHUNK], to: &mut [i8; CHUNK]) {
        // SAFETY: as for `load`; the array is the whole register.
        unsafe {
            let [low, high] = low_halves(parts);
            vst1q_s8(to.as_mut_ptr(), vuzp1q_s8(vreinterpretq_s8_u16(low), vreinterpretq_s8_u16(high)));
        }
    }
    #[inline(always)]
    fn store_all_digits(parts: &[Self; CHUNK], high: &mut [i8; CHUNK], low: &mut [i8; CHUNK]) {
        // SAFETY: as for `store_all_bytes`.
        unsafe {
            let [first, second] = low_halves(parts);
            let bytes = vuzp1q_s8(vreinterpretq_s8_u16(first), vreinterpretq_s8_u16(second));
            vst1q_s8(low.as_mut_ptr(), vandq_s8(bytes, vdupq_n_s8(127)));
            // The 7 bits above fit a byte, with one more bit above them.
            let digits = vshrn_high_n_u16::<7>(vshrn_n_u16::<7>(first), second);
            vst1q_s8(high.as_mut_ptr(), vandq_s8(vreinterpretq_s8_u8(digits), vdupq_n_s8(127)));
        }
    }
    // In the order of the trait's own, a vector at a time.
    #[inline(always)]
    fn sum(parts: &[Self; CHUNK]) -> f32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|part| parts[part].0);
        // SAFETY: as for `splat`.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
    #[inline(always)]
    fn greatest(parts: &[Self; CHUNK]) -> f32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|part| parts[part].0);
        // SAFETY: as for `splat`.
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d))) }
    }
}

/// The lower 16 bits of each number of a chunk.
#[inline]
#[target_feature(enable = "neon")]
fn low_halves(parts: &[Quarter; CHUNK]) -> [uint16x8_t; 2] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|part| vreinterpretq_u16_f32(parts[part].0));
    [vuzp1q_u16(a, b), vuzp1q_u16(c, d)]
}

/// Writes the lowest byte of each 32-bit number.
#[inline]
#[target_feature(enable = "neon")]
fn store_low_bytes(bits: int32x4_t, to: &mut [i8; CHUNK], part: usize) {
    let halves = vmovn_s32(bits);
    let bytes = vmovn_s16(vcombine_s16(halves, halves));
    let four = vget_lane_s32::<0>(vreinterpret_s32_s8(bytes));
    to[part % 4 * 4..][..4].copy_from_slice(&four.to_le_bytes().map(|byte| byte as i8));
}
