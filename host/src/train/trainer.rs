//! The loop of pre-training.
use super::optimizer::{AdamWHyper, Optimizer};
use super::progress::{Moment, Progress};
use super::run_folder::{Position, RunConfig, RunFolder};
use super::schedule::Schedule;
use crate::{
    checkpoint::Tensors,
    data::{
        dataset::Dataset,
        loader::{Loader, LoaderConfig},
    },
    model::{Mae, MaskBatch, weights},
};
use anyhow::{Context as _, bail};
use burn::tensor::{Device, Tensor, TensorData};
use common::{mask, patch::PatchGrid};
use std::{
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

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
    model: Mae,
    optimizer: Optimizer,
    position: Position,
}

impl Trainer {
    /// A training from the start, or from the newest checkpoint of `run` with `resume`.
    ///
    /// # Errors
    /// If the model is impossible, no patch would be kept or removed, there are fewer images than one batch, or
    /// the checkpoint is damaged.
    pub fn new(
        run: RunFolder,
        config: RunConfig,
        dataset: Arc<Dataset>,
        device: &Device,
        resume: bool,
    ) -> anyhow::Result<Self> {
        let device = device.clone().autodiff();
        let grid = config.model.grid()?;
        let train = &config.train;
        let mut model = Mae::new(&config.model, train.seed, &device)?;
        let mut optimizer =
            Optimizer::new(AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: train.weight_decay as f32 });
        let mut position = Position { epoch: 0, iteration: 0, step: 0 };
        if resume {
            let checkpoint = run.load()?;
            model = weights::load_tensors(model, &checkpoint.model, &grid).map_err(|error| config.explain(error))?;
            optimizer.load_tensors(&checkpoint.optimizer, &device)?;
            position = checkpoint.position;
            run.forget_metrics_after(position.step)?;
        }
        Ok(Self { run, config, dataset, grid, device, model, optimizer, position })
    }

    /// Takes up the weights of another run. Of an encoder alone the decoder stays as it is.
    ///
    /// # Errors
    /// Names the first parameter that is missing or has another shape.
    pub fn start_from(&mut self, tensors: &Tensors) -> anyhow::Result<()> {
        let (model, grid) = (self.model.clone(), &self.grid);
        if tensors.contains_key("decoder_embed.weight") {
            self.model = weights::load_tensors(model, tensors, grid)?;
        } else {
            self.model.encoder = weights::load_tensors(model.encoder, tensors, grid)?;
        }
        Ok(())
    }

    /// Steps of one epoch; a rest smaller than a batch is dropped.
    #[must_use]
    pub fn steps_an_epoch(&self) -> usize {
        self.dataset.len() / self.config.train.batch_size
    }

    /// The current parameters.
    ///
    /// # Errors
    /// If the device cannot give them back.
    pub fn tensors(&self) -> anyhow::Result<Tensors> {
        Ok(weights::to_tensors(&self.model, &self.grid)?)
    }

    /// Trains until all epochs are done or `stop` is set, saving checkpoints and metrics.
    ///
    /// # Errors
    /// If images cannot be read, files cannot be written, or the loss is no longer finite.
    pub fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        let train = self.config.train.clone();
        let steps = self.steps_an_epoch();
        let schedule = Schedule {
            lr: Schedule::scaled_lr(train.blr, train.batch_size),
            min_lr: train.min_lr,
            warmup_epochs: train.warmup_epochs,
            epochs: train.epochs as f64,
        };
        let mut progress = Progress::new(train.epochs, train.epochs * steps, self.position.step, train.batch_size);
        let mut saved = Instant::now();
        while self.position.epoch < train.epochs {
            let mut meter = Meter::new(train.batch_size);
            let mut loader = self.loader()?;
            for iteration in self.position.iteration..steps {
                let batch = loader.next_batch()?;
                let lr = schedule.at(self.position.epoch as f64 + iteration as f64 / steps as f64);
                let loss = self.step(batch.patches, lr);
                self.position.step += 1;
                self.position.iteration = iteration + 1;
                meter.add(loss);
                if meter.due() && iteration + 1 < steps {
                    let moment = meter.read(self.position.epoch, lr)?;
                    self.check_finite(&moment, &progress)?;
                    progress.update(self.position.step, moment);
                }
                let (stopping, due) = (stop.load(Ordering::Relaxed), saved.elapsed() > CHECKPOINT_EVERY);
                if stopping || due {
                    // A model that has diverged must not take the place of a good checkpoint.
                    self.check_finite(&meter.read(self.position.epoch, lr)?, &progress)?;
                }
                if stopping {
                    progress.finish();
                    return Ok(Outcome::Stopped(self.save()?));
                }
                if due {
                    self.save()?;
                    saved = Instant::now();
                }
            }
            for warning in loader.warnings() {
                progress.line(&warning);
            }
            self.position = Position { epoch: self.position.epoch + 1, iteration: 0, step: self.position.step };
            let lr = schedule.at(self.position.epoch as f64);
            let moment = meter.whole(self.position.epoch, lr)?;
            self.check_finite(&moment, &progress)?;
            self.write_metrics(&moment)?;
            progress.epoch_done(self.position.step, moment);
            // Short epochs of a short training are not worth a checkpoint each.
            if saved.elapsed() > CHECKPOINT_EVERY / 10 || self.position.epoch == train.epochs {
                self.save()?;
                saved = Instant::now();
            }
        }
        progress.finish();
        Ok(Outcome::Finished)
    }

    /// One optimizer step. `patches`: `[B, L, P]`. Returns the loss, still on the device, `[1]`.
    fn step(&mut self, patches: Vec<f32>, lr: f64) -> Tensor<1> {
        let train = &self.config.train;
        let (batch, length) = (train.batch_size, self.grid.patches());
        let sample = (self.position.step * batch) as u64;
        let kept = mask::len_keep(length, train.mask_ratio);
        let masks = MaskBatch::draw(train.mask, &self.grid, kept, train.seed, sample, batch);
        let shape = [batch, length, self.grid.patch_dim()];
        let patches = Tensor::from_data(TensorData::new(patches, shape), &self.device);
        let loss = self.model.loss(patches, &masks);
        let gradients = loss.backward();
        self.model = self.optimizer.step(self.model.clone(), gradients, lr);
        loss.inner()
    }

    fn loader(&self) -> anyhow::Result<Loader> {
        let config = LoaderConfig {
            seed: self.config.train.seed,
            batch_size: self.config.train.batch_size,
            augment: true,
            ..LoaderConfig::default()
        };
        let (epoch, iteration) = (self.position.epoch, self.position.iteration);
        Loader::start(self.dataset.clone(), self.grid, self.config.pixels, config, epoch, iteration)
    }

    fn save(&self) -> anyhow::Result<PathBuf> {
        self.run.save(&self.tensors()?, &self.optimizer.to_tensors()?, self.position)
    }

    fn check_finite(&self, moment: &Moment, progress: &Progress) -> anyhow::Result<()> {
        if moment.loss.is_finite() {
            return Ok(());
        }
        progress.finish();
        bail!(
            "the loss is no longer finite at epoch {}, step {}: the checkpoints in {} are kept; start again with a \
             smaller --blr",
            self.position.epoch,
            self.position.step,
            self.run.path().display()
        )
    }

    fn write_metrics(&self, moment: &Moment) -> anyhow::Result<()> {
        let path = self.run.path().join("metrics.csv");
        let cannot = || format!("cannot write {}", path.display());
        let fresh = !path.exists();
        let mut file = std::fs::File::options().create(true).append(true).open(&path).with_context(cannot)?;
        let Moment { epoch, loss, lr, images_per_second } = moment;
        if fresh {
            writeln!(file, "epoch,step,loss,lr,images_per_second").with_context(cannot)?;
        }
        let step = self.position.step;
        writeln!(file, "{epoch},{step},{loss:.6},{lr:.6e},{images_per_second:.1}").with_context(cannot)
    }
}

