//! A linear classifier on frozen features: the paper's probe (appendix A.1, table 10), AdamW, or ridge regression.

pub mod descent;
pub mod probe;
pub mod ridge;

use crate::model::classifier::argmax;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::Serialize;

/// How the classifier is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The paper's: BatchNorm without scale and shift, LARS.
    Lars,
    /// AdamW on the same BatchNorm.
    Adamw,
    /// Ridge regression to one-hot targets in closed form.
    Closed,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lars => "lars",
            Self::Adamw => "adamw",
            Self::Closed => "closed",
        })
    }
}

/// Training features: `views` blocks of the same `N` images, `[views * N, D]`, row `v * N + i` being a view of image
/// `i`.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    /// `[views * N, D]`.
    pub rows: Array2<f32>,
    /// Class of each image, `[N]`.
    pub labels: Vec<usize>,
    /// Number of classes (`K`).
    pub classes: usize,
}

impl TrainingSet {
    /// Images (`N`).
    #[must_use]
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    /// Rows an image.
    #[must_use]
    pub fn views(&self) -> usize {
        self.rows.nrows() / self.images().max(1)
    }
}

/// Why a classifier cannot be trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinearError {
    /// Nothing to learn from.
    #[error("a linear probe needs at least two classes and ten training images; there are {classes} and {images}")]
    TooFew {
        /// Classes.
        classes: usize,
        /// Training images.
        images: usize,
    },
    /// A feature is infinite or no number.
    #[error("a feature is not finite: the encoder diverged")]
    NotFinite,
    /// The steps grew without bound.
    #[error("the linear probe diverged: its weights are not finite; lower blr")]
    Diverged,
}

/// A classifier `logits = weights x + bias` of raw features.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// `[K, D]`.
    pub weights: Array2<f32>,
    /// `[K]`.
    pub bias: Array1<f32>,
}

impl LinearHead {
    /// The classifier of raw features that equals this one on `(x - mean) / std`.
    #[must_use]
    pub fn folded(mut self, mean: &[f64], std: &[f64]) -> Self {
        for (mut row, bias) in self.weights.rows_mut().into_iter().zip(&mut self.bias) {
            let mut shift = 0.0;
            for ((weight, mean), std) in row.iter_mut().zip(mean).zip(std) {
                let scaled = f64::from(*weight) / std;
                shift += scaled * mean;
                *weight = scaled as f32;
            }
            *bias = (f64::from(*bias) - shift) as f32;
        }
        self
    }

    /// `[N, K]` of features `[N, D]`.
    #[must_use]
    pub fn logits(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        rows.dot(&self.weights.t()) + &self.bias
    }

    /// The class of each row; the lowest of equals.
    #[must_use]
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Vec<usize> {
        self.logits(rows).axis_iter(Axis(0)).map(|logits| argmax(logits.iter().copied())).collect()
    }
}

/// How a classifier was trained, for the user.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Recipe {
    /// The method.
    pub method: Method,
    /// Passes over the images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Base learning rate, for a batch of 256.
    pub blr: f64,
    /// Warm-up, epochs.
    pub warmup_epochs: f64,
    /// Every random choice comes from it.
    pub seed: u64,
}

impl Recipe {
    /// The defaults of a method for `images` training images, in batches of `batch_size` if that is given.
    ///
    /// LARS: the paper's 90 epochs with 10 of warm-up and learning rate 6.4 (blr 0.1, batch 16384), and about as many
    /// steps an epoch as its 78 on ImageNet: a LARS step is relative to the weights' own length, so a small set in
    /// batches of 16384 would take too few of them, and the rate for smaller batches would make them too short.
    #[must_use]
    pub fn new(method: Method, images: usize, batch_size: Option<usize>, seed: u64) -> Self {
        let fitting = 1 << (images / 48).max(1).ilog2();
        let (epochs, largest, lr, warmup_epochs) = match method {
            Method::Lars => (90, 16384, 6.4, 10.0),
            Method::Adamw => (30, 1024, 4e-3, 1.0),
            Method::Closed => {
                return Self { method, epochs: 1, batch_size: images, blr: 0.0, warmup_epochs: 0.0, seed };
            }
        };
        let batch_size = batch_size.unwrap_or_else(|| fitting.clamp(16, largest)).clamp(1, images.max(1));
        Self { method, epochs, batch_size, blr: lr * 256.0 / batch_size as f64, warmup_epochs, seed }
    }

