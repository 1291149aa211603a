//! GELU in its exact form, with an exact derivative on every backend.

use burn::tensor::Tensor;
use std::f64::consts::FRAC_1_SQRT_2;

/// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016, arXiv 1606.08415), of the shape of `x`.
///
/// burn 0.22's `activation::gelu` is this going forward, but where a backend has no derivative of its own, as on
/// CUDA, its backward pass is that of the tanh approximation, wrong by up to 9e-4. The derivative of `erf` is exact
/// everywhere, so the operation is spelled out; on CUDA the pieces are fused into one kernel.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let erf = x.clone().mul_scalar(FRAC_1_SQRT_2).erf();
    x * erf.add_scalar(1.0).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use crate::bench::check::gelu::{on_device, reference};
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn check(points: &[f32]) -> Result<(), TestCaseError> {
        let (values, slopes) = on_device(points, &Device::flex().autodiff()).expect("computed");
        for ((x, y), slope) in points.iter().zip(values).zip(slopes) {
            let (value, derivative) = reference(f64::from(*x));
            // Rounding of three products and of 1 + erf, which left of 0 leaves few digits of a small sum.
            prop_assert!(
                (f64::from(y) - value).abs() < 3e-7 * f64::from(x.abs()).max(1.0),
                "gelu({x}) = {y}, {value}"
            );
            prop_assert!((f64::from(slope) - derivative).abs() < 5e-7, "gelu'({x}) = {slope}, not {derivative}");
        }
        Ok(())
    }

    #[test]
    fn value_and_derivative_are_exact_on_a_fine_grid() {
        let points: Vec<f32> = (-6000..=6000).map(|i| i as f32 / 1000.0).collect();
        check(&points).expect("exact");
    }

    proptest! {
        #[test]
        fn value_and_derivative_are_exact_anywhere(points in prop::collection::vec(-40.0_f32..40.0, 1..50)) {
            check(&points)?;
        }
    }
}
