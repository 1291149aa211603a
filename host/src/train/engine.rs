//! The one training loop, read from top to bottom: epochs, learning rate, figures, checkpoints, stop. What a step is,
//! and what the end of an epoch brings, says a [`Task`]; what people look at is an [`Observer`]'s.

use super::{
    meter::Meter,
    progress::{Moment, Progress},
    schedule::Schedule,
};
use crate::{
    run::{TrainState, folder::TrainingFolder, policy::CheckpointPolicy, state::PARTS},
    tensors::Tensors,
};
use burn::tensor::Tensor;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// What is trained: pre-training or fine-tuning.
pub trait Task {
    /// Optimizer steps of one epoch; images that are too few for one more are dropped.
    fn steps_an_epoch(&self) -> usize;

    /// Images of one optimizer step.
    fn images_a_step(&self) -> usize;

    /// Gets ready for the steps of the epoch that `at` is in, from its iteration on.
    ///
    /// # Errors
    /// If the images cannot be had.
    fn begin_epoch(&mut self, at: &TrainState) -> anyhow::Result<()>;

    /// The optimizer step after `at`, at the learning rate `lr`. Returns its loss, still on the device, `[1]`, or with
    /// its parts behind it, `[1 + PARTS]`.
    ///
    /// # Errors
    /// If no image can be read, or the device fails.
    fn step(&mut self, at: &TrainState, lr: f64) -> anyhow::Result<Tensor<1>>;

    /// The columns of `metrics.csv`.
    fn columns(&self) -> &'static str;

    /// What is to be said about the images of the epoch that ends.
    fn warnings(&self) -> Vec<String>;

    /// The end of the epoch before `at`: tests what there is to test, and returns the epoch's line of `metrics.csv`.
    /// `say` prints a line.
    ///
    /// # Errors
    /// If the test fails.
    fn end_epoch(&mut self, at: &TrainState, moment: &Moment, say: &dyn Fn(&str)) -> anyhow::Result<String>;

    /// All parameters, and the optimizer's state.
    ///
    /// # Errors
    /// If the device cannot give them back.
    fn tensors(&self) -> anyhow::Result<(Tensors, Tensors)>;
}

/// Looks on; a failure takes the observer away and not the training.
pub trait Observer<T> {
    /// Figures that were read from the device, after the step that `at` tells.
    ///
    /// # Errors
    /// Those of the file system.
    fn point(&mut self, at: &TrainState, moment: &Moment) -> anyhow::Result<()>;

    /// An epoch is done.
    ///
    /// # Errors
    /// Those of the file system, or of what is drawn.
    fn epoch(&mut self, at: &TrainState, moment: &Moment, task: &T) -> anyhow::Result<()>;

    /// The training stops before its end.
    ///
    /// # Errors
    /// Those of the file system.
    fn stop(&mut self) -> anyhow::Result<()>;
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// The user stopped it; the checkpoint is this one.
    Stopped(PathBuf),
}

/// A training under way.
pub struct Engine<T> {
    /// What is trained.
    pub task: T,
    folder: TrainingFolder,
    checkpoints: CheckpointPolicy,
    schedule: Schedule,
    epochs: usize,
    state: TrainState,
}