/// Mean loss and speed, read from the device only when they are shown.
struct Meter {
    batch_size: usize,
    sum: Option<Tensor<1>>,
    unread: usize,
    loss_sum: f64,
    count: usize,
    begun: Instant,
    since: Instant,
    images_per_second: f64,
}

impl Meter {
    fn new(batch_size: usize) -> Self {
        let since = Instant::now();
        Self {
            batch_size,
            sum: None,
            unread: 0,
            loss_sum: 0.0,
            count: 0,
            begun: since,
            since,
            images_per_second: 0.0,
        }
    }

    fn add(&mut self, loss: Tensor<1>) {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.unread += 1;
    }

    fn due(&self) -> bool {
        self.since.elapsed() > Duration::from_millis(500)
    }

    /// The figures since the epoch began.
    fn whole(&mut self, epoch: usize, lr: f64) -> anyhow::Result<Moment> {
        let moment = self.read(epoch, lr)?;
        let images = (self.count * self.batch_size) as f64;
        Ok(Moment { images_per_second: images / self.begun.elapsed().as_secs_f64().max(1e-9), ..moment })
    }

    /// The loss since the epoch began, the speed since the last reading.
    fn read(&mut self, epoch: usize, lr: f64) -> anyhow::Result<Moment> {
        if let Some(sum) = self.sum.take() {
            let sum: f32 = sum.try_into_scalar().map_err(|e| anyhow::anyhow!("{e}")).context("reading the loss")?;
            let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
            self.images_per_second = (self.unread * self.batch_size) as f64 / seconds;
            self.loss_sum += f64::from(sum);
            self.count += self.unread;
            (self.unread, self.since) = (0, Instant::now());
        }
        let loss = self.loss_sum / self.count.max(1) as f64;
        Ok(Moment { epoch, loss, lr, images_per_second: self.images_per_second })
    }
}
