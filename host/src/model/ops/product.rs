//! Matrix products, in the precision that the operations ask for.

use super::Ops;
use burn::tensor::{FloatDType, Tensor};

/// `a b`, both and the result f32.
///
/// With [`Ops::Bf16`] the factors are rounded to bf16 and so is the product (on tensor cores its sums are f32); in
/// the backward pass the same happens to both gradients. The parameters themselves stay f32.
pub fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>, ops: Ops) -> Tensor<D> {
    match ops {
        Ops::Fused | Ops::FusedBf16 | Ops::Plain => a.matmul(b),
        Ops::Bf16 => a.cast(FloatDType::BF16).matmul(b.cast(FloatDType::BF16)).cast(FloatDType::F32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    /// 1 + 2^-8 is no bf16 number: it becomes 1, on the way and in the gradients, but the parameter keeps it.
    #[test]
    fn factors_are_rounded_and_parameters_are_not() {
        let device = Device::flex().autodiff();
        let fine = 1.0 + 1.0 / 256.0;
        let weight = Tensor::<2>::from_floats([[fine]], &device).require_grad();
        let x = Tensor::<2>::from_floats([[fine]], &device).require_grad();
        for (ops, expected) in [(Ops::Plain, fine * fine), (Ops::Bf16, 1.0)] {
            let y = product(x.clone(), weight.clone(), ops);
            assert_eq!(y.dtype(), DType::F32);
            let gradients = y.clone().sum().backward();
            assert_eq!(y.inner().into_scalar::<f32>(), expected, "{ops:?}");
            let slope = weight.grad(&gradients).expect("a gradient");
            assert_eq!(slope.dtype(), DType::F32);
            assert_eq!(slope.into_scalar::<f32>(), if ops == Ops::Bf16 { 1.0 } else { fine }, "{ops:?}");
        }
        assert_eq!(weight.inner().into_scalar::<f32>(), fine);
    }
}
