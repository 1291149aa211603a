//! GELU, exact form, on slices.

use crate::math::gelu_and_derivative;
use pulp::{Arch, Simd, WithSimd};

struct Forward<'a>(&'a [f32], &'a mut [f32]);

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (xs, x_tail) = S::as_simd_f32s(self.0);
        let (outs, out_tail) = S::as_mut_simd_f32s(self.1);
        for (x, out) in xs.iter().zip(outs) {
            *out = gelu_and_derivative(simd, *x).0;
        }
        if !x_tail.is_empty() {
            let x = simd.partial_load_f32s(x_tail);
            simd.partial_store_f32s(out_tail, gelu_and_derivative(simd, x).0);
        }
    }
}

/// `out = gelu(x)`.
///
/// # Panics
/// If the lengths differ.
pub fn forward(arch: Arch, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    arch.dispatch(Forward(x, out));
}

struct Backward<'a> {
    x: &'a [f32],
    grad: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (xs, x_tail) = S::as_simd_f32s(self.x);
        let (grads, grad_tail) = S::as_mut_simd_f32s(self.grad);
        let (outs, out_tail) = S::as_mut_simd_f32s(self.out);
        for ((x, grad), out) in xs.iter().zip(grads).zip(outs) {
            let (value, slope) = gelu_and_derivative(simd, *x);
            *out = value;
            *grad = simd.mul_f32s(*grad, slope);
        }
        if !x_tail.is_empty() {
            let (x, grad) = (simd.partial_load_f32s(x_tail), simd.partial_load_f32s(grad_tail));
            let (value, slope) = gelu_and_derivative(simd, x);
            simd.partial_store_f32s(out_tail, value);
            simd.partial_store_f32s(grad_tail, simd.mul_f32s(grad, slope));
        }
    }
}

/// `out = gelu(x)` again, and `grad *= gelu'(x)`.
///
/// # Panics
/// If the lengths differ.
pub fn backward(arch: Arch, x: &[f32], grad: &mut [f32], out: &mut [f32]) {
    assert!(x.len() == grad.len() && x.len() == out.len());
    arch.dispatch(Backward { x, grad, out });
}
