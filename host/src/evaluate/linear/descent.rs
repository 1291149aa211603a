//! The probe by gradient descent: BatchNorm without scale and shift, softmax cross-entropy, LARS or AdamW.

use super::{LinearHead, Method, Recipe, TrainingSet};
use crate::stream::Stream;
use crate::{
    evaluate::lars::{Lars, LarsConfig},
    train::schedule::Schedule,
};
use common::mask::{argsort, generator, uniform};
use kernels::adamw;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// BatchNorm's epsilon in the paper's probe.
const EPS: f64 = 1e-6;
/// Share of a batch in the running statistics, PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Rows that one thread multiplies at a time; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1024;
/// Standard deviation of the first weights.
const INIT: f32 = 0.01;

/// Trains on normalised features and folds the normalisation into the weights.
pub(super) fn train(set: &TrainingSet, recipe: &Recipe, mut tick: impl FnMut(usize)) -> LinearHead {
    let (images, dim) = (set.images(), set.rows.ncols());
    let mut weights = normal(set.classes, dim, recipe.seed);
    let mut bias = Array1::<f32>::zeros(set.classes);
    let mut steps = Steps::new(recipe.method, weights.len(), bias.len());
    let mut norm = BatchNorm::new(dim);
    let batch = recipe.batch_size.clamp(1, images);
    let iterations = images / batch;
    let schedule = Schedule {
        lr: Schedule::scaled_lr(recipe.blr, batch),
        min_lr: 0.0,
        warmup_epochs: recipe.warmup_epochs,
        epochs: recipe.epochs as f64,
    };
    for epoch in 0..recipe.epochs {
        let mut rng = generator(Stream::LinearProbe.seed(recipe.seed), epoch as u64);
        let order = shuffled(images, &mut rng);
        for (iteration, ids) in order.chunks_exact(batch).enumerate() {
            let lr = schedule.at(epoch as f64 + iteration as f64 / iterations as f64) as f32;
            let view = |rng: &mut ChaCha8Rng| (uniform(rng) * set.views() as f32) as usize;
            let rows: Vec<usize> = ids.iter().map(|id| view(&mut rng) * images + *id as usize).collect();
            let labels: Vec<usize> = ids.iter().map(|id| set.labels[*id as usize]).collect();
            let mut x = set.rows.select(Axis(0), &rows);
            norm.train(&mut x);
            let (grad_weights, grad_bias) = gradient(x.view(), &labels, &weights, &bias);
            steps.step(&mut weights, &mut bias, &grad_weights, &grad_bias, lr);
        }
        tick(epoch + 1);
    }
    LinearHead { weights, bias }.folded(&norm.mean, &norm.std())
}

/// A permutation of `0..count`.
pub(super) fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let noise: Vec<f32> = (0..count).map(|_| uniform(rng)).collect();
    let mut order = vec![0; count];
    argsort(&noise, &mut order);
    order
}

/// N(0, [`INIT`]^2), `[K, D]`.
fn normal(classes: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = generator(Stream::LinearProbe.seed(seed), u64::MAX);
    Array2::from_shape_simple_fn((classes, dim), || {
        // Box and Muller; 1 - u is never 0.
        let (radius, angle) = (1.0 - uniform(&mut rng), uniform(&mut rng) * std::f32::consts::TAU);
        INIT * (-2.0 * radius.ln()).sqrt() * angle.cos()
    })
}

