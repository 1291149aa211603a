//! Ridge regression of one-hot targets in closed form; its penalty is chosen on a tenth of the training images.

use super::{LinearHead, TrainingSet, descent::shuffled};
use crate::model::classifier::accuracy;
use crate::stream::Stream;
use common::mask::generator;
use ndarray::{Array1, Array2, Axis};

/// Penalties that are tried, in units of a feature's variance.
const PENALTIES: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];
/// Added to variances, so that a constant feature divides by something.
const EPS: f64 = 1e-6;
/// Rows multiplied at a time.
const CHUNK: usize = 4096;

/// Trains on standardised features and folds the standardisation into the weights. The logits are scaled so that
/// their softmax is likeliest on the held-out images: regression to 0 and 1 says nothing about scores by itself.
pub(super) fn train(set: &TrainingSet, seed: u64) -> LinearHead {
    let (mean, std) = statistics(&set.rows);
    let images = set.images();
    let order = shuffled(images, &mut generator(Stream::RidgeSplit.seed(seed), 0));
    let (held, kept) = order.split_at((images / 10).max(1));
    let some = Moments::of(set, kept, (&mean, &std));
    let held_rows: Vec<usize> = held.iter().map(|id| *id as usize).collect();
    let held_labels: Vec<usize> = held_rows.iter().map(|id| set.labels[*id]).collect();
    let held_rows = set.rows.select(Axis(0), &held_rows);
    let (mut best, mut chosen) = (-1.0, (PENALTIES[0], 1.0));
    for penalty in PENALTIES {
        let Some(head) = some.solve(penalty) else { continue };
        let head = head.folded(&mean, &std);
        let found = accuracy(&head.predict(held_rows.view()), &held_labels);
        // Of equals the larger penalty: it generalises better.
        if found >= best {
            (best, chosen) = (found, (penalty, likeliest_scale(&head.logits(held_rows.view()), &held_labels)));
        }
    }
    let all = Moments::of(set, &order, (&mean, &std));
    let (penalty, scale) = chosen;
    let mut head = all.solve(penalty).or_else(|| all.solve(10.0)).map_or_else(
        // Finite features have a positive definite Gram matrix with a penalty of 10 variances.
        || unreachable!("a positive definite matrix has a Cholesky factor"),
        |head| head.folded(&mean, &std),
    );
    head.weights *= scale;
    head.bias *= scale;
    head
}

/// Mean and standard deviation of each feature, `[D]`.
fn statistics(rows: &Array2<f32>) -> (Vec<f64>, Vec<f64>) {
    let count = rows.nrows() as f64;
    let (mut mean, mut variance) = (vec![0.0_f64; rows.ncols()], vec![0.0_f64; rows.ncols()]);
    for row in rows.rows() {
        row.iter().zip(&mut mean).for_each(|(value, sum)| *sum += f64::from(*value) / count);
    }
    for row in rows.rows() {
        for ((value, mean), sum) in row.iter().zip(&mean).zip(&mut variance) {
            *sum += (f64::from(*value) - mean).powi(2) / count;
        }
    }
    (mean, variance.into_iter().map(|variance| (variance + EPS).sqrt()).collect())
}

/// Means over rows: of features, of one-hot targets, and their covariances.
struct Moments {
    /// `[D]`
    mean: Array1<f64>,
    /// `[K]`
    target: Array1<f64>,
    /// `[D, D]`
    gram: Array2<f64>,
    /// `[D, K]`
    cross: Array2<f64>,
}

impl Moments {
    /// Of all views of the images `ids`, standardised.
    fn of(set: &TrainingSet, ids: &[u32], (mean, std): (&[f64], &[f64])) -> Self {
        let (dim, images) = (set.rows.ncols(), set.images());
        let rows: Vec<usize> =
            (0..set.views()).flat_map(|v| ids.iter().map(move |id| v * images + *id as usize)).collect();
        let mut sums = Self {
            mean: Array1::zeros(dim),
            target: Array1::zeros(set.classes),
            gram: Array2::zeros((dim, dim)),
            cross: Array2::zeros((dim, set.classes)),
        };
        for chunk in rows.chunks(CHUNK) {
            let x = Array2::from_shape_fn((chunk.len(), dim), |(row, d)| {
                (f64::from(set.rows[[chunk[row], d]]) - mean[d]) / std[d]
            });
            let mut y = Array2::<f64>::zeros((chunk.len(), set.classes));
            chunk.iter().enumerate().for_each(|(row, id)| y[[row, set.labels[id % images]]] = 1.0);
            sums.mean += &x.sum_axis(Axis(0));
            sums.target += &y.sum_axis(Axis(0));
            sums.gram += &x.t().dot(&x);
            sums.cross += &x.t().dot(&y);
        }
        let count = rows.len() as f64;
        let Self { mean, target, gram, cross } = sums;
        let (mean, target) = (mean / count, target / count);
        let outer =
            |a: &Array1<f64>, b: &Array1<f64>| Array2::from_shape_fn((a.len(), b.len()), |(i, j)| a[i] * b[j]);
        let (gram, cross) = (gram / count - outer(&mean, &mean), cross / count - outer(&mean, &target));
        Self { mean, target, gram, cross }
    }

    /// The classifier of standardised features; none if the matrix is not positive definite in f64.
    fn solve(&self, penalty: f64) -> Option<LinearHead> {
        let mut matrix = self.gram.clone();
        matrix.diag_mut().iter_mut().for_each(|value| *value += penalty);
        let weights = solve(&cholesky(matrix)?, self.cross.clone());
        let bias = &self.target - &weights.t().dot(&self.mean);
        Some(LinearHead { weights: weights.t().mapv(|value| value as f32), bias: bias.mapv(|value| value as f32) })
    }
}