impl<T: Task> Engine<T> {
    /// A training of `task` for `epochs` epochs that goes on at `state` and is kept in `folder`.
    #[must_use]
    pub fn new(
        task: T,
        folder: TrainingFolder,
        checkpoints: CheckpointPolicy,
        (schedule, epochs): (Schedule, usize),
        state: TrainState,
    ) -> Self {
        Self { task, folder, checkpoints, schedule, epochs, state }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// Its learning rates.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Trains until all epochs are done or `stop` is set, saving checkpoints and metrics.
    ///
    /// # Errors
    /// If images cannot be read, files cannot be written, or the loss is no longer finite.
    pub fn run(&mut self, observer: Option<&mut dyn Observer<T>>, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        let (steps, images) = (self.task.steps_an_epoch(), self.task.images_a_step());
        let mut progress = Progress::new(self.epochs, self.epochs * steps, self.state.step, images);
        let mut watch = Watch(observer);
        let mut saved = (Instant::now(), self.state.step);
        while self.state.epoch < self.epochs {
            let epoch = self.state.epoch;
            let mut meter = Meter::new(images, (self.state.loss_sum, self.state.losses, self.state.part_sums));
            self.task.begin_epoch(&self.state)?;
            for iteration in self.state.iteration..steps {
                let lr = self.schedule.at(epoch as f64 + iteration as f64 / steps as f64);
                meter.add(self.task.step(&self.state, lr)?);
                self.state.step += 1;
                self.state.iteration = iteration + 1;
                if iteration + 1 == steps {
                    break;
                }
                let stopping = stop.load(Ordering::Relaxed);
                let saving = stopping || self.checkpoints.due(saved.0.elapsed(), self.state.step - saved.1);
                if saving || meter.due() {
                    let moment = meter.read(epoch, lr)?;
                    // A model that has diverged must not take the place of a good checkpoint.
                    self.check_finite(&moment, &progress)?;
                    watch.tell(&progress, |observer| observer.point(&self.state, &moment));
                    progress.update(self.state.step, moment);
                }
                if saving {
                    (self.state.loss_sum, self.state.losses, self.state.part_sums) = meter.sums();
                    let checkpoint = self.save()?;
                    saved = (Instant::now(), self.state.step);
                    if stopping {
                        progress.finish();
                        watch.tell(&progress, |observer| observer.stop());
                        return Ok(Outcome::Stopped(checkpoint));
                    }
                }
            }
            self.task.warnings().iter().for_each(|warning| progress.line(warning));
            self.state = TrainState {
                epoch: epoch + 1,
                iteration: 0,
                loss_sum: 0.0,
                losses: 0,
                part_sums: [0.0; PARTS],
                ..self.state
            };
            let lr = self.schedule.at(self.state.epoch as f64);
            let moment = meter.whole(self.state.epoch, lr)?;
            self.check_finite(&moment, &progress)?;
            progress.epoch_done(self.state.step, moment);
            let line = self.task.end_epoch(&self.state, &moment, &|text| progress.line(text))?;
            self.folder.write_metrics(self.task.columns(), &line)?;
            watch.tell(&progress, |observer| observer.epoch(&self.state, &moment, &self.task));
            let (finished, stopping) = (self.state.epoch == self.epochs, stop.load(Ordering::Relaxed));
            let due = self.checkpoints.due_after_epoch(saved.0.elapsed(), self.state.step - saved.1);
            if finished || stopping || due {
                let checkpoint = self.save()?;
                saved = (Instant::now(), self.state.step);
                if stopping && !finished {
                    progress.finish();
                    watch.tell(&progress, |observer| observer.stop());
                    return Ok(Outcome::Stopped(checkpoint));
                }
            }
        }
        progress.finish();
        Ok(Outcome::Finished)
    }

    fn save(&self) -> anyhow::Result<PathBuf> {
        let (model, optimizer) = self.task.tensors()?;
        self.folder.check_finite(&model, &self.state)?;
        self.folder.save(&model, &optimizer, self.state, self.checkpoints.keep)
    }

    fn check_finite(&self, moment: &Moment, progress: &Progress) -> anyhow::Result<()> {
        if moment.loss.is_finite() {
            return Ok(());
        }
        progress.finish();
        Err(self.folder.diverged("the loss is", &self.state).into())
    }
}

/// The warning when something that people look at is left out from here on.
#[must_use]
pub fn unobserved(error: &anyhow::Error) -> String {
    format!("warning: no more curves, pictures and reports of this training: {error:#}")
}

/// The observer, as long as it does not fail.
struct Watch<'a, T>(Option<&'a mut dyn Observer<T>>);

impl<T> Watch<'_, T> {
    fn tell(&mut self, progress: &Progress, news: impl FnOnce(&mut dyn Observer<T>) -> anyhow::Result<()>) {
        let Some(observer) = self.0.take() else { return };
        match news(observer) {
            Ok(()) => self.0 = Some(observer),
            Err(error) => progress.line(&unobserved(&error)),
        }
    }
}
