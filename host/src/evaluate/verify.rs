//! Every exported form in its runtime against the float encoder in burn.

use super::{backend::Encoder, features::Choice};
use crate::{model::encode::Features, tensors::Tensors};
use common::model::EncoderSpec;
use edge::model_folder::ModelFolder;
use serde::Serialize;

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
    let expected = Encoder::burn(spec, tensors)?.features(images, choice, |_| tick())?;
    let compare = |encoder: Encoder| {
        let found = encoder.features(images, choice, |_| tick())?;
        Ok(compare(encoder.form(), &found, &expected))
    };
    Encoder::all(folder).into_iter().map(compare).collect()
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