/// The lower factor `L` of a symmetric positive definite matrix `L L^T`, `[D, D]`.
fn cholesky(mut matrix: Array2<f64>) -> Option<Array2<f64>> {
    let dim = matrix.nrows();
    for j in 0..dim {
        for i in j..dim {
            let (row_i, row_j) = (matrix.row(i), matrix.row(j));
            let value = matrix[[i, j]] - row_i.slice(ndarray::s![..j]).dot(&row_j.slice(ndarray::s![..j]));
            matrix[[i, j]] = match i == j {
                true if value > 0.0 => value.sqrt(),
                true => return None,
                false => value / matrix[[j, j]],
            };
        }
    }
    Some(matrix)
}

/// `X` of `L L^T X = B`, `[D, K]`.
fn solve(lower: &Array2<f64>, mut rhs: Array2<f64>) -> Array2<f64> {
    let dim = lower.nrows();
    for mut column in rhs.columns_mut() {
        for i in 0..dim {
            let sum: f64 = (0..i).map(|j| lower[[i, j]] * column[j]).sum();
            column[i] = (column[i] - sum) / lower[[i, i]];
        }
        for i in (0..dim).rev() {
            let sum: f64 = (i + 1..dim).map(|j| lower[[j, i]] * column[j]).sum();
            column[i] = (column[i] - sum) / lower[[i, i]];
        }
    }
    rhs
}

/// The factor of logits `[N, K]` that makes the labels likeliest. The likelihood has one maximum: golden section on
/// the factor's logarithm.
fn likeliest_scale(logits: &Array2<f32>, labels: &[usize]) -> f32 {
    let loss = |log: f64| -> f64 {
        let scale = log.exp();
        let row = |(row, label): (ndarray::ArrayView1<'_, f32>, &usize)| {
            let top = row.fold(f32::NEG_INFINITY, |top, value| top.max(*value));
            let sum: f64 = row.iter().map(|value| (f64::from(value - top) * scale).exp()).sum();
            sum.ln() - f64::from(row[*label] - top) * scale
        };
        logits.rows().into_iter().zip(labels).map(row).sum()
    };
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.01_f64.ln(), 1000.0_f64.ln());
    for _ in 0..40 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left) < loss(right) { high = right } else { low = left }
    }
    ((low + high) / 2.0).exp() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::uniform;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_solution_solves(dim in 1_usize..12, seed: u64, penalty in 1e-3_f64..10.0) {
            let rng = &mut generator(seed, 0);
            let mut random = |rows, cols| Array2::from_shape_simple_fn((rows, cols), || f64::from(uniform(rng)) - 0.5);
            let (a, rhs) = (random(dim + 3, dim), random(dim, 2));
            let mut matrix = a.t().dot(&a);
            matrix.diag_mut().iter_mut().for_each(|value| *value += penalty);
            let x = solve(&cholesky(matrix.clone()).expect("positive definite"), rhs.clone());
            let error = (matrix.dot(&x) - &rhs).iter().fold(0.0_f64, |worst, error| worst.max(error.abs()));
            prop_assert!(error < 1e-9, "{error}");
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(cholesky(ndarray::array![[1.0, 2.0], [2.0, 1.0]]).is_none());
    }

    #[test]
    fn the_penalised_solution_is_where_the_loss_is_flat() {
        let rng = &mut generator(1, 0);
        let rows = Array2::from_shape_simple_fn((60, 4), || uniform(rng));
        let labels: Vec<usize> = (0..60).map(|i| usize::from(rows[[i, 0]] + 0.2 * rows[[i, 2]] > 0.6)).collect();
        let set = TrainingSet { rows, labels, classes: 2 };
        let ids: Vec<u32> = (0..60).collect();
        let same = (vec![0.0; 4], vec![1.0; 4]);
        let head = Moments::of(&set, &ids, (&same.0, &same.1)).solve(0.1).expect("solution");
        let loss = |weights: &Array2<f32>, bias: &Array1<f32>| -> f64 {
            let error = |i: usize, k: usize| {
                let found = f64::from(set.rows.row(i).dot(&weights.row(k)) + bias[k]);
                (found - f64::from(u8::from(set.labels[i] == k))).powi(2) / 60.0
            };
            let squares = weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
            (0..60).flat_map(|i| (0..2).map(move |k| (i, k))).map(|(i, k)| error(i, k)).sum::<f64>() + 0.1 * squares
        };
        let here = loss(&head.weights, &head.bias);
        for (k, d) in [(0, 0), (1, 2), (0, 3)] {
            for step in [-0.02, 0.02] {
                let (mut weights, mut bias) = (head.weights.clone(), head.bias.clone());
                weights[[k, d]] += step;
                assert!(loss(&weights, &bias) > here);
                bias[k] += step;
                assert!(loss(&head.weights, &bias) > here);
            }
        }
    }

    #[test]
    fn the_scale_makes_scores_as_sure_as_they_are_right() {
        // Right three times of four at a margin of 0.1: the likeliest odds are 3 to 1.
        let logits = Array2::from_shape_fn((400, 2), |(i, k)| if (i % 4 == 0) == (k == 0) { 0.1 } else { 0.0 });
        let found = likeliest_scale(&logits, &vec![1; 400]);
        assert!((found - 10.0 * 3.0_f32.ln()).abs() < 0.01, "{found}");
    }
}
