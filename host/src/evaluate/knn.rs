//! k nearest neighbours by cosine, each neighbour's vote weighted by `exp(cosine / temperature)` (Wu et al. 2018,
//! "Unsupervised Feature Learning via Non-Parametric Instance Discrimination").

use anyhow::{Context as _, ensure};
use burn::tensor::{Device, Tensor, TensorData};

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

/// The share of `test` rows whose class the `k` nearest `train` rows vote for.
///
/// # Errors
/// If a set is empty, or lengths differ.
pub fn accuracy(train: &Labelled, test: &Labelled, k: usize, temperature: f32) -> anyhow::Result<f64> {
    let dim = train.rows.first().context("there are no training images")?.len();
    ensure!(!test.rows.is_empty(), "there are no test images");
    ensure!(train.rows.iter().chain(&test.rows).all(|row| row.len() == dim), "features differ in length");
    ensure!(train.rows.len() == train.labels.len() && test.rows.len() == test.labels.len(), "images without class");
    let classes = train.labels.iter().chain(&test.labels).max().map_or(0, |last| last + 1);
    let device = Device::flex();
    let bank = matrix(&train.rows, dim, &device).transpose();
    let mut right = 0;
    for (rows, labels) in test.rows.chunks(BATCH).zip(test.labels.chunks(BATCH)) {
        let cosines = matrix(rows, dim, &device).matmul(bank.clone()).try_into_vec_as::<f32>();
        let cosines = cosines.map_err(|e| anyhow::anyhow!("{e}"))?;
        for (cosines, label) in cosines.chunks_exact(train.rows.len()).zip(labels) {
            right += usize::from(vote(cosines, &train.labels, k, temperature, classes) == *label);
        }
    }
    Ok(right as f64 / test.rows.len() as f64)
}

/// The class with the heaviest votes; the lowest of equals.
fn vote(cosines: &[f32], labels: &[usize], k: usize, temperature: f32, classes: usize) -> usize {
    let mut order: Vec<usize> = (0..cosines.len()).collect();
    let k = k.clamp(1, order.len());
    if k < order.len() {
        order.select_nth_unstable_by(k - 1, |a, b| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b)));
    }
    let mut votes = vec![0.0_f64; classes];
    for index in &order[..k] {
        votes[labels[*index]] += f64::from((cosines[*index] - 1.0) / temperature).exp();
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
        assert_eq!(accuracy(&train, &test, 5, 0.07).unwrap(), 1.0);
        let wrong = Labelled { labels: vec![1, 2, 3, 0], ..test };
        assert_eq!(accuracy(&train, &wrong, 5, 0.07).unwrap(), 0.0);
        // One very near neighbour outweighs two far ones.
        assert_eq!(vote(&[0.99, 0.2, 0.2], &[1, 0, 0], 3, 0.07, 2), 1);
        assert!(accuracy(&Labelled { rows: vec![], labels: vec![] }, &train, 5, 0.07).is_err());
    }
}
