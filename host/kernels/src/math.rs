//! Elementary functions on vectors.

use pulp::Simd;

/// `e^x` to 2 units in the last place; 0 below -87.3, 2^127 and more above 88.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let splat = |v: f32| simd.splat_f32s(v);
    // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    let x = simd.max_f32s(simd.min_f32s(x, splat(88.0)), splat(-87.3));
    let magic = splat(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    // ln 2 in two parts, the first exact in few bits, so that the difference loses nothing.
    let r = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), r);
    // Minimax polynomial of (e^r - 1 - r) / r^2 (Cephes expf).
    let p = splat(1.987_569_1e-4);
    let p = simd.mul_add_e_f32s(p, r, splat(1.398_199_9e-3));
    let p = simd.mul_add_e_f32s(p, r, splat(8.333_452e-3));
    let p = simd.mul_add_e_f32s(p, r, splat(4.166_579_6e-2));
    let p = simd.mul_add_e_f32s(p, r, splat(1.666_666_5e-1));
    let p = simd.mul_add_e_f32s(p, r, splat(0.5));
    let p = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), simd.add_f32s(r, splat(1.0)));
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scale = simd.transmute_f32s_u32s(simd.add_u32s(bits, simd.splat_u32s(0x3f80_0000)));
    simd.mul_f32s(p, scale)
}

/// GELU in its exact form, `x Phi(x)`, and its derivative `Phi(x) + x phi(x)`, from one exponential.
///
/// Phi by Abramowitz and Stegun 7.1.26: absolute error below 2e-7 plus rounding.
#[inline(always)]
pub fn gelu_and_derivative<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |v: f32| simd.splat_f32s(v);
    let z = simd.mul_f32s(simd.abs_f32s(x), splat(std::f32::consts::FRAC_1_SQRT_2));
    let bell = exp(simd, simd.neg_f32s(simd.mul_f32s(z, z)));
    let t = simd.div_f32s(splat(1.0), simd.mul_add_e_f32s(z, splat(0.327_591_1), splat(1.0)));
    let p = splat(1.061_405_4);
    let p = simd.mul_add_e_f32s(p, t, splat(-1.453_152));
    let p = simd.mul_add_e_f32s(p, t, splat(1.421_413_7));
    let p = simd.mul_add_e_f32s(p, t, splat(-0.284_496_74));
    let p = simd.mul_add_e_f32s(p, t, splat(0.254_829_6));
    // erfc(z) / 2 is Phi(-|x|).
    let tail = simd.mul_f32s(simd.mul_f32s(simd.mul_f32s(p, t), bell), splat(0.5));
    let negative = simd.less_than_f32s(x, splat(0.0));
    let phi = simd.select_f32s(negative, tail, simd.sub_f32s(splat(1.0), tail));
    let density = simd.mul_f32s(bell, splat(0.398_942_3));
    (simd.mul_f32s(x, phi), simd.mul_add_e_f32s(x, density, phi))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{every_arch, map};

    struct Exp;
    impl map::Function for Exp {
        fn at<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            exp(simd, x)
        }
    }
    struct Gelu(bool);
    impl map::Function for Gelu {
        fn at<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            let (value, derivative) = gelu_and_derivative(simd, x);
            if self.0 { derivative } else { value }
        }
    }

    /// The complementary error function by its continued fraction and series, in f64.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        if x < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        let fraction = (1..200).rev().fold(0.0, |f, n| f64::from(n) / 2.0 / (x + f));
        (-x * x).exp() / (x + fraction) / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn exponential_is_exact_to_a_few_bits() {
        let inputs: Vec<f32> = (-8700..=8800).map(|i| i as f32 / 100.0).collect();
        for arch in every_arch() {
            let mut found = inputs.clone();
            map::in_place(arch, &mut found, &Exp);
            for (x, y) in inputs.iter().zip(found) {
                let exact = f64::from(*x).exp();
                assert!((f64::from(y) - exact).abs() < 3e-7 * exact, "{arch:?}: exp({x}) = {y}, not {exact}");
            }
        }
    }

    #[test]
    fn gelu_and_its_derivative_equal_the_exact_ones() {
        let inputs: Vec<f32> = (-1200..=1200).map(|i| i as f32 / 100.0).collect();
        for arch in every_arch() {
            let (mut value, mut slope) = (inputs.clone(), inputs.clone());
            map::in_place(arch, &mut value, &Gelu(false));
            map::in_place(arch, &mut slope, &Gelu(true));
            for ((x, value), slope) in inputs.iter().map(|x| f64::from(*x)).zip(value).zip(slope) {
                let phi = 0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
                let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
                assert!((f64::from(value) - x * phi).abs() < 1e-6, "{arch:?}: gelu({x}) = {value}");
                assert!((f64::from(slope) - phi - x * density).abs() < 1e-6, "{arch:?}: gelu'({x}) = {slope}");
            }
        }
    }
}
