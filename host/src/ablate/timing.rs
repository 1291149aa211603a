//! How long things take on this device, from a short measurement of each distinct one.

use super::sweep::{Counts, Evaluation, Judging};
use crate::objective::target::FittedTarget;
use crate::{
    bench::{
        flops,
        parts::Feed,
        step::{Stepper, read_loss, sync},
    },
    data::dataset::Dataset,
    device::Chosen,
    evaluate::{
        knn::{self, Labelled, Vote},
        linear::{self, Method, Recipe, TrainingSet},
    },
    model::{
        Classifier, Mae, MaeConfig, MaskBatch,
        classifier::{HeadPool, Trained},
        weights,
    },
    run::RunConfig,
};
use anyhow::Context as _;
use burn::tensor::{Tensor, TensorData};
use common::mask::{MaskKind, generator, uniform};
use ndarray::Array2;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Most operations of a measured step on a CPU; larger batches are cut down.
const MOST: f64 = 60e9;
/// Measured steps take so long together, and are at least [`STEPS`].
const SPAN: Duration = Duration::from_millis(200);
const STEPS: usize = 3;
/// A first step that takes longer is the measurement.
const LONG: Duration = Duration::from_secs(2);
/// Images of measured evaluations.
const IMAGES: usize = 256;
const ROWS: usize = 1024;
/// Small, because the steps learn nothing.
const LR: f64 = 1e-6;

/// Measures on one device, each distinct thing once.
pub struct Timer<'a> {
    chosen: &'a Chosen,
    known: BTreeMap<String, f64>,
}

impl<'a> Timer<'a> {
    /// Nothing is measured yet.
    #[must_use]
    pub fn new(chosen: &'a Chosen) -> Self {
        Self { chosen, known: BTreeMap::new() }
    }

    fn once(&mut self, key: String, measure: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let seconds = measure().with_context(|| format!("measuring {key}"))?;
        self.known.insert(key, seconds);
        Ok(seconds)
    }

    /// A batch that is quickly measured, of `wanted` images of `operations` each.
    fn batch(&self, wanted: usize, operations: f64) -> usize {
        if self.chosen.cuda { wanted } else { ((MOST / operations) as usize).clamp(1, wanted) }
    }

    /// Seconds an image of pre-training, its loading included. `dataset`: the images of the run.
    ///
    /// # Errors
    /// If images cannot be read, or the device fails.
    pub fn training(&mut self, config: &RunConfig, dataset: &Arc<Dataset>) -> anyhow::Result<f64> {
        let (mut preset, device) = (config.preset(), self.chosen.device.clone());
        let operations = flops::training(&preset)? as f64;
        // What changes nothing about the time.
        (preset.train.epochs, preset.train.warmup_epochs, preset.train.seed) = (1, 0.0, 0);
        let key = format!("a step of {preset:?} in {:?}", config.precision);
        preset.train.batch_size = self.batch(preset.train.batch_size.min(dataset.len()), operations);
        let (grid, pixels, precision) = (config.model.grid()?, config.pixels, config.precision);
        self.once(key, || {
            let train = &preset.train;
            let loader = train.loader();
            let target = Arc::new(FittedTarget::fit(train.target, dataset, &grid, pixels, 0)?);
            let feed = || Feed::new(dataset.clone(), grid, pixels, loader, &target);
            // A first round decodes the images of the first steps, as most epochs find them.
            let mut warm = feed();
            (0..2 * STEPS).try_for_each(|_| warm.next_batch().map(drop))?;
            let (mut feed, mut stepper) = (feed(), Stepper::new(&preset, &device, false, precision)?);
            let seconds = median_step(|| {
                let loss = stepper.step(&mut || feed.next_batch(), LR)?;
                sync(&device)?;
                read_loss(loss).map(drop)
            })?;
            Ok(seconds / train.images_a_step() as f64)
        })
    }

    /// Seconds an image of an encoder's features.
    ///
    /// # Errors
    /// If the device fails.
    pub fn encoding(&mut self, config: &RunConfig) -> anyhow::Result<f64> {
        let (model, device) = (geometry(&config.model), self.chosen.device.clone());
        let images = self.batch(IMAGES, flops::encoder(&model)? as f64);
        self.once(format!("features of {model:?}"), || {
            let grid = model.grid()?;
            let tensors = weights::to_tensors(&Mae::new(&model, 0, &device)?, &grid)?;
            let spec = model.encoder_spec(config.pixels, crate::tensors::encoder_hash(&tensors));
            let images = vec![vec![127; grid.image_len()]; images];
            let seconds = median_step(|| super::evaluator::features(&spec, &tensors, &images, &device).map(drop))?;
            Ok(seconds / images.len() as f64)
        })
    }

