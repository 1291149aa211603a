//! What a training leaves for people to look at: `steps.csv`, TensorBoard events, pictures and `report.html`.

use super::{
    events::EventFile,
    history::{Point, StepsFile},
};
use crate::{
    data::dataset::Dataset,
    objective::{Learner, joint::spread::Spread, target::FittedTarget},
    pictures::over_time::{self, FixedImages},
    report,
    run::{RunConfig, RunFolder, TrainState, state::PARTS},
    train::{
        engine::{Engine, Observer, Task as _, unobserved},
        pretraining::Pretraining,
        progress::Moment,
        schedule::Schedule,
    },
};
use anyhow::Context as _;
use std::time::{Duration, Instant};

/// About how many lines `steps.csv` has at most.
const POINTS: usize = 2000;
/// At how many moments of a training a picture is drawn.
const PICTURES: usize = 8;
/// Images in such a picture.
const IMAGES: usize = 6;
/// Drawing may take this share of the time.
const DRAWING_SHARE: f64 = 0.01;
/// Shortest time between two reports of a training under way.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// Sums of losses and of their parts, and the number of them.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    loss: f64,
    parts: [f64; PARTS],
    count: usize,
}

impl Sums {
    /// What `self` has and `other`, an earlier state of it, has not, added to `to`.
    fn add_since(&self, other: &Self, to: &mut Self) {
        to.loss += self.loss - other.loss;
        to.count += self.count - other.count;
        for (to, (now, before)) in to.parts.iter_mut().zip(self.parts.iter().zip(other.parts)) {
            *to += now - before;
        }
    }
}

/// The record of one training. It never reads from the device on its own, except for pictures.
#[derive(Debug)]
pub struct Recorder {
    run: RunFolder,
    config: RunConfig,
    schedule: Schedule,
    steps_an_epoch: usize,
    steps: StepsFile,
    events: EventFile,
    /// Steps from one point to the next.
    spacing: usize,
    next_point: usize,
    /// The epoch's losses that are in `pending` or written.
    seen: Sums,
    /// The losses since the last point.
    pending: Sums,
    latest: Option<(TrainState, Moment)>,
    begun: Instant,
    seconds_before: f64,
    images: Option<FixedImages>,
    /// Epochs after which pictures are still to be drawn.
    drawings: Vec<usize>,
    /// When the last drawing ended and how long it took.
    drawn: Option<(Instant, Duration)>,
    reported: Option<Instant>,
}

impl Recorder {
    /// The record of a training that is about to begin or to go on; `None`, with a warning, if it cannot be kept:
    /// what people look at must not end a training.
    #[must_use]
    pub fn of(run: &RunFolder, config: &RunConfig, dataset: &Dataset, engine: &Engine<Pretraining>) -> Option<Self> {
        let started = Self::start(run, config, dataset, engine);
        started.map_err(|error| console::note!("{}", unobserved(&error))).ok()
    }

