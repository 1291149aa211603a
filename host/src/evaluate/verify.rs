//! Every exported form in its runtime against the float encoder in burn.

use super::{
    backend::Backend,
    features::Choice,
    knn::{Labelled, Vote, predict},
    sets::Sets,
};
use crate::{
    device::precision::Precision as Arithmetic,
    model::{classifier::accuracy, encode::Features},
    progress::bar,
    run::load_encoder,
    tensors::Tensors,
};
use common::model::EncoderSpec;
use edge::model_folder::{ModelFolder, Precision};
use serde::Serialize;
use std::path::Path;

/// How near one form comes to the float encoder, over images and both poolings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The form: an ONNX one in tract, or `native`.
    pub form: String,
    /// Mean cosine of the mean-pooled features.
    pub mean_cosine: f64,
    /// The worst image's.
    pub worst_cosine: f64,
    /// Mean cosine of the class tokens.
    pub cls_mean_cosine: f64,
    /// The worst image's.
    pub cls_worst_cosine: f64,
    /// Largest absolute difference of any value.
    pub max_error: f64,
}

/// Compares all forms of `folder` on `images` (`[H, W, C]` each).
///
/// # Errors
/// If a form cannot be run.
pub fn verify(
    folder: &ModelFolder,
    reference: (&EncoderSpec, &Tensors),
    images: &[Vec<u8>],
    choice: Choice,
    tick: impl Fn() + Sync,
) -> anyhow::Result<Vec<Agreement>> {
    let (spec, tensors) = reference;
    let expected = Backend::burn(spec, tensors, Arithmetic::Fp32)?.features(images, choice, |_| tick())?;
    let compare = |encoder: Backend| {
        let found = encoder.features(images, choice, |_| tick())?;
        Ok(compare(encoder.precision(), &found, &expected))
    };
    Backend::all(folder).into_iter().map(compare).collect()
}

/// The model folder at `model` and the float encoder to compare it with: that of `run`, or its own.
///
/// # Errors
/// If a folder is none, or the model was not exported from the run.
pub fn open(model: &Path, run: Option<&Path>) -> anyhow::Result<(ModelFolder, EncoderSpec, Tensors)> {
    let folder = edge::options::open_model(model)?;
    let reference = run.unwrap_or(model);
    let (spec, tensors) = load_encoder(reference)?;
    if spec.hash != folder.spec().hash && (run.is_some() || folder.precisions().contains(&Precision::F32)) {
        anyhow::bail!(
            "{} (model {}) was not exported from {} (model {})",
            model.display(),
            folder.spec().hash,
            reference.display(),
            spec.hash
        );
    }
    Ok((folder, spec, tensors))
}

/// kNN accuracy (20 neighbours, temperature 0.07) by the float encoder and by every form, with their names.
///
/// # Errors
/// If a form cannot be run.
pub fn neighbours(
    folder: &ModelFolder,
    (spec, tensors): (&EncoderSpec, &Tensors),
    sets: &Sets,
    choice: Choice,
) -> anyhow::Result<Vec<(String, f64)>> {
    let encoders = std::iter::once(Backend::burn(spec, tensors, Arithmetic::Fp32)?).chain(Backend::all(folder));
    let judge = |encoder: Backend| -> anyhow::Result<(String, f64)> {
        let bar = bar(sets.train.images.len() + sets.test.images.len(), "kNN");
        let labelled = |images: &[Vec<u8>], labels: &[usize]| -> anyhow::Result<Labelled> {
            let before = bar.position();
            let tick = |done| bar.set_position(before + done as u64);
            let rows = encoder.encode(images, choice, spec.pooling, tick)?;
            Ok(Labelled { rows, labels: labels.to_vec() })
        };
        let train = labelled(&sets.train.images, &sets.train_labels)?;
        let test = labelled(&sets.test.images, &sets.test_labels)?;
        bar.finish_and_clear();
        let found = predict(&train, &test, &[Vote { k: 20, temperature: 0.07 }])?;
        Ok((encoder.name(), accuracy(&found[0], &sets.test_labels)))
    };
    encoders.map(judge).collect()
}

fn compare(form: String, found: &[Features], expected: &[Features]) -> Agreement {
    let cosines = |pick: fn(&Features) -> &[f32]| -> (f64, f64) {
        let cosines: Vec<f64> = found.iter().zip(expected).map(|(a, b)| cosine(pick(a), pick(b))).collect();
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        (cosines.iter().sum::<f64>() / cosines.len().max(1) as f64, worst)
    };
    let (mean_cosine, worst_cosine) = cosines(|features| &features.mean);
    let (cls_mean_cosine, cls_worst_cosine) = cosines(|features| &features.cls);
    let pairs = found.iter().zip(expected).flat_map(|(a, b)| {
        a.mean.iter().zip(&b.mean).chain(a.cls.iter().zip(&b.cls)).map(|(a, b)| f64::from((a - b).abs()))
    });
    let max_error = pairs.fold(0.0, f64::max);
    Agreement { form, mean_cosine, worst_cosine, cls_mean_cosine, cls_worst_cosine, max_error }
}

/// Cosine of the angle between two vectors; 0 if one is zero.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
