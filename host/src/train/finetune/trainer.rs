//! The loop of fine-tuning.

use super::{
    config::FinetuneConfig,
    folder::{FinetuneFolder, Metrics},
    groups::finetuning_groups,
};
use crate::{
    checkpoint::{NamedTensor, Tensors},
    data::labelled::{Labelled, LabelledBatch, LabelledConfig, LabelledLoader},
    evaluate::linear::{accuracy, argmax},
    model::{
        Classifier,
        classifier::{HeadPool, drop_path},
        weights,
    },
    train::{
        folder::Position,
        meter::Meter,
        optimizer::{AdamWHyper, Optimizer},
        progress::{Moment, Progress},
        schedule::Schedule,
        trainer::Outcome,
    },
};
use anyhow::{Context as _, bail};
use burn::{
    module::Module as _,
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use common::{
    mask::{self, Mask, MaskKind},
    model::PositionKind,
    patch::PatchGrid,
    position::sincos_2d_table,
};
use edge::select::{Select, choose};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// Stream of the training's random patches.
const PATCHES: u64 = 0x0f17_9a7c;

/// What a classifier says about test images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdicts {
    /// True class of each image.
    pub labels: Vec<usize>,
    /// Its likeliest class.
    pub predictions: Vec<usize>,
}

impl Verdicts {
    /// Share of the images that are recognised.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        accuracy(&self.predictions, &self.labels)
    }
}

/// A fine-tuning under way.
pub struct Finetuner {
    folder: FinetuneFolder,
    config: FinetuneConfig,
    train: Labelled,
    test: Labelled,
    grid: PatchGrid,
    device: Device,
    /// There but while the optimizer has it, which updates it in place only if nothing else holds it.
    model: Option<Classifier>,
    optimizer: Optimizer,
    position: Position,
    /// Of the last epoch's test, if this process did it.
    verdicts: Option<Verdicts>,
}

impl Finetuner {
    /// A fine-tuning from the newest checkpoint of `folder`, else of `encoder`'s parameters, else from random weights.
    ///
    /// # Errors
    /// If the encoder is unusable, there are not as many blocks as are to be trained, or the checkpoint is damaged.
    pub fn new(
        folder: FinetuneFolder,
        config: FinetuneConfig,
        (train, test): (Labelled, Labelled),
        encoder: Option<&Tensors>,
        device: &Device,
    ) -> anyhow::Result<Self> {
        let threads = (*device == Device::flex()).then(rayon::current_num_threads);
        let (device, geometry, recipe) = (device.clone().autodiff(), config.geometry(), &config.recipe);
        let (grid, depth) = (geometry.grid()?, geometry.depth);
        let mut model = Classifier::new(&geometry, config.classes.len(), recipe.pool, recipe.seed, &device)?;
        let hyper = AdamWHyper { beta1: 0.9, beta2: 0.999, weight_decay: recipe.weight_decay as f32 };
        let mut optimizer = Optimizer::new(hyper).with_groups(finetuning_groups(depth, recipe.layer_decay));
        let mut position = Position::default();
        let checkpoint = folder.training().newest()?;
        match (&checkpoint, encoder) {
            (Some(checkpoint), _) => {
                model = weights::load_tensors(model, &checkpoint.model, &grid)?;
                optimizer.load_tensors(&checkpoint.optimizer, &device)?;
                position = checkpoint.position;
                folder.training().set_aside_after(position.step)?;
                position.warn_of_change(train.len(), threads);
            }
            (None, Some(encoder)) => {
                let mut encoder = encoder.clone();
                if geometry.position == PositionKind::Stored && config.encoder.position == PositionKind::SinCos2d {
                    let table = sincos_2d_table(&grid, geometry.dim, true);
                    let shape = vec![1, 1 + grid.patches(), geometry.dim];
                    encoder.insert("pos_embed".into(), NamedTensor { shape, data: table });
                }
                model.encoder = weights::load_tensors(model.encoder, &encoder, &grid)?;
                // The mean of tokens that were never normed has another scale than what the norm has learned.
                if recipe.pool == HeadPool::Mean {
                    model = model.with_fresh_norm();
                }
            }
            (None, None) => {}
        }
        folder.training().forget_metrics_after(position.epoch)?;
        (position.images, position.threads) = (Some(train.len()), threads);
        let trained = recipe.trained(depth).context("there are not so many blocks to train")?;
        let mut model = model.with_trained(trained);
        if recipe.positions_trained() {
            model = model.with_trained_positions();
        }
        let model = Some(model);
        Ok(Self { folder, config, train, test, grid, device, model, optimizer, position, verdicts: None })
    }

