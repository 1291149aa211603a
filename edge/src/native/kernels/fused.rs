//! One fused multiply-add for machines without vector registers.

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn fused(a: f32, b: f32, c: f32) -> f32 {
    // libm would do it in f64, which Cortex-M4 has not.
    #[cfg(all(target_arch = "arm", fused_instructions))]
    {
        super::four::fused_one(a, b, c)
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
