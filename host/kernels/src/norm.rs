//! LayerNorm over rows.

use crate::{plan::Plan, vector};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Mean and reciprocal standard deviation of a row, as the backward pass needs them.
pub type Statistics = [f32; 2];

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
    statistics: &'a mut [Statistics],
}

/// Sums of a slice of vectors, `f(x)` each, in two accumulators.
#[inline(always)]
fn sum<S: Simd>(simd: S, row: &[f32], f: impl Fn(S::f32s) -> S::f32s) -> f32 {
    let (head, tail) = S::as_simd_f32s(row);
    let mut sums = [simd.splat_f32s(0.0); 2];
    let (pairs, last) = pulp::as_arrays::<2, _>(head);
    for [a, b] in pairs {
        sums[0] = simd.add_f32s(sums[0], f(*a));
        sums[1] = simd.add_f32s(sums[1], f(*b));
    }
    for a in last {
        sums[0] = simd.add_f32s(sums[0], f(*a));
    }
    let mut sum = simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
    for x in tail {
        sum += lane::<S>(f(simd.splat_f32s(*x)));
    }
    sum
}

/// The first lane.
#[inline(always)]
fn lane<S: Simd>(value: S::f32s) -> f32 {
    pulp::bytemuck::bytes_of(&value)[..4].try_into().map_or(0.0, f32::from_ne_bytes)
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, bias, eps, out, statistics } = self;
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(statistics);
        let (weight, weight_tail) = S::as_simd_f32s(weight);
        let (bias, bias_tail) = S::as_simd_f32s(bias);
        for ((x, out), statistics) in rows {
            let mean = sum(simd, x, |v| v) / width as f32;
            let means = simd.splat_f32s(mean);
            let variance = sum(simd, x, |v| {
                let d = simd.sub_f32s(v, means);
                simd.mul_f32s(d, d)
            }) / width as f32;
            let scale = (variance + eps).sqrt().recip();
            *statistics = [mean, scale];
            let scales = simd.splat_f32s(scale);
            let (head, tail) = S::as_simd_f32s(x);
            let (out, out_tail) = S::as_mut_simd_f32s(out);
            for (((x, out), weight), bias) in head.iter().zip(out).zip(weight).zip(bias) {
                let normed = simd.mul_f32s(simd.sub_f32s(*x, means), scales);
                *out = simd.mul_add_e_f32s(normed, *weight, *bias);
            }
            for (((x, out), weight), bias) in tail.iter().zip(out_tail).zip(weight_tail).zip(bias_tail) {
                *out = (x - mean) * scale * weight + bias;
            }
        }
    }
}

/// `out = (x - mean) / sqrt(var + eps) * weight + bias`, row by row. `x`, `out`: `[R, W]`; `statistics`: `[R]`.
///
/// # Panics
/// If the lengths disagree.
pub fn forward(
    arch: Arch,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
    statistics: &mut [Statistics],
) {
    assert!(x.len() == out.len() && weight.len() == bias.len() && x.len() == weight.len() * statistics.len());
    arch.dispatch(Forward { x, weight, bias, eps, out, statistics });
}

struct Backward<'a> {
    grad: &'a [f32],
    x: &'a [f32],
    weight: &'a [f32],
    statistics: &'a [Statistics],
    x_grad: &'a mut [f32],
    weight_grad: &'a mut [f32],
    bias_grad: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { grad, x, weight, statistics, x_grad, weight_grad, bias_grad } = self;
        let width = weight.len();
        let (weights, weight_tail) = S::as_simd_f32s(weight);
        let (weight_grads, weight_grad_tail) = S::as_mut_simd_f32s(weight_grad);
        let (bias_grads, bias_grad_tail) = S::as_mut_simd_f32s(bias_grad);
        let rows = grad.chunks_exact(width).zip(x.chunks_exact(width)).zip(x_grad.chunks_exact_mut(width));
        for (((grad, x), x_grad), [mean, scale]) in rows.zip(statistics) {
            let (means, scales) = (simd.splat_f32s(*mean), simd.splat_f32s(*scale));
            let (grads, grad_tail) = S::as_simd_f32s(grad);
            let (xs, x_tail) = S::as_simd_f32s(x);
            let (mut sums, mut products) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
            let columns = grads.iter().zip(xs).zip(weights).zip(weight_grads.iter_mut()).zip(bias_grads.iter_mut());
            for ((((grad, x), weight), weight_grad), bias_grad) in columns {
                let normed = simd.mul_f32s(simd.sub_f32s(*x, means), scales);
                *weight_grad = simd.mul_add_e_f32s(*grad, normed, *weight_grad);
                *bias_grad = simd.add_f32s(*bias_grad, *grad);
                let scaled = simd.mul_f32s(*grad, *weight);
                sums = simd.add_f32s(sums, scaled);
                products = simd.mul_add_e_f32s(scaled, normed, products);
            }
            let (mut sum, mut product) = (simd.reduce_sum_f32s(sums), simd.reduce_sum_f32s(products));
            for i in 0..grad_tail.len() {
                let (grad, normed) = (grad_tail[i], (x_tail[i] - mean) * scale);
                weight_grad_tail[i] += grad * normed;
                bias_grad_tail[i] += grad;
                sum += grad * weight_tail[i];
                product += grad * weight_tail[i] * normed;
            }
            let (sum, product) = (sum / width as f32, product / width as f32);
            let (sums, products) = (simd.splat_f32s(sum), simd.splat_f32s(product));
            let (x_grads, x_grad_tail) = S::as_mut_simd_f32s(x_grad);
            for (((grad, x), weight), x_grad) in grads.iter().zip(xs).zip(weights).zip(x_grads) {
                let normed = simd.mul_f32s(simd.sub_f32s(*x, means), scales);
                let inner = simd.sub_f32s(simd.mul_f32s(*grad, *weight), sums);
                let inner = simd.sub_f32s(inner, simd.mul_f32s(normed, products));
                *x_grad = simd.mul_add_e_f32s(inner, scales, *x_grad);
            }
            for i in 0..grad_tail.len() {
                let normed = (x_tail[i] - mean) * scale;
                x_grad_tail[i] += (grad_tail[i] * weight_tail[i] - sum - normed * product) * scale;
            }
        }
    }
}

