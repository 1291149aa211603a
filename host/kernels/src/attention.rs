//! Multi-head self-attention of one image, from queries, keys and values to the output, with its backward pass.
//!
//! The probabilities are not kept for the backward pass: they are `H N N` numbers an image, more than all else that
//! is kept, and two small products bring them back.

use crate::{
    math::exp,
    product::{Init, Left, Panels, Right, product},
};
use pulp::{Arch, Simd, WithSimd};

/// The sizes of one image's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Tokens (`N`).
    pub tokens: usize,
    /// Width (`D`), a multiple of `heads`.
    pub dim: usize,
    /// Heads (`H`).
    pub heads: usize,
}

impl Shape {
    fn head_dim(self) -> usize {
        self.dim / self.heads
    }

    fn scale(self) -> f32 {
        (self.head_dim() as f32).sqrt().recip()
    }

    /// Numbers of scratch that [`forward`] needs.
    #[must_use]
    pub fn forward_scratch(self) -> usize {
        self.tokens * self.tokens
    }

    /// Numbers of scratch that [`backward`] needs.
    #[must_use]
    pub fn backward_scratch(self) -> usize {
        2 * self.tokens * self.tokens
    }
}

struct Softmax<'a> {
    scores: &'a mut [f32],
    tokens: usize,
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let scale = simd.splat_f32s(self.scale);
        for row in self.scores.chunks_exact_mut(self.tokens) {
            let (head, tail) = S::as_mut_simd_f32s(row);
            let mut most = simd.splat_f32s(f32::NEG_INFINITY);
            for x in head.iter() {
                most = simd.max_f32s(most, *x);
            }
            let most = tail.iter().fold(simd.reduce_max_f32s(most), |most, x| most.max(*x));
            let shift = simd.splat_f32s(-most * self.scale);
            let mut sums = simd.splat_f32s(0.0);
            for x in head.iter_mut() {
                *x = exp(simd, simd.mul_add_e_f32s(*x, scale, shift));
                sums = simd.add_f32s(sums, *x);
            }
            let mut sum = simd.reduce_sum_f32s(sums);
            if !tail.is_empty() {
                let x = simd.partial_load_f32s(tail);
                simd.partial_store_f32s(tail, exp(simd, simd.mul_add_e_f32s(x, scale, shift)));
                sum += tail.iter().sum::<f32>();
            }
            let (factor, factors) = (sum.recip(), simd.splat_f32s(sum.recip()));
            for x in head {
                *x = simd.mul_f32s(*x, factors);
            }
            for x in tail {
                *x *= factor;
            }
        }
    }
}

/// The gradient of the scores from those of the probabilities, in place.
struct SoftmaxBackward<'a> {
    probabilities: &'a [f32],
    grad: &'a mut [f32],
    tokens: usize,
    scale: f32,
}

impl WithSimd for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let scale = simd.splat_f32s(self.scale);
        let rows = self.probabilities.chunks_exact(self.tokens).zip(self.grad.chunks_exact_mut(self.tokens));
        for (probabilities, grad) in rows {
            let (ps, p_tail) = S::as_simd_f32s(probabilities);
            let (grads, grad_tail) = S::as_mut_simd_f32s(grad);
            let mut sums = simd.splat_f32s(0.0);
            for (p, grad) in ps.iter().zip(grads.iter()) {
                sums = simd.mul_add_e_f32s(*p, *grad, sums);
            }
            let tail: f32 = p_tail.iter().zip(grad_tail.iter()).map(|(p, grad)| p * grad).sum();
            let sum = simd.reduce_sum_f32s(sums) + tail;
            let sums = simd.splat_f32s(sum);
            for (p, grad) in ps.iter().zip(grads) {
                *grad = simd.mul_f32s(simd.mul_f32s(*p, scale), simd.sub_f32s(*grad, sums));
            }
            for (p, grad) in p_tail.iter().zip(grad_tail) {
                *grad = p * self.scale * (*grad - sum);
            }
        }
    }
}

/// The probabilities of one head, `[N, N]`.
fn probabilities(arch: Arch, shape: Shape, qkv: &[f32], head: usize, out: &mut [f32]) {
    let Shape { tokens, dim, .. } = shape;
    let (width, first) = (shape.head_dim(), head * shape.head_dim());
    let keys = Panels::pack_transposed(arch, &qkv[dim + first..], 3 * dim, width, tokens);
    let queries = Left::Rows(&qkv[first..], 3 * dim);
    product(arch, tokens, tokens, width, queries, Right::Panels(&keys), Init::Zero, out, tokens);
    arch.dispatch(Softmax { scores: out, tokens, scale: shape.scale() });
}

/// `out: [N, D]` from `qkv: [N, 3D]`; `scratch` as long as [`Shape::forward_scratch`].
///
/// # Panics
/// If a slice has another length.
pub fn forward(arch: Arch, shape: Shape, qkv: &[f32], out: &mut [f32], scratch: &mut [f32]) {
    let Shape { tokens, dim, heads } = shape;
    assert!(qkv.len() == tokens * 3 * dim && out.len() == tokens * dim && scratch.len() == shape.forward_scratch());
    let width = shape.head_dim();
    for head in 0..heads {
        probabilities(arch, shape, qkv, head, scratch);
        let (values, out) = (&qkv[2 * dim + head * width..], &mut out[head * width..]);
        let values = Right::Rows(values, 3 * dim);
        product(arch, tokens, width, tokens, Left::Rows(scratch, tokens), values, Init::Zero, out, dim);
    }
}

/// `qkv_grad: [N, 3D]` from `grad: [N, D]`, that of [`forward`]'s output; `scratch` as long as
/// [`Shape::backward_scratch`].
///
/// # Panics
/// If a slice has another length.
pub fn backward(arch: Arch, shape: Shape, qkv: &[f32], grad: &[f32], qkv_grad: &mut [f32], scratch: &mut [f32]) {
    let Shape { tokens, dim, heads } = shape;
    assert!(qkv.len() == tokens * 3 * dim && qkv_grad.len() == qkv.len() && grad.len() == tokens * dim);
    assert!(scratch.len() == shape.backward_scratch());
    let (width, stride) = (shape.head_dim(), 3 * dim);
    let (p, score_grad) = scratch.split_at_mut(tokens * tokens);
    for head in 0..heads {
        let first = head * width;
        let (query_at, key_at, value_at) = (first, dim + first, 2 * dim + first);
        let grad = &grad[first..];
        probabilities(arch, shape, qkv, head, p);
        let values = Panels::pack_transposed(arch, &qkv[value_at..], stride, width, tokens);
        let values = Right::Panels(&values);
        product(arch, tokens, tokens, width, Left::Rows(grad, dim), values, Init::Zero, score_grad, tokens);
        arch.dispatch(SoftmaxBackward { probabilities: p, grad: score_grad, tokens, scale: shape.scale() });
        let (p, score_grad) = (&*p, &*score_grad);
        let mut part = |left: Left<'_>, right: Right<'_>, at: usize| {
            product(arch, tokens, width, tokens, left, right, Init::Zero, &mut qkv_grad[at..], stride);
        };
        part(Left::Columns(p, tokens), Right::Rows(grad, dim), value_at);
        part(Left::Rows(score_grad, tokens), Right::Rows(&qkv[key_at..], stride), query_at);
        part(Left::Columns(score_grad, tokens), Right::Rows(&qkv[query_at..], stride), key_at);
    }
}
