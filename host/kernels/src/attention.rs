//! Multi-head attention of one image, from queries, keys and values to the output, with its backward pass.
//!
//! The probabilities are not kept for the backward pass: they are `H N K` numbers an image, more than all else that
//! is kept, and two small products bring them back.

use crate::{
    engine::Engine,
    math::exp,
    product::{Init, Left, Panels, Right, product},
};
use pulp::{Simd, WithSimd};

/// The sizes of one image's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Tokens that attend (`N`).
    pub queries: usize,
    /// Tokens that they attend to (`K`).
    pub keys: usize,
    /// Width (`D`), a multiple of `heads`.
    pub dim: usize,
    /// Heads (`H`).
    pub heads: usize,
}

/// Queries, keys and values of one image where they lie; the heads are inside each.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// All three of the same tokens, `[N, 3D]`.
    Together(&'a [f32]),
    /// Queries, `[N, D]`, and keys and values of other tokens, `[K, 2D]`.
    Apart(&'a [f32], &'a [f32]),
}

/// The gradients of [`Inputs`], which lie as these do.
#[derive(Debug)]
pub enum InputGrads<'a> {
    /// Of all three, `[N, 3D]`.
    Together(&'a mut [f32]),
    /// Of queries, `[N, D]`, and of keys and values, `[K, 2D]`.
    Apart(&'a mut [f32], &'a mut [f32]),
}

/// One of the three.
#[derive(Debug, Clone, Copy)]
enum Part {
    Queries,
    Keys,
    Values,
}

impl<'a> Inputs<'a> {
    /// A part of a head that begins at column `first`, and the stride of its rows.
    fn part(self, part: Part, dim: usize, first: usize) -> (&'a [f32], usize) {
        match (self, part) {
            (Self::Together(all), part) => (&all[part as usize * dim + first..], 3 * dim),
            (Self::Apart(queries, _), Part::Queries) => (&queries[first..], dim),
            (Self::Apart(_, others), part) => (&others[(part as usize - 1) * dim + first..], 2 * dim),
        }
    }

    fn fits(self, Shape { queries, keys, dim, .. }: Shape) -> bool {
        match self {
            Self::Together(all) => queries == keys && all.len() == queries * 3 * dim,
            Self::Apart(own, others) => own.len() == queries * dim && others.len() == keys * 2 * dim,
        }
    }
}

impl InputGrads<'_> {
    /// As [`Inputs::part`].
    fn part(&mut self, part: Part, dim: usize, first: usize) -> (&mut [f32], usize) {
        match (self, part) {
            (Self::Together(all), part) => (&mut all[part as usize * dim + first..], 3 * dim),
            (Self::Apart(queries, _), Part::Queries) => (&mut queries[first..], dim),
            (Self::Apart(_, others), part) => (&mut others[(part as usize - 1) * dim + first..], 2 * dim),
        }
    }

    fn fits(&self, shape: Shape) -> bool {
        match self {
            Self::Together(all) => Inputs::Together(all).fits(shape),
            Self::Apart(own, others) => Inputs::Apart(own, others).fits(shape),
        }
    }
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
        self.queries * self.keys
    }

    /// Numbers of scratch that [`backward`] needs.
    #[must_use]
    pub fn backward_scratch(self) -> usize {
        2 * self.queries * self.keys
    }
}

struct Softmax<'a> {
    scores: &'a mut [f32],
    keys: usize,
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let scale = simd.splat_f32s(self.scale);
        for row in self.scores.chunks_exact_mut(self.keys) {
            let (head, tail) = S::as_mut_simd_f32s(row);
            // What is left of a row stays in a register: to read it back number by number would wait for the store.
            let there = simd.mask_between_m32s(0, tail.len() as u32);
            let last = simd.partial_load_f32s(tail);
            let mut most = simd.select_f32s(there.mask(), last, simd.splat_f32s(f32::NEG_INFINITY));
            for x in head.iter() {
                most = simd.max_f32s(most, *x);
            }
            let shift = simd.splat_f32s(-simd.reduce_max_f32s(most) * self.scale);
            let last = exp(simd, simd.mul_add_e_f32s(last, scale, shift));
            let mut sums = simd.select_f32s(there.mask(), last, simd.splat_f32s(0.0));
            for x in head.iter_mut() {
                *x = exp(simd, simd.mul_add_e_f32s(*x, scale, shift));
                sums = simd.add_f32s(sums, *x);
            }
            let factors = simd.splat_f32s(simd.reduce_sum_f32s(sums).recip());
            for x in head {
                *x = simd.mul_f32s(*x, factors);
            }
            simd.partial_store_f32s(tail, simd.mul_f32s(last, factors));
        }
    }
}

/// The gradient of the scores from those of the probabilities, in place.
struct SoftmaxBackward<'a> {
    probabilities: &'a [f32],
    grad: &'a mut [f32],
    keys: usize,
    scale: f32,
}

