//! The loop of pre-training.
use super::meter::Meter;
use super::optimizer::{AdamWHyper, Optimizer};
use super::progress::{Moment, Progress};
use super::recorder::Recorder;
use super::run_folder::{Position, RunConfig, RunFolder};
use super::schedule::Schedule;
use super::seam::Seam;
use super::target::FittedTarget;
use crate::{
    checkpoint::Tensors,
    data::{
        dataset::Dataset,
        loader::{Batch, Loader, LoaderConfig},
    },
    model::{Mae, MaskBatch, weights},
};
use anyhow::{Context as _, bail};
use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor, TensorData},
};
use common::{mask, patch::PatchGrid};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Why there is no model.
const MODEL_LOST: &str = "the model was lost in a step that failed";

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// The user stopped it; the checkpoint is this one.
    Stopped(PathBuf),
}

/// A training under way.
pub struct Trainer {
    run: RunFolder,
    config: RunConfig,
    dataset: Arc<Dataset>,
    grid: PatchGrid,
    device: Device,
    /// There but while the optimizer has it, which updates it in place only if nothing else holds it.
    model: Option<Mae>,
    optimizer: Optimizer,
    target: Arc<FittedTarget>,
    seam: Option<Seam>,
    position: Position,
}

impl Trainer {
    /// A training from the start, or from the newest checkpoint of `run` with `resume`.
    ///
    /// # Errors
    /// If the model is impossible, no patch would be kept or removed, there are fewer images than one optimizer step
    /// takes, or all checkpoints are damaged.
    pub fn new(
        run: RunFolder,
        config: RunConfig,
        dataset: Arc<Dataset>,
        device: &Device,
        resume: bool,
    ) -> anyhow::Result<Self> {
        let threads = (*device == Device::flex()).then(rayon::current_num_threads);
        let device = device.clone().autodiff();
        let grid = config.model.grid()?;
        let train = &config.train;
        if dataset.len() < train.images_a_step() {
            bail!("{} images are fewer than the {} of one optimizer step", dataset.len(), train.images_a_step());
        }
        let mut model = Mae::new(&config.model, train.seed, &device)?;
        model = model.with_mask_tokens_in_encoder(train.encoder_mask_tokens, train.seed);
        model = model.with_ops(config.precision.ops());
        let mut optimizer =
            Optimizer::new(AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: train.weight_decay as f32 });
        let mut position = Position::default();
        let folder = run.training();
        if resume && folder.has_checkpoint()? {
            let checkpoint = run.load()?;
            model = weights::load_tensors(model, &checkpoint.model, &grid).map_err(|error| config.explain(error))?;
            optimizer.load_tensors(&checkpoint.optimizer, &device)?;
            position = checkpoint.position;
            folder.set_aside_after(position.step)?;
            position.warn_of_change(dataset.len(), threads);
        } else if resume {
            console::note!("warning: the run has no checkpoint yet: it begins anew");
        }
        let target = match resume && position.step > 0 {
            true => FittedTarget::load(config.train.target, run.path(), &grid)?,
            false => FittedTarget::fit(config.train.target, &dataset, &grid, config.pixels, train.seed)?,
        };
        target.save(run.path())?;
        let target = Arc::new(target);
        if resume {
            folder.forget_metrics_after(position.epoch)?;
        }
        (position.images, position.threads) = (Some(dataset.len()), threads);
        let seam = Seam::new(train, grid);
        Ok(Self { run, config, dataset, grid, device, model: Some(model), optimizer, target, seam, position })
    }

    /// Takes up the weights of another run. Of an encoder alone the decoder stays as it is.
    ///
    /// # Errors
    /// Names the first parameter that is missing or has another shape.
    pub fn start_from(&mut self, tensors: &Tensors) -> anyhow::Result<()> {
        let (mut model, grid) = (self.model()?.clone(), &self.grid);
        if tensors.contains_key("decoder_embed.weight") {
            model = weights::load_tensors(model, tensors, grid)?;
        } else {
            model.encoder = weights::load_tensors(model.encoder, tensors, grid)?;
        }
        self.model = Some(model);
        Ok(())
    }

    /// Optimizer steps of one epoch; images that are too few for one more are dropped.
    #[must_use]
    pub fn steps_an_epoch(&self) -> usize {
        self.dataset.len() / self.config.train.images_a_step()
    }

    /// The current parameters.
    ///
    /// # Errors
    /// If the device cannot give them back.
    pub fn tensors(&self) -> anyhow::Result<Tensors> {
        Ok(weights::to_tensors(self.model()?, &self.grid)?)
    }

    /// Trains until all epochs are done or `stop` is set, saving checkpoints and metrics.
    ///
    /// # Errors
    /// If images cannot be read, files cannot be written, or the loss is no longer finite.
    pub fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        let (train, policy) = (self.config.train.clone(), self.config.checkpoints);
        let steps = self.steps_an_epoch();
        let schedule = Schedule {
            lr: Schedule::scaled_lr(train.blr, train.images_a_step()),
            min_lr: train.min_lr,
            warmup_epochs: train.warmup_epochs,
            epochs: train.epochs as f64,
        };
        let images = train.images_a_step();
        let mut progress = Progress::new(train.epochs, train.epochs * steps, self.position.step, images);
        let recorder = Recorder::start(&self.run, &self.config, &self.dataset, schedule, steps, self.position);
        let mut recorder = recorder.map_err(|error| no_record(&progress, &error)).ok();
        let mut saved = (Instant::now(), self.position.step);
        while self.position.epoch < train.epochs {
            let mut meter = Meter::new(images, (self.position.loss_sum, self.position.losses));
            let mut loader = self.loader()?;
            for iteration in self.position.iteration..steps {
                let lr = schedule.at(self.position.epoch as f64 + iteration as f64 / steps as f64);
                let loss = self.step(&mut loader, lr)?;
                self.position.step += 1;
                self.position.iteration = iteration + 1;
                meter.add(loss);
                if iteration + 1 == steps {
                    break;
                }
                if meter.due() {
                    let moment = meter.read(self.position.epoch, lr)?;
                    self.check_finite(&moment, &progress)?;
                    record(&mut recorder, &progress, |recorder| recorder.point(self.position, &moment));
                    progress.update(self.position.step, moment);
                }
                let stopping = stop.load(Ordering::Relaxed);
                if stopping || policy.due(saved.0.elapsed(), self.position.step - saved.1) {
                    // A model that has diverged must not take the place of a good checkpoint.
                    let moment = meter.read(self.position.epoch, lr)?;
                    self.check_finite(&moment, &progress)?;
                    record(&mut recorder, &progress, |recorder| recorder.point(self.position, &moment));
                    (self.position.loss_sum, self.position.losses) = meter.sum();
                    let checkpoint = self.save()?;
                    saved = (Instant::now(), self.position.step);
                    if stopping {
                        progress.finish();
                        record(&mut recorder, &progress, Recorder::stop);
                        return Ok(Outcome::Stopped(checkpoint));
                    }
                }
            }
            for warning in loader.warnings() {
                progress.line(&warning);
            }
            let epoch = self.position.epoch + 1;
            self.position = Position { epoch, iteration: 0, loss_sum: 0.0, losses: 0, ..self.position };
            let lr = schedule.at(self.position.epoch as f64);
            let moment = meter.whole(self.position.epoch, lr)?;
            self.check_finite(&moment, &progress)?;
            self.write_metrics(&moment)?;
            let model = self.model()?;
            record(&mut recorder, &progress, |recorder| recorder.epoch_done(self.position, &moment, model));
            progress.epoch_done(self.position.step, moment);
            let (finished, stopping) = (epoch == train.epochs, stop.load(Ordering::Relaxed));
            if finished || stopping || policy.due_after_epoch(saved.0.elapsed(), self.position.step - saved.1) {
                let checkpoint = self.save()?;
                saved = (Instant::now(), self.position.step);
                if stopping && !finished {
                    progress.finish();
                    record(&mut recorder, &progress, Recorder::stop);
                    return Ok(Outcome::Stopped(checkpoint));
                }
            }
        }
        progress.finish();
        Ok(Outcome::Finished)
    }

    /// One optimizer step on `accumulate` batches. Returns the mean of their losses, still on the device, `[1]`.
    ///
    /// Every image loses as many patches, so the mean of the batches' losses, and of their gradients, is that of one
    /// batch of all their images.
    fn step(&mut self, loader: &mut Loader, lr: f64) -> anyhow::Result<Tensor<1>> {
        let (mut gradients, mut mean) = (GradientsAccumulator::new(), None);
        for part in 0..self.config.train.accumulate {
            let loss = self.loss(loader.next_batch()?, part)?;
            let model = self.model()?;
            gradients.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
            let loss = loss.inner();
            mean = Some(match mean {
                Some(mean) => mean + loss,
                None => loss,
            });
        }
        let model = self.model.take().context(MODEL_LOST)?;
        self.model = Some(self.optimizer.step_by(model, gradients.grads(), lr));
        mean.context("an optimizer step needs a batch")
    }

    /// The share of `batch`, number `part`, in the loss of the next optimizer step, `[1]`.
    fn loss(&self, Batch { patches, target, .. }: Batch, part: usize) -> anyhow::Result<Tensor<1>> {
        let train = &self.config.train;
        let (batch, length) = (train.batch_size, self.grid.patches());
        let sample = ((self.position.step * train.accumulate + part) * batch) as u64;
        let kept = mask::len_keep(length, train.mask_ratio);
        let masks = MaskBatch::draw(train.mask, &self.grid, kept, train.seed, sample, batch);
        let shape = [batch, length, self.grid.patch_dim()];
        let upload = |values| Tensor::from_data(TensorData::new(values, shape), &self.device);
        let (patches, model): (Tensor<3>, _) = (upload(patches), self.model()?);
        let target = target.map_or_else(|| patches.clone(), upload);
        let loss = match &self.seam {
            None => model.loss_towards(patches, target, &masks),
            Some(seam) => seam.loss(model, patches, target, &masks),
        };
        Ok(loss.div_scalar(train.accumulate as f64))
    }

    fn model(&self) -> anyhow::Result<&Mae> {
        self.model.as_ref().context(MODEL_LOST)
    }

    fn loader(&self) -> anyhow::Result<Loader> {
        let train = &self.config.train;
        let config = LoaderConfig {
            seed: train.seed,
            batch_size: train.batch_size,
            augment: train.augment,
            ..LoaderConfig::default()
        };
        let (epoch, batches) = (self.position.epoch, self.position.iteration * train.accumulate);
        let (grid, target) = (self.grid, self.target.clone());
        let target = move |patches: &[f32]| target.apply(patches, &grid);
        Loader::start_towards(target, self.dataset.clone(), grid, self.config.pixels, config, (epoch, batches))
    }

    fn save(&self) -> anyhow::Result<PathBuf> {
        let (folder, keep, tensors) = (self.run.training(), self.config.checkpoints.keep, self.tensors()?);
        folder.check_finite(&tensors, &self.position)?;
        folder.save(&tensors, &self.optimizer.to_tensors()?, self.position, keep)
    }

    fn check_finite(&self, moment: &Moment, progress: &Progress) -> anyhow::Result<()> {
        if moment.loss.is_finite() {
            return Ok(());
        }
        progress.finish();
        Err(self.run.training().diverged("the loss is", &self.position))
    }

    fn write_metrics(&self, moment: &Moment) -> anyhow::Result<()> {
        let (Moment { epoch, loss, lr, images_per_second, .. }, step) = (moment, self.position.step);
        self.run.training().write_metrics(&format!("{epoch},{step},{loss:.6},{lr:.6e},{images_per_second:.1}"))
    }
}

/// What people look at must not end a training: on a failure it is left out from there on, with a warning.
fn record(
    recorder: &mut Option<Recorder>,
    progress: &Progress,
    work: impl FnOnce(&mut Recorder) -> anyhow::Result<()>,
) {
    if let Some(Err(error)) = recorder.as_mut().map(work) {
        no_record(progress, &error);
        *recorder = None;
    }
}

fn no_record(progress: &Progress, error: &anyhow::Error) {
    progress.line(&format!("warning: no more curves, pictures and reports of this training: {error:#}"));
}