    /// For so many epochs; a short training warms up for a tenth of them.
    #[must_use]
    pub fn with_epochs(self, epochs: usize) -> Self {
        Self { epochs, warmup_epochs: self.warmup_epochs.min(epochs as f64 / 10.0), ..self }
    }
}

/// Trains a classifier; `tick` is called with the epochs done.
///
/// # Errors
/// If there are too few images or classes, or a feature is not finite.
pub fn train(set: &TrainingSet, recipe: &Recipe, tick: impl FnMut(usize)) -> Result<LinearHead, LinearError> {
    let (classes, images) = (set.classes, set.images());
    if classes < 2 || images < 10 {
        return Err(LinearError::TooFew { classes, images });
    }
    if set.rows.iter().any(|value| !value.is_finite()) {
        return Err(LinearError::NotFinite);
    }
    let head = match recipe.method {
        Method::Closed => ridge::train(set, recipe.seed),
        Method::Lars | Method::Adamw => descent::train(set, recipe, tick),
    };
    let finite = head.weights.iter().chain(&head.bias).all(|value| value.is_finite());
    if finite { Ok(head) } else { Err(LinearError::Diverged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::classifier::accuracy;
    use common::mask::{generator, uniform};

    /// Clusters around the corners of a cube, scaled and shifted differently along each axis.
    fn clusters(count: usize, seed: u64) -> TrainingSet {
        let mut rng = generator(seed, 0);
        let labels: Vec<usize> = (0..count).map(|i| i % 8).collect();
        let rows = Array2::from_shape_fn((count, 6), |(i, j)| {
            let noise = (0..4).map(|_| uniform(&mut rng) - 0.5).sum::<f32>();
            let corner = if j < 3 { (labels[i] >> j & 1) as f32 } else { 0.0 };
            (corner + 0.35 * noise) * 10.0_f32.powi(j as i32 - 2) + j as f32
        });
        TrainingSet { rows, labels, classes: 8 }
    }

    #[test]
    fn every_method_separates_clusters() {
        let (train_set, test) = (clusters(800, 1), clusters(400, 2));
        for method in [Method::Lars, Method::Adamw, Method::Closed] {
            let recipe = Recipe::new(method, 800, None, 0);
            let head = train(&train_set, &recipe, |_| ()).expect("trains");
            let found = accuracy(&head.predict(test.rows.view()), &test.labels);
            assert!(found > 0.9, "{method}: {found}");
            assert_eq!(head, train(&train_set, &recipe, |_| ()).expect("trains"), "{method} repeats itself");
        }
    }

    #[test]
    fn on_imagenet_the_defaults_are_the_papers() {
        let recipe = Recipe::new(Method::Lars, 1_281_167, None, 0);
        assert_eq!((recipe.batch_size, recipe.epochs, recipe.warmup_epochs), (16384, 90, 10.0));
        assert!((recipe.blr - 0.1).abs() < 1e-12, "{}", recipe.blr);
    }

    #[test]
    fn too_little_and_too_wild_is_refused() {
        let set = clusters(800, 1);
        let recipe = Recipe::new(Method::Closed, 800, None, 0);
        let one = TrainingSet { classes: 1, labels: vec![0; 800], rows: set.rows.clone() };
        assert!(matches!(train(&one, &recipe, |_| ()), Err(LinearError::TooFew { classes: 1, .. })));
        let mut wild = set.clone();
        wild.rows[[3, 3]] = f32::NAN;
        assert_eq!(train(&wild, &recipe, |_| ()), Err(LinearError::NotFinite));
        let fast = Recipe { blr: 1e38, ..Recipe::new(Method::Lars, 800, None, 0) };
        assert_eq!(train(&set, &fast, |_| ()), Err(LinearError::Diverged));
    }
}