impl WithSimd for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let scale = simd.splat_f32s(self.scale);
        let rows = self.probabilities.chunks_exact(self.keys).zip(self.grad.chunks_exact_mut(self.keys));
        for (probabilities, grad) in rows {
            let (ps, p_tail) = S::as_simd_f32s(probabilities);
            let (grads, grad_tail) = S::as_mut_simd_f32s(grad);
            // Past the end both are zero.
            let (p_last, last) = (simd.partial_load_f32s(p_tail), simd.partial_load_f32s(grad_tail));
            let mut sums = simd.mul_f32s(p_last, last);
            for (p, grad) in ps.iter().zip(grads.iter()) {
                sums = simd.mul_add_e_f32s(*p, *grad, sums);
            }
            let sums = simd.splat_f32s(simd.reduce_sum_f32s(sums));
            let grad_of = |p, grad| simd.mul_f32s(simd.mul_f32s(p, scale), simd.sub_f32s(grad, sums));
            for (p, grad) in ps.iter().zip(grads) {
                *grad = grad_of(*p, *grad);
            }
            simd.partial_store_f32s(grad_tail, grad_of(p_last, last));
        }
    }
}

/// The probabilities of one head, `[N, K]`.
fn probabilities(engine: Engine, shape: Shape, inputs: Inputs<'_>, head: usize, out: &mut [f32]) {
    let Shape { queries, keys, dim, .. } = shape;
    let (width, first) = (shape.head_dim(), head * shape.head_dim());
    let (key, stride) = inputs.part(Part::Keys, dim, first);
    let panels = Panels::pack_transposed(engine, key, stride, width, keys);
    let (query, stride) = inputs.part(Part::Queries, dim, first);
    let (query, panels) = (Left::Rows(query, stride), Right::Panels(&panels));
    product(engine, queries, keys, width, query, panels, Init::Zero, out, keys);
    engine.arch().dispatch(Softmax { scores: out, keys, scale: shape.scale() });
}

/// `out: [N, D]`; `scratch` as long as [`Shape::forward_scratch`].
///
/// # Panics
/// If a slice has another length.
pub fn forward(engine: Engine, shape: Shape, inputs: Inputs<'_>, out: &mut [f32], scratch: &mut [f32]) {
    let Shape { queries, keys, dim, heads } = shape;
    assert!(inputs.fits(shape) && out.len() == queries * dim && scratch.len() == shape.forward_scratch());
    let width = shape.head_dim();
    for head in 0..heads {
        probabilities(engine, shape, inputs, head, scratch);
        let (values, stride) = inputs.part(Part::Values, dim, head * width);
        let (p, values, out) = (Left::Rows(scratch, keys), Right::Rows(values, stride), &mut out[head * width..]);
        product(engine, queries, width, keys, p, values, Init::Zero, out, dim);
    }
}

/// The gradients of `inputs` from `grad: [N, D]`, that of [`forward`]'s output; `scratch` as long as
/// [`Shape::backward_scratch`].
///
/// # Panics
/// If a slice has another length.
pub fn backward(
    engine: Engine,
    shape: Shape,
    inputs: Inputs<'_>,
    grad: &[f32],
    mut grads: InputGrads<'_>,
    scratch: &mut [f32],
) {
    let Shape { queries, keys, dim, heads } = shape;
    assert!(inputs.fits(shape) && grads.fits(shape) && grad.len() == queries * dim);
    assert!(scratch.len() == shape.backward_scratch());
    let width = shape.head_dim();
    let (p, score_grad) = scratch.split_at_mut(queries * keys);
    for head in 0..heads {
        let first = head * width;
        let grad = &grad[first..];
        probabilities(engine, shape, inputs, head, p);
        let (values, stride) = inputs.part(Part::Values, dim, first);
        let values = Panels::pack_transposed(engine, values, stride, width, keys);
        let values = Right::Panels(&values);
        product(engine, queries, keys, width, Left::Rows(grad, dim), values, Init::Zero, score_grad, keys);
        engine.arch().dispatch(SoftmaxBackward { probabilities: p, grad: score_grad, keys, scale: shape.scale() });
        let (p, score_grad) = (&*p, &*score_grad);
        let mut part = |left: Left<'_>, (right, stride), part, rows, depth| {
            let (out, out_stride) = grads.part(part, dim, first);
            product(engine, rows, width, depth, left, Right::Rows(right, stride), Init::Zero, out, out_stride);
        };
        part(Left::Columns(p, keys), (grad, dim), Part::Values, keys, queries);
        part(Left::Rows(score_grad, keys), inputs.part(Part::Keys, dim, first), Part::Queries, queries, keys);
        part(Left::Columns(score_grad, keys), inputs.part(Part::Queries, dim, first), Part::Keys, keys, queries);
    }
}
