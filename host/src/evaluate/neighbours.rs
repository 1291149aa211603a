//! What the nearest training images say about the test images, by each encoder's features.

use super::{
    backend::Backend,
    encoders::Encoders,
    knn::{Labelled, Vote, predict},
    sets::Sets,
};
use crate::{
    device::precision::Precision as Arithmetic,
    model::{Mae, MaeConfig, classifier::accuracy, weights},
};
use anyhow::Context as _;
use burn::tensor::Device;
use common::model::EncoderSpec;
use serde::Serialize;

/// The accuracy of one way to vote on one kind of features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Whose features.
    pub name: String,
    /// Neighbours.
    pub k: usize,
    /// Of the votes' weights.
    pub temperature: f64,
    /// Share of test images that are recognised.
    pub accuracy: f64,
}

/// All rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
    /// The class of each test image by the first row.
    pub first: Vec<usize>,
}

/// The accuracies of every encoder and vote; with `baselines` also those of the same encoder with random weights and
/// of raw pixels. `show` gets each row when it is known.
///
/// # Errors
/// If an image does not fit, or an encoder fails.
pub fn classify(
    encoders: Encoders,
    sets: &Sets,
    votes: &[Vote],
    baselines: bool,
    mut show: impl FnMut(&Row),
) -> anyhow::Result<Table> {
    let (mut rows, mut first) = (Vec::new(), None);
    let mut add = |name: &str, train: Vec<Vec<f32>>, test: Vec<Vec<f32>>| -> anyhow::Result<()> {
        let train = Labelled { rows: train, labels: sets.train_labels.clone() };
        let test = Labelled { rows: test, labels: sets.test_labels.clone() };
        for (Vote { k, temperature }, found) in votes.iter().copied().zip(predict(&train, &test, votes)?) {
            let row = Row { name: name.into(), k, temperature, accuracy: accuracy(&found, &test.labels) };
            show(&row);
            rows.push(row);
            first.get_or_insert(found);
        }
        Ok(())
    };
    let (train, test) = (&sets.train.images, &sets.test.images);
    for encoder in &encoders.list {
        add(&encoder.name(), encoders.encode(encoder, train, 0)?, encoders.encode(encoder, test, 0)?)?;
    }
    if baselines {
        let spec = encoders.spec;
        let random = random(&spec)?;
        let encoders = Encoders { list: Vec::new(), ..encoders };
        add("random weights", encoders.encode(&random, train, 0)?, encoders.encode(&random, test, 0)?)?;
        let pixels = |images: &[Vec<u8>]| images.iter().map(|pixels| raw(&spec, pixels)).collect();
        add("raw pixels", pixels(train), pixels(test))?;
    }
    Ok(Table { rows, first: first.context("nothing was evaluated")? })
}

/// An encoder of random weights.
fn random(spec: &EncoderSpec) -> anyhow::Result<Backend> {
    let config = MaeConfig::for_encoder(spec);
    let tensors = weights::to_tensors(&Mae::new(&config, 0, &Device::flex())?, &config.grid()?)?;
    Backend::burn(spec, &tensors, Arithmetic::Fp32)
}

/// Normalised pixels, `[H * W * C]`.
fn raw(spec: &EncoderSpec, pixels: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    spec.pixels.normalize_image(pixels, spec.channels as usize, &mut out);
    out
}