    /// Seconds an image of a training step of fine-tuning, without its augmentation, which runs beside it.
    fn tuning(&mut self, config: &RunConfig, blocks: Option<f64>, batch: usize) -> anyhow::Result<f64> {
        let (model, device) = (geometry(&config.model), self.chosen.device.clone());
        let batch = self.batch(batch, 3.0 * flops::encoder(&model)? as f64);
        self.once(format!("fine-tuning of {blocks:?} blocks of {model:?}"), || {
            let (grid, device) = (model.grid()?, device.autodiff());
            let trained = blocks.map_or(Some(Trained::All), |blocks| Trained::last_blocks(blocks, model.depth));
            let classifier = Classifier::new(&model, 10, HeadPool::Mean, 0, &device)?;
            let classifier = classifier.with_trained(trained.context("there are not so many blocks")?);
            let masks = MaskBatch::draw(MaskKind::Random, &grid, grid.patches(), 0, 0, batch);
            let values = vec![0.5; batch * grid.image_len()];
            let patches: Tensor<2> =
                Tensor::from_data(TensorData::new(values, [batch * grid.patches(), grid.patch_dim()]), &device);
            let seconds = median_step(|| {
                let output = classifier.forward(patches.clone(), masks.positions(&device), batch, &[]);
                let loss = output.logits.powi_scalar(2).mean();
                let gradients = loss.backward();
                drop(gradients);
                sync(&device)?;
                read_loss(loss.inner()).map(drop)
            })?;
            Ok(seconds / batch as f64)
        })
    }

    /// Seconds of an evaluation, without the features that kNN and linear probes share.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluation(
        &mut self,
        evaluation: Evaluation,
        (config, judging, counts): (&RunConfig, &Judging, Counts),
        training: f64,
    ) -> anyhow::Result<f64> {
        let (dim, (train, test)) = (config.model.dim, (counts.train as f64, counts.test as f64));
        Ok(match evaluation {
            Evaluation::Knn => {
                let pair = self.once(format!("kNN of {dim} values"), || {
                    let (bank, query) = (random(ROWS, dim), random(IMAGES, dim));
                    let of =
                        |rows: Vec<Vec<f32>>| Labelled { labels: (0..rows.len()).map(|i| i % 10).collect(), rows };
                    let (bank, query) = (of(bank), of(query));
                    let votes = [Vote { k: 20, temperature: 0.07 }];
                    let seconds = median_step(|| knn::predict(&bank, &query, &votes).map(drop))?;
                    Ok(seconds / (ROWS * IMAGES) as f64)
                })?;
                pair * train * test
            }
            Evaluation::Linear(method) => {
                let row =
                    self.once(format!("a linear probe by {method} of {dim} values"), || probe(method, dim, counts))?;
                row * train
            }
            Evaluation::Finetune(blocks) => {
                let (step, test_image) =
                    (self.tuning(config, blocks, judging.finetune_batch)?, self.encoding(config)?);
                judging.finetune_epochs as f64 * (step * train + test_image * test)
            }
            // Forward alone, of all patches.
            Evaluation::Seam => training * test,
        })
    }
}

/// What matters to an encoder.
fn geometry(model: &MaeConfig) -> MaeConfig {
    MaeConfig { decoder_dim: 4, decoder_depth: 1, decoder_heads: 1, norm_pix_loss: true, ..model.clone() }
}

fn random(rows: usize, dim: usize) -> Vec<Vec<f32>> {
    let rng = &mut generator(0, 0);
    (0..rows).map(|_| (0..dim).map(|_| uniform(rng) - 0.5).collect()).collect()
}

/// Seconds a training row of a linear probe.
fn probe(method: Method, dim: usize, counts: Counts) -> anyhow::Result<f64> {
    let rows = Array2::from_shape_vec((ROWS, dim), random(ROWS, dim).concat())?;
    let classes = counts.classes.max(2);
    let set = TrainingSet { rows, labels: (0..ROWS).map(|row| row % classes).collect(), classes };
    // Batches as large as those of the whole set, of which a row's share of the time depends.
    let batch = Recipe::new(method, counts.train, None, 0).batch_size;
    let recipe = Recipe::new(method, ROWS, Some(batch.min(ROWS)), 0);
    let begun = Instant::now();
    linear::train(&set, &recipe, |_| ())?;
    Ok(begun.elapsed().as_secs_f64() / ROWS as f64)
}

/// The median of a few steps after the first; of one that takes long the first alone.
fn median_step(mut step: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut lap = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        step()?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let first = lap()?;
    if first > LONG.as_secs_f64() {
        return Ok(first);
    }
    let (begun, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < STEPS || (begun.elapsed() < SPAN && seconds.len() < 100) {
        seconds.push(lap()?);
    }
    Ok(crate::bench::Spread::of(&seconds).context("no step was timed")?.median)
}
