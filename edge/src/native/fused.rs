//! One fused multiply-add for machines without vector registers.

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fused(a: f32, b: f32, c: f32) -> f32 {
    // libm would do it in f64, which Cortex-M4 has not.
    #[cfg(all(target_arch = "arm", fused_instructions))]
    {
        fused_one(a, b, c)
    }
    #[cfg(all(feature = "std", not(all(target_arch = "arm", fused_instructions))))]
    {
        a.mul_add(b, c)
    }
    #[cfg(not(any(feature = "std", all(target_arch = "arm", fused_instructions))))]
    {
        libm::fmaf(a, b, c)
    }
}

/// `vfma.f32`, which stable Rust reaches no other way; see `kernels::vfp`.
// SAFETY: reads what the convention passes in s0 to s2, writes s0 and s2, which it may, and returns. The assembler
// does not know by itself what the target has.
#[cfg(all(target_arch = "arm", fused_instructions))]
#[unsafe(naked)]
extern "C" fn fused_one(a: f32, b: f32, c: f32) -> f32 {
    core::arch::naked_asm!(".fpu fpv4-sp-d16", "vfma.f32 s2, s0, s1", "vmov.f32 s0, s2", "bx lr")
}

#[cfg(test)]
mod tests {
    use super::fused;

    #[test]
    fn rounds_once() {
        // The product is 1 + 2^-11 + 2^-24; rounded by itself, its last bit would be lost.
        let a = 1.0 + 1.0 / 4096.0;
        assert_eq!(fused(a, a, -1.0 - 1.0 / 2048.0), 1.0 / 16_777_216.0);
        for (a, b, c) in [(0.1_f32, 0.3_f32, -0.03_f32), (1e20, 3e-20, -3.0), (1e-30, 1e-30, 1.5), (-7.1, 2.3, 16.33)]
        {
            assert_eq!(fused(a, b, c).to_bits(), libm::fmaf(a, b, c).to_bits());
        }
    }
}
