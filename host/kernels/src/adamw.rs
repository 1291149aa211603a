//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in one pass over a parameter.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Numbers that one thread updates at a time.
const CHUNK: usize = 1 << 15;

/// What one step needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1.
    pub number: usize,
}

struct Update<'a> {
    step: Step,
    parameter: &'a mut [f32],
    grad: &'a [f32],
    exp_avg: &'a mut [f32],
    exp_avg_sq: &'a mut [f32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { step, parameter, grad, exp_avg, exp_avg_sq } = self;
        let splat = |v: f32| simd.splat_f32s(v);
        // The corrections in f64: 1 - 0.95^n loses half of its digits in f32.
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(step.number as f64);
        let rate = splat((f64::from(step.lr) / correction(step.beta1)) as f32);
        let root = splat(correction(step.beta2).sqrt().recip() as f32);
        let keep = splat(1.0 - step.lr * step.weight_decay);
        let (beta1, beta2, eps) = (splat(step.beta1), splat(step.beta2), splat(step.eps));
        let (new1, new2) = (splat(1.0 - step.beta1), splat(1.0 - step.beta2));
        let update = |p: S::f32s, g: S::f32s, m: S::f32s, v: S::f32s| {
            let m = simd.mul_add_e_f32s(new1, g, simd.mul_f32s(beta1, m));
            let v = simd.mul_add_e_f32s(simd.mul_f32s(new2, g), g, simd.mul_f32s(beta2, v));
            let divisor = simd.mul_add_e_f32s(simd.sqrt_f32s(v), root, eps);
            let change = simd.div_f32s(simd.mul_f32s(rate, m), divisor);
            (simd.sub_f32s(simd.mul_f32s(p, keep), change), m, v)
        };
        let (ps, p_tail) = S::as_mut_simd_f32s(parameter);
        let (gs, g_tail) = S::as_simd_f32s(grad);
        let (ms, m_tail) = S::as_mut_simd_f32s(exp_avg);
        let (vs, v_tail) = S::as_mut_simd_f32s(exp_avg_sq);
        for (((p, g), m), v) in ps.iter_mut().zip(gs).zip(ms.iter_mut()).zip(vs.iter_mut()) {
            (*p, *m, *v) = update(*p, *g, *m, *v);
        }
        if !p_tail.is_empty() {
            let load = |tail: &[f32]| simd.partial_load_f32s(tail);
            let (p, m, v) = update(load(p_tail), load(g_tail), load(m_tail), load(v_tail));
            simd.partial_store_f32s(p_tail, p);
            simd.partial_store_f32s(m_tail, m);
            simd.partial_store_f32s(v_tail, v);
        }
    }
}

/// Updates a parameter and its moments.
///
/// # Panics
/// If the lengths differ.
pub fn update(
    arch: Arch,
    step: Step,
    parameter: &mut [f32],
    grad: &[f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    let len = parameter.len();
    assert!(grad.len() == len && exp_avg.len() == len && exp_avg_sq.len() == len);
    let parts = parameter.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
    let parts = parts.zip(exp_avg.par_chunks_mut(CHUNK)).zip(exp_avg_sq.par_chunks_mut(CHUNK));
    parts.for_each(|(((parameter, grad), exp_avg), exp_avg_sq)| {
        arch.dispatch(Update { step, parameter, grad, exp_avg, exp_avg_sq });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::every_arch;

    #[test]
    fn ten_steps_equal_those_in_f64() {
        let step = |number| Step { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.05, number };
        for arch in every_arch() {
            let start: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin()).collect();
            let (mut p, mut m, mut v) = (start.clone(), vec![0.0; 37], vec![0.0; 37]);
            let mut exact: Vec<[f64; 3]> = start.iter().map(|p| [f64::from(*p), 0.0, 0.0]).collect();
            for number in 1..=10 {
                let grad: Vec<f32> = (0..37).map(|i| ((i * number) as f32 * 0.3).cos()).collect();
                update(arch, step(number), &mut p, &grad, &mut m, &mut v);
                for ([p, m, v], g) in exact.iter_mut().zip(&grad) {
                    let (g, n) = (f64::from(*g), number as f64);
                    *p *= 1.0 - 1e-2 * 0.05;
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.95 * *v + 0.05 * g * g;
                    *p -= 1e-2 * (*m / (1.0 - 0.9_f64.powf(n))) / ((*v / (1.0 - 0.95_f64.powf(n))).sqrt() + 1e-8);
                }
            }
            for (found, [exact, ..]) in p.iter().zip(&exact) {
                assert!((f64::from(*found) - exact).abs() < 2e-6, "{arch:?}: {found} is not {exact}");
            }
        }
    }
}