/// Gradients of the mean cross-entropy for the weights `[K, D]` and the bias `[K]`. `x`: `[B, D]`; `labels`: `[B]`.
fn gradient(
    x: ArrayView2<'_, f32>,
    labels: &[usize],
    weights: &Array2<f32>,
    bias: &Array1<f32>,
) -> (Array2<f32>, Array1<f32>) {
    let scale = 1.0 / labels.len() as f32;
    let chunk = |start: usize| {
        let end = (start + CHUNK).min(labels.len());
        let x = x.slice(s![start..end, ..]);
        // softmax(logits) - one-hot
        let mut delta = x.dot(&weights.t()) + bias;
        for (mut row, label) in delta.rows_mut().into_iter().zip(&labels[start..end]) {
            let top = row.fold(f32::NEG_INFINITY, |top, value| top.max(*value));
            row.mapv_inplace(|value| (value - top).exp());
            let sum = row.sum();
            row.mapv_inplace(|value| value / sum * scale);
            row[*label] -= scale;
        }
        (delta.t().dot(&x), delta.sum_axis(Axis(0)))
    };
    let starts: Vec<usize> = (0..labels.len()).step_by(CHUNK).collect();
    let parts: Vec<_> = starts.into_par_iter().map(chunk).collect();
    let zero = (Array2::zeros(weights.raw_dim()), Array1::zeros(bias.raw_dim()));
    parts.into_iter().fold(zero, |sum, part| (sum.0 + part.0, sum.1 + part.1))
}

/// BatchNorm without scale and shift.
struct BatchNorm {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl BatchNorm {
    fn new(dim: usize) -> Self {
        Self { mean: vec![0.0; dim], variance: vec![1.0; dim] }
    }

    /// Normalises a batch `[B, D]` by its own statistics (biased variance) and adds them to the running ones
    /// (unbiased variance), as PyTorch does.
    fn train(&mut self, x: &mut Array2<f32>) {
        let count = x.nrows() as f64;
        let (mut sum, mut squares) = (vec![0.0_f64; x.ncols()], vec![0.0_f64; x.ncols()]);
        for row in x.rows() {
            row.iter().zip(&mut sum).for_each(|(value, sum)| *sum += f64::from(*value));
        }
        let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
        for row in x.rows() {
            for ((value, mean), sum) in row.iter().zip(&mean).zip(&mut squares) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        let scale: Vec<f32> = squares.iter().map(|sum| (sum / count + EPS).sqrt().recip() as f32).collect();
        for mut row in x.rows_mut() {
            for ((value, mean), scale) in row.iter_mut().zip(&mean).zip(&scale) {
                *value = (*value - *mean as f32) * scale;
            }
        }
        let running = |old: &mut f64, new: f64| *old += MOMENTUM * (new - *old);
        self.mean.iter_mut().zip(mean).for_each(|(old, new)| running(old, new));
        let unbiased = squares.iter().map(|sum| sum / (count - 1.0).max(1.0));
        self.variance.iter_mut().zip(unbiased).for_each(|(old, new)| running(old, new));
    }

    fn std(&self) -> Vec<f64> {
        self.variance.iter().map(|variance| (variance + EPS).sqrt()).collect()
    }
}

/// The optimizer of both parameters.
enum Steps {
    Lars(Lars, Lars),
    Adamw { moments: [Vec<f32>; 4], number: usize },
}

impl Steps {
    fn new(method: Method, weights: usize, bias: usize) -> Self {
        match method {
            Method::Adamw => {
                let moments = [weights, weights, bias, bias].map(|len| vec![0.0; len]);
                Self::Adamw { moments, number: 0 }
            }
            Method::Lars | Method::Closed => {
                let config = LarsConfig::default();
                Self::Lars(Lars::matrix(config, weights), Lars::vector(config, bias))
            }
        }
    }