    /// Steps of one epoch; a rest smaller than a batch is dropped.
    #[must_use]
    pub fn steps_an_epoch(&self) -> usize {
        self.train.len() / self.config.recipe.batch_size
    }

    /// The classifier.
    ///
    /// # Errors
    /// If a step has failed.
    pub fn model(&self) -> anyhow::Result<&Classifier> {
        self.model.as_ref().context("the model was lost in a step that failed")
    }

    /// Trains until all epochs are done or `stop` is set, saving checkpoints and metrics.
    ///
    /// # Errors
    /// If images cannot be read, files cannot be written, or the loss is no longer finite.
    pub fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        let (recipe, steps) = (self.config.recipe.clone(), self.steps_an_epoch());
        let schedule = Schedule {
            lr: Schedule::scaled_lr(recipe.blr, recipe.batch_size),
            min_lr: recipe.min_lr,
            warmup_epochs: recipe.warmup_epochs,
            epochs: recipe.epochs as f64,
        };
        let (total, policy) = (recipe.epochs * steps, self.config.checkpoints);
        let mut progress = Progress::new(recipe.epochs, total, self.position.step, recipe.batch_size);
        let mut saved = (Instant::now(), self.position.step);
        while self.position.epoch < recipe.epochs {
            let mut meter = Meter::new(recipe.batch_size, (self.position.loss_sum, self.position.losses));
            let epoch = self.position.epoch;
            let mut loader = LabelledLoader::train(
                self.train.clone(),
                self.loading(recipe.batch_size),
                recipe.augmentation(),
                epoch,
                self.position.iteration,
            )?;
            for iteration in self.position.iteration..steps {
                let batch = loader.next_batch()?.context("the loader has ended early")?;
                let lr = schedule.at(epoch as f64 + iteration as f64 / steps as f64);
                meter.add(self.step(batch, lr)?);
                self.position.step += 1;
                self.position.iteration = iteration + 1;
                if iteration + 1 == steps {
                    // The last step of an epoch leads to its test and its line of metrics first.
                    break;
                }
                let stopping = stop.load(Ordering::Relaxed);
                let saving = stopping || policy.due(saved.0.elapsed(), self.position.step - saved.1);
                if saving || meter.due() {
                    let moment = meter.read(epoch, lr)?;
                    // A model that has diverged must not take the place of a good checkpoint.
                    self.check_finite(&moment, &progress)?;
                    progress.update(self.position.step, moment);
                }
                if saving {
                    (self.position.loss_sum, self.position.losses) = meter.sum();
                    let checkpoint = self.save()?;
                    saved = (Instant::now(), self.position.step);
                    if stopping {
                        progress.finish();
                        return Ok(Outcome::Stopped(checkpoint));
                    }
                }
            }
            loader.warnings().iter().for_each(|warning| progress.line(warning));
            self.position = Position { epoch: epoch + 1, iteration: 0, loss_sum: 0.0, losses: 0, ..self.position };
            let Position { epoch, step, .. } = self.position;
            let lr = schedule.at(epoch as f64);
            let moment = meter.whole(epoch, lr)?;
            self.check_finite(&moment, &progress)?;
            progress.epoch_done(step, moment);
            let verdicts = self.test(|line| progress.line(line))?;
            let test_accuracy = verdicts.accuracy();
            self.verdicts = Some(verdicts);
            progress.line(&format!("test accuracy {:.2} %", test_accuracy * 100.0));
            self.folder.write_metrics(&Metrics { epoch, step, train_loss: moment.loss, test_accuracy, lr })?;
            let (finished, stopping) = (epoch == recipe.epochs, stop.load(Ordering::Relaxed));
            if finished || stopping || policy.due_after_epoch(saved.0.elapsed(), step - saved.1) {
                let checkpoint = self.save()?;
                saved = (Instant::now(), step);
                if stopping && !finished {
                    progress.finish();
                    return Ok(Outcome::Stopped(checkpoint));
                }
            }
        }
        progress.finish();
        Ok(Outcome::Finished)
    }

    /// What the classifier says about the test images after the last epoch.
    ///
    /// # Errors
    /// If none can be read.
    pub fn verdicts(&mut self) -> anyhow::Result<Verdicts> {
        match self.verdicts.take() {
            Some(verdicts) => Ok(verdicts),
            None => self.test(|line| console::note!("{line}")),
        }
    }

    /// Classifies all test images; `warn` is told of those that cannot be read.
    ///
    /// # Errors
    /// If none can be read.
    pub fn test(&self, warn: impl Fn(&str)) -> anyhow::Result<Verdicts> {
        let (model, recipe) = (self.model()?.valid(), &self.config.recipe);
        let (device, mut verdicts) = (self.device.clone().inner(), Verdicts::default());
        let mut loader = LabelledLoader::test(self.test.clone(), self.loading(recipe.batch_size.max(64)))?;
        let (select, length) = (if recipe.keep < 1.0 { Select::Random } else { Select::All }, self.grid.patches());
        let (mut noise, mut ids) = (vec![0.0; length], vec![0; length]);
        while let Some(batch) = loader.next_batch()? {
            let mut kept = Vec::new();
            for place in &batch.places {
                let stream = (recipe.seed, *place as u64);
                let count = choose(select, &self.grid, recipe.keep, stream, &mut noise, &mut ids);
                kept.extend_from_slice(&ids[..count]);
            }
            if batch.labels.is_empty() {
                continue;
            }
            let (visible, positions) = self.visible(&batch, &kept, &device);
            let logits = model.forward(visible, positions, batch.labels.len(), &[]).logits;
            let logits: Vec<f32> = logits.try_into_vec_as().map_err(|e| anyhow::anyhow!("{e}"))?;
            verdicts
                .predictions
                .extend(logits.chunks_exact(self.config.classes.len()).map(|row| argmax(row.iter().copied())));
            verdicts.labels.extend(batch.labels);
        }
        loader.warnings().iter().for_each(|warning| warn(warning));
        if verdicts.labels.is_empty() {
            bail!("none of the test images in {} can be read", self.config.test.display());
        }
        Ok(verdicts)
    }

    /// One optimizer step. Returns the loss, still on the device, `[1]`.
    fn step(&mut self, batch: LabelledBatch, lr: f64) -> anyhow::Result<Tensor<1>> {
        let (recipe, count) = (&self.config.recipe, batch.labels.len());
        let first = (self.position.step * recipe.batch_size) as u64;
        let length = self.grid.patches();
        let kept: Vec<u32> = if recipe.keep < 1.0 {
            let len_keep = mask::len_visible(length, recipe.keep);
            let draw = |image| {
                let rng = &mut mask::generator(recipe.seed ^ PATCHES, first + image);
                Mask::draw(MaskKind::Random, &self.grid, len_keep, rng).ids_keep
            };
            (0..count as u64).flat_map(draw).collect()
        } else {
            (0..count).flat_map(|_| 0..length as u32).collect()
        };
        let (visible, positions) = self.visible(&batch, &kept, &self.device);
        let depth = self.config.encoder.depth as usize;
        let factors = drop_path(depth, count, recipe.drop_path, recipe.seed, self.position.step as u64);
        let targets = TensorData::new(batch.targets, [count, self.config.classes.len()]);
        let model = self.model.take().context("the model was lost in a step that failed")?;
        let logits = model.forward(visible, positions, count, &factors).logits;
        let loss = cross_entropy(logits, Tensor::from_data(targets, &self.device));
        let gradients = loss.backward();
        self.model = Some(self.optimizer.step(model, gradients, lr));
        Ok(loss.inner())
    }

    /// The patches `kept` of each image, `[B * V, P]`, and their numbers, `[B * V]`.
    fn visible(&self, batch: &LabelledBatch, kept: &[u32], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let (length, values, count) = (self.grid.patches(), self.grid.patch_dim(), batch.labels.len());
        let visible = kept.len() / count;
        let patches = if visible == length && kept.iter().zip((0..length as u32).cycle()).all(|(id, i)| *id == i) {
            batch.patches.clone()
        } else {
            let rows = kept.iter().enumerate().map(|(row, id)| row / visible * length + *id as usize);
            rows.flat_map(|row| &batch.patches[row * values..(row + 1) * values]).copied().collect()
        };
        let ids: Vec<i32> = kept.iter().map(|id| *id as i32).collect();
        let rows = kept.len();
        (
            Tensor::from_data(TensorData::new(patches, [rows, values]), device),
            Tensor::from_data(TensorData::new(ids, [rows]), device),
        )
    }

    fn loading(&self, batch_size: usize) -> LabelledConfig {
        let pixels = self.config.encoder.pixels;
        LabelledConfig { grid: self.grid, pixels, batch_size, seed: self.config.recipe.seed }
    }

    fn save(&self) -> anyhow::Result<PathBuf> {
        let (folder, keep) = (self.folder.training(), self.config.checkpoints.keep);
        let model = weights::to_tensors(self.model()?, &self.grid)?;
        folder.check_finite(&model, &self.position)?;
        folder.save(&model, &self.optimizer.to_tensors()?, self.position, keep)
    }

    fn check_finite(&self, moment: &Moment, progress: &Progress) -> anyhow::Result<()> {
        if moment.loss.is_finite() {
            return Ok(());
        }
        progress.finish();
        Err(self.folder.training().diverged("the loss is", &self.position))
    }
}

