//! The passes for floating-point units of 32-bit ARM: four values in four registers.
//!
//! Stable Rust reaches `vfma.f32` on Cortex-M4 neither by an intrinsic nor by registers as operands of inline
//! assembly, but naked functions take floats where the calling convention puts them: four at a time in s0 to s3, so
//! that the call costs each value little.

use crate::native::lanes::{CHUNK, Lanes};
use core::arch::naked_asm;

/// A quarter of a chunk.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Quarter(f32, f32, f32, f32);

/// `a * b + c` of each, rounded once.
// SAFETY: four floats in a structure are passed and returned in as many registers, here s0 to s11; it writes s0 to s3
// and s8 to s11, which it may, and returns. The assembler does not know by itself what the target has.
#[unsafe(naked)]
extern "C" fn fused_four(a: Quarter, b: Quarter, c: Quarter) -> Quarter {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "vfma.f32 s8, s0, s4",
        "vfma.f32 s9, s1, s5",
        "vfma.f32 s10, s2, s6",
        "vfma.f32 s11, s3, s7",
        "vmov.f32 s0, s8",
        "vmov.f32 s1, s9",
        "vmov.f32 s2, s10",
        "vmov.f32 s3, s11",
        "bx lr"
    )
}

impl Quarter {
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Self(f(self.0), f(self.1), f(self.2), f(self.3))
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(f(self.0, other.0), f(self.1, other.1), f(self.2, other.2), f(self.3, other.3))
    }

    /// Hands each value with its place in the chunk to `f`.
    #[inline(always)]
    fn places(self, part: usize, mut f: impl FnMut(f32, usize)) {
        for (index, value) in [self.0, self.1, self.2, self.3].into_iter().enumerate() {
            f(value, part % 4 * 4 + index);
        }
    }
}

impl Lanes for Quarter {
    const PARTS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(value, value, value, value)
    }
    #[inline(always)]
    fn load(from: &[f32; CHUNK], part: usize) -> Self {
        let [a, b, c, d] = from.as_chunks().0[part % 4];
        Self(a, b, c, d)
    }
    #[inline(always)]
    fn convert(from: &[i32; CHUNK], part: usize) -> Self {
        let [a, b, c, d] = from.as_chunks().0[part % 4].map(|value: i32| value as f32);
        Self(a, b, c, d)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; CHUNK], part: usize) {
        self.places(part, |value, place| to[place] = value);
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, times: Self, plus: Self) -> Self {
        fused_four(self, times, plus)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, Lanes::max)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, Lanes::min)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.map(Lanes::abs)
    }
    #[inline(always)]
    fn times_two_to(self, whole: Self) -> Self {
        self.zip(whole, Lanes::times_two_to)
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [i8; CHUNK], part: usize) {
        self.places(part, |value, place| value.store_bytes(to, place));
    }
    #[inline(always)]
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], part: usize) {
        self.places(part, |value, place| value.store_digits(high, low, place));
    }
}