    fn step(
        &mut self,
        weights: &mut Array2<f32>,
        bias: &mut Array1<f32>,
        grad_weights: &Array2<f32>,
        grad_bias: &Array1<f32>,
        lr: f32,
    ) {
        let (Some(w), Some(b)) = (weights.as_slice_mut(), bias.as_slice_mut()) else {
            unreachable!("made contiguous")
        };
        // A transposed product may come in another order of memory.
        let (grad_weights, grad_bias) = (grad_weights.as_standard_layout(), grad_bias.as_standard_layout());
        let (Some(gw), Some(gb)) = (grad_weights.as_slice(), grad_bias.as_slice()) else {
            unreachable!("in standard layout")
        };
        match self {
            Self::Lars(for_weights, for_bias) => {
                for_weights.step(w, gw, lr);
                for_bias.step(b, gb, lr);
            }
            Self::Adamw { moments: [m_w, v_w, m_b, v_b], number } => {
                *number += 1;
                let step =
                    adamw::Step { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, number: *number };
                adamw::update(kernels::Arch::new(), step, w, gw, m_w, v_w);
                adamw::update(kernels::Arch::new(), step, b, gb, m_b, v_b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(x: &Array2<f32>, labels: &[usize], weights: &Array2<f32>, bias: &Array1<f32>) -> f64 {
        let logits = x.dot(&weights.t()) + bias;
        let row = |(row, label): (ndarray::ArrayView1<'_, f32>, &usize)| {
            row.iter().map(|value| f64::from(*value).exp()).sum::<f64>().ln() - f64::from(row[*label])
        };
        logits.rows().into_iter().zip(labels).map(row).sum::<f64>() / labels.len() as f64
    }

    #[test]
    fn the_gradient_is_that_of_the_cross_entropy() {
        let rng = &mut generator(3, 0);
        let mut random = |rows, cols| Array2::from_shape_simple_fn((rows, cols), || uniform(rng) * 2.0 - 1.0);
        // More rows than one chunk.
        let (x, weights) = (random(CHUNK + 300, 5), random(4, 5));
        let bias = random(1, 4).row(0).to_owned();
        let labels: Vec<usize> = (0..x.nrows()).map(|i| i * 7 % 4).collect();
        let (grad_weights, grad_bias) = gradient(x.view(), &labels, &weights, &bias);
        let h = 1e-2;
        for (k, d) in [(0, 0), (1, 3), (3, 4), (2, 1)] {
            let at = |step: f32| {
                let mut moved = weights.clone();
                moved[[k, d]] += step;
                loss(&x, &labels, &moved, &bias)
            };
            let slope = (at(h) - at(-h)) / f64::from(2.0 * h);
            assert!((slope - f64::from(grad_weights[[k, d]])).abs() < 1e-4, "{slope} {}", grad_weights[[k, d]]);
            let at = |step: f32| {
                let mut moved = bias.clone();
                moved[k] += step;
                loss(&x, &labels, &weights, &moved)
            };
            let slope = (at(h) - at(-h)) / f64::from(2.0 * h);
            assert!((slope - f64::from(grad_bias[k])).abs() < 1e-4, "{slope} {}", grad_bias[k]);
        }
    }

    #[test]
    fn batch_norm_normalises_and_remembers_as_pytorch() {
        // torch.nn.BatchNorm1d(2, affine=False, eps=1e-6) on these rows.
        let mut x = ndarray::array![[1.0_f32, 10.0], [3.0, 10.5], [8.0, 9.5]];
        let mut norm = BatchNorm::new(2);
        norm.train(&mut x);
        let expected = ndarray::array![[-1.019_049_3, 0.0], [-0.339_683_1, 1.224_741_4], [1.358_732_5, -1.224_741_4]];
        assert!((&x - &expected).iter().all(|error| error.abs() < 2e-6), "{x}");
        let near = |found: &[f64], expected: [f64; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&norm.mean, [0.4, 1.0]), "{:?}", norm.mean);
        assert!(near(&norm.variance, [2.2, 0.925]), "{:?}", norm.variance);
    }

    #[test]
    fn first_weights_are_normal() {
        let weights = normal(100, 100, 5);
        let mean = f64::from(weights.sum()) / 1e4;
        let deviation = (weights.iter().map(|w| (f64::from(*w) - mean).powi(2)).sum::<f64>() / 1e4).sqrt();
        assert!(mean.abs() < 5e-4 && (deviation - 0.01).abs() < 3e-4, "{mean} {deviation}");
    }
}