/// Cross-entropy with target distributions, the mean over the batch, `[1]`. `logits`, `targets`: `[B, K]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (log_softmax(logits, 1) * targets).sum_dim(1).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_that_of_distributions() {
        let device = Device::flex();
        let upload = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [2, 3]), &device);
        let (logits, targets) = (vec![1.0, 2.0, 0.5, -1.0, 0.0, 3.0], vec![0.2, 0.7, 0.1, 0.0, 0.0, 1.0]);
        let expected: f64 = logits
            .chunks(3)
            .zip(targets.chunks(3))
            .map(|(logits, targets)| {
                let sum: f64 = logits.iter().map(|l: &f32| f64::from(*l).exp()).sum();
                logits.iter().zip(targets).map(|(l, t)| -f64::from(*t) * (f64::from(*l) - sum.ln())).sum::<f64>()
            })
            .sum::<f64>()
            / 2.0;
        let found: f32 = cross_entropy(upload(logits), upload(targets)).into_scalar();
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn the_likeliest_class_is_the_first_of_equals() {
        assert_eq!(argmax([0.0, 3.0, 3.0].into_iter()), 1);
        assert_eq!(argmax([5.0].into_iter()), 0);
        let verdicts = Verdicts { labels: vec![0, 1, 2, 2], predictions: vec![0, 1, 1, 2] };
        assert_eq!(verdicts.accuracy(), 0.75);
    }
}