    /// Goes on where `engine` does, and drops what the run folder holds about later steps, which are done again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(
        run: &RunFolder,
        config: &RunConfig,
        dataset: &Dataset,
        engine: &Engine<Pretraining>,
    ) -> anyhow::Result<Self> {
        let (epochs, steps_an_epoch, state) = (config.train.epochs, engine.task.steps_an_epoch(), *engine.state());
        let (steps, seconds_before) = StepsFile::start(run.path(), state.step, config.train.joint.is_on())?;
        let mut events = EventFile::start(&run.path().join("tensorboard"), state.step)?;
        over_time::forget_after(&run.pictures(), state.epoch)?;
        let count = if config.train.joint.reconstructs() { PICTURES } else { 0 };
        let drawings: Vec<usize> = moments(epochs, count).into_iter().filter(|epoch| *epoch > state.epoch).collect();
        let images = match drawings.is_empty() {
            true => None,
            false => {
                let target = FittedTarget::load(config.train.target, run.path(), &config.model.grid()?)?;
                FixedImages::new(dataset, config, target, IMAGES)?
            }
        };
        if let Some(images) = &images {
            let (originals, visible) = images.write(&run.pictures())?;
            if state.step == 0 {
                events.image(0, "images/original", originals.size(), originals.to_png()?)?;
                events.image(0, "images/visible", visible.size(), visible.to_png()?)?;
            }
        }
        Ok(Self {
            run: run.clone(),
            config: config.clone(),
            schedule: engine.schedule(),
            steps_an_epoch,
            steps,
            events,
            spacing: (epochs * steps_an_epoch / POINTS).max(1),
            next_point: 0,
            seen: Sums { loss: state.loss_sum, parts: state.part_sums, count: state.losses },
            pending: Sums::default(),
            latest: None,
            begun: Instant::now(),
            seconds_before,
            images,
            drawings,
            drawn: None,
            reported: None,
        })
    }

    fn write_point(&mut self) -> anyhow::Result<()> {
        let (Some((state, moment)), Sums { loss, parts, count }) = (self.latest, self.pending) else { return Ok(()) };
        if count == 0 {
            return Ok(());
        }
        let epoch = state.epoch as f64 + state.iteration as f64 / self.steps_an_epoch.max(1) as f64;
        let mean = |sum: f64| sum / count as f64;
        let part = |i: usize| self.config.train.joint.is_on().then(|| mean(parts[i]));
        let point = Point {
            step: state.step,
            epoch,
            loss: mean(loss),
            // As at the end of an epoch, that of the next step; the moment's, within one, is that of the last.
            lr: self.schedule.at(epoch),
            images_per_second: moment.images_per_second,
            seconds: self.seconds_before + self.begun.elapsed().as_secs_f64(),
            reconstruction: part(0),
            joint: part(1),
        };
        self.steps.push(&point)?;
        let mut scalars =
            vec![("loss", point.loss), ("lr", point.lr), ("images_per_second", point.images_per_second)];
        let parts = [("reconstruction", point.reconstruction), ("joint", point.joint)];
        scalars.extend(parts.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self.events.scalars(point.step, &scalars)?;
        self.pending = Sums::default();
        self.next_point = state.step + self.spacing;
        Ok(())
    }

    fn may_draw(&self) -> bool {
        self.drawn.is_none_or(|(at, took)| took.as_secs_f64() < at.elapsed().as_secs_f64() * DRAWING_SHARE)
    }

    fn draw(&mut self, state: &TrainState, model: &Learner) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.drawings.retain(|epoch| *epoch > state.epoch);
        if let Some(images) = &self.images {
            let strip = images.reconstruction(&self.config, model)?;
            strip.write(&over_time::path(&self.run.pictures(), state.epoch))?;
            self.events.image(state.step, "images/reconstruction", strip.size(), strip.to_png()?)?;
        }
        self.drawn = Some((Instant::now(), begun.elapsed()));
        Ok(())
    }
}

impl Observer<Pretraining> for Recorder {
    /// Takes in the figures; writes a point if one is due.
    fn point(&mut self, state: &TrainState, moment: &Moment) -> anyhow::Result<()> {
        let sum = |mean: f64| mean * moment.steps as f64;
        let now = Sums { loss: sum(moment.loss), parts: moment.parts.map(sum), count: moment.steps };
        now.add_since(&self.seen, &mut self.pending);
        self.seen = now;
        self.latest = Some((*state, *moment));
        if state.step >= self.next_point { self.write_point() } else { Ok(()) }
    }

    /// Draws and reports if that is due, after the last epoch always.
    fn epoch(&mut self, state: &TrainState, moment: &Moment, task: &Pretraining) -> anyhow::Result<()> {
        self.point(state, moment)?;
        self.seen = Sums::default();
        if let Some([Spread { std, rank }, _]) = task.spread()? {
            self.events.scalars(state.step, &[("feature_std", std), ("feature_rank", rank)])?;
        }
        let last = state.epoch >= self.config.train.epochs;
        if last {
            self.write_point()?;
        }
        if self.drawings.first().is_some_and(|epoch| *epoch <= state.epoch) && (last || self.may_draw()) {
            self.draw(state, task.learner()?).with_context(|| format!("drawing after epoch {}", state.epoch))?;
        }
        if last || self.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            report::write(&self.run, &self.config)?;
            self.reported = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes what is pending, and the report.
    fn stop(&mut self) -> anyhow::Result<()> {
        self.write_point()?;
        report::write(&self.run, &self.config)?;
        Ok(())
    }
}

/// Up to `count` epochs of `epochs`, more of them early, where more changes; the last one always.
fn moments(epochs: usize, count: usize) -> Vec<usize> {
    let place = |i: usize| (epochs as f64 * (i as f64 / count as f64).powi(2)).round() as usize;
    let mut moments: Vec<usize> = (1..=count).map(|i| place(i).clamp(1, epochs.max(1))).collect();
    moments.dedup();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_spread_over_the_training() {
        assert_eq!(moments(20, 8), [1, 3, 5, 8, 11, 15, 20]);
        assert_eq!(moments(1, 8), [1]);
        assert_eq!(moments(3, 8), [1, 2, 3]);
        for epochs in 1..500 {
            let moments = moments(epochs, 8);
            assert!(moments.is_sorted_by(|a, b| a < b) && moments.len() <= 8, "{moments:?}");
            assert_eq!(moments.last(), Some(&epochs));
        }
    }
}
