//! k nearest neighbours by cosine, each neighbour's vote weighted by `exp(cosine / temperature)` (Wu et al. 2018,
//! "Unsupervised Feature Learning via Non-Parametric Instance Discrimination").

use anyhow::{Context as _, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// Test images compared at once.
const BATCH: usize = 256;

/// Vectors with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// One row an image, all of one length.
    pub rows: Vec<Vec<f32>>,
    /// Class of each row.
    pub labels: Vec<usize>,
}

/// One way to vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vote {
    /// Neighbours.
    pub k: usize,
    /// A vote weighs `exp(cosine / temperature)`.
    pub temperature: f64,
}

/// For each way to vote, the class that each `test` row's nearest `train` rows vote for.
///
/// # Errors
/// If a set is empty, or lengths differ.
pub fn predict(train: &Labelled, test: &Labelled, votes: &[Vote]) -> anyhow::Result<Vec<Vec<usize>>> {
    let dim = train.rows.first().context("there are no training images")?.len();
    ensure!(!test.rows.is_empty(), "there are no test images");
    ensure!(train.rows.iter().chain(&test.rows).all(|row| row.len() == dim), "features differ in length");
    ensure!(train.rows.len() == train.labels.len() && test.rows.len() == test.labels.len(), "images without class");
    let classes = train.labels.iter().max().map_or(0, |last| last + 1);
    let most = votes.iter().map(|vote| vote.k).max().unwrap_or(1);
    let device = Device::flex();
    let bank = matrix(&train.rows, dim, &device).transpose();
    let mut found = vec![Vec::with_capacity(test.rows.len()); votes.len()];
    for rows in test.rows.chunks(BATCH) {
        let cosines = matrix(rows, dim, &device).matmul(bank.clone()).try_into_vec_as::<f32>();
        let cosines = cosines.map_err(|e| anyhow::anyhow!("{e}"))?;
        let nearest: Vec<Vec<(f32, usize)>> =
            cosines.par_chunks_exact(train.rows.len()).map(|row| nearest(row, &train.labels, most)).collect();
        for (found, way) in found.iter_mut().zip(votes) {
            found.extend(nearest.iter().map(|nearest| winner(nearest, *way, classes)));
        }
    }
    Ok(found)
}

/// Rows of the `k` largest cosines, the largest first; of equals the first row.
#[must_use]
pub fn largest(cosines: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cosines.len()).collect();
    let nearer = |a: &usize, b: &usize| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b));
    if k == 0 {
        return Vec::new();
    }
    if k < order.len() {
        order.select_nth_unstable_by(k - 1, nearer);
        order.truncate(k);
    }
    order.sort_unstable_by(nearer);
    order
}

/// Cosine and class of the `k` (at least one) largest cosines, the largest first.
fn nearest(cosines: &[f32], labels: &[usize], k: usize) -> Vec<(f32, usize)> {
    largest(cosines, k.max(1)).into_iter().map(|row| (cosines[row], labels[row])).collect()
}

/// The class with the heaviest votes of the first `k`; the lowest of equals.
fn winner(nearest: &[(f32, usize)], Vote { k, temperature }: Vote, classes: usize) -> usize {
    let mut votes = vec![0.0_f64; classes];
    for (cosine, label) in nearest.iter().take(k.max(1)) {
        votes[*label] += ((f64::from(*cosine) - 1.0) / temperature).exp();
    }
    (0..classes).rev().max_by(|a, b| votes[*a].total_cmp(&votes[*b])).unwrap_or(0)
}

/// Rows of length 1, `[N, D]`.
fn matrix(rows: &[Vec<f32>], dim: usize, device: &Device) -> Tensor<2> {
    let unit = |row: &Vec<f32>| {
        let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt().max(1e-12) as f32;
        row.iter().map(|value| value / norm).collect::<Vec<_>>()
    };
    let values: Vec<f32> = rows.iter().flat_map(unit).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), dim]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_told_apart_and_neighbours_count_by_nearness() {
        let point = |angle: f32, length: f32| vec![angle.cos() * length, angle.sin() * length];
        let train = Labelled {
            rows: (0..40).map(|i| point((i % 4) as f32 + 0.01 * i as f32, 1.0 + i as f32)).collect(),
            labels: (0..40).map(|i| i % 4).collect(),
        };
        let test = Labelled { rows: (0..4).map(|i| point(i as f32 + 0.2, 0.1)).collect(), labels: vec![0, 1, 2, 3] };
        let ways =
            [Vote { k: 5, temperature: 0.07 }, Vote { k: 1, temperature: 0.07 }, Vote { k: 40, temperature: 1e6 }];
        let found = predict(&train, &test, &ways).unwrap();
        assert_eq!(found[..2], [test.labels.clone(), test.labels.clone()]);
        // All rows with equal weight: every class has ten votes.
        assert_eq!(found[2].len(), 4);
        // One very near neighbour outweighs two far ones, unless the temperature is high or it is not asked.
        let row = nearest(&[0.2, 0.99, 0.2], &[0, 1, 0], 3);
        assert_eq!(row, [(0.99, 1), (0.2, 0), (0.2, 0)]);
        let winner = |k, temperature| winner(&row, Vote { k, temperature }, 2);
        assert_eq!([winner(3, 0.07), winner(3, 100.0), winner(1, 100.0)], [1, 0, 1]);
        let none = Labelled { rows: vec![], labels: vec![] };
        assert!(predict(&none, &train, &ways).is_err() && predict(&train, &none, &ways).is_err());
    }
}
