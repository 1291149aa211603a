//! Every exported form in the device's runtime against the float encoder in burn.

use super::features::{Choice, with_burn, with_tract};
use crate::{
    checkpoint::Tensors,
    model::{BurnEncoder, encode::Features},
};
use common::model::EncoderSpec;
use edge::{
    model_folder::{ModelFolder, Precision},
    tract_runtime::TractEncoder,
};
use serde::Serialize;

/// How near one form comes to the float encoder, over images and both poolings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The form.
    pub form: Precision,
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
    mut tick: impl FnMut(),
) -> anyhow::Result<Vec<Agreement>> {
    let (spec, tensors) = reference;
    let expected = with_burn(&BurnEncoder::new(spec, tensors)?, spec, images, choice, |_| tick())?;
    folder
        .forms()
        .into_iter()
        .map(|form| {
            let found = with_tract(&mut TractEncoder::load(folder, form)?, images, (choice, 0), |_| tick())?;
            Ok(compare(form, &found, &expected))
        })
        .collect()
}

fn compare(form: Precision, found: &[Features], expected: &[Features]) -> Agreement {
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

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