/// Adds the gradients of [`forward`] to `x_grad: [R, W]`, `weight_grad: [W]` and `bias_grad: [W]`. `grad`: `[R, W]`.
///
/// # Panics
/// If the lengths disagree.
#[expect(clippy::too_many_arguments, reason = "inputs and gradients of three parameters")]
pub fn backward(
    arch: Arch,
    grad: &[f32],
    x: &[f32],
    weight: &[f32],
    statistics: &[Statistics],
    x_grad: &mut [f32],
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let width = weight.len();
    assert!(grad.len() == x.len() && x.len() == x_grad.len() && x.len() == width * statistics.len());
    assert!(weight_grad.len() == width && bias_grad.len() == width);
    arch.dispatch(Backward { grad, x, weight, statistics, x_grad, weight_grad, bias_grad });
}

/// [`forward`] on all shards of `plan`. Returns the output, `[R, W]`, and the statistics, `[R]`.
///
/// # Panics
/// If the lengths disagree.
#[must_use]
pub fn forward_shards(plan: Plan, x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> (Vec<f32>, Vec<Statistics>) {
    let (rows, width) = (x.len() / weight.len(), weight.len());
    let shard = rows.div_ceil(plan.shards.max(1)).max(1);
    let (mut out, mut statistics) = (vec![0.0; x.len()], vec![[0.0; 2]; rows]);
    let parts = x.par_chunks(shard * width).zip(out.par_chunks_mut(shard * width));
    parts.zip(statistics.par_chunks_mut(shard)).for_each(|((x, out), statistics)| {
        forward(plan.engine.arch(), x, weight, bias, eps, out, statistics);
    });
    (out, statistics)
}

/// [`backward`] on all shards of `plan`. Returns the gradients of `x`, `weight` and `bias`.
///
/// # Panics
/// If the lengths disagree.
#[must_use]
pub fn backward_shards(
    plan: Plan,
    grad: &[f32],
    x: &[f32],
    weight: &[f32],
    statistics: &[Statistics],
) -> [Vec<f32>; 3] {
    let width = weight.len();
    let shard = statistics.len().div_ceil(plan.shards.max(1)).max(1);
    let mut x_grad = vec![0.0; x.len()];
    let inputs = grad.par_chunks(shard * width).zip(x.par_chunks(shard * width)).zip(statistics.par_chunks(shard));
    let parts = inputs.zip(x_grad.par_chunks_mut(shard * width)).map(|(((grad, x), statistics), x_grad)| {
        let (mut weight_grad, mut bias_grad) = (vec![0.0; width], vec![0.0; width]);
        backward(plan.engine.arch(), grad, x, weight, statistics, x_grad, &mut weight_grad, &mut bias_grad);
        (weight_grad, bias_grad)
    });
    let parts: Vec<_> = parts.collect();
    let (mut weight_grad, mut bias_grad) = (vec![0.0; width], vec![0.0; width]);
    for (weight, bias) in parts {
        vector::add(plan.engine.arch(), &mut weight_grad, &weight);
        vector::add(plan.engine.arch(), &mut bias_grad, &bias);
    }
    [x_grad, weight_grad, bias_grad]
}
