//! Mean loss and speed of an epoch, read from the device only when they are shown or saved.

use super::progress::Moment;
use crate::run::state::PARTS;
use anyhow::Context as _;
use burn::tensor::Tensor;
use std::time::{Duration, Instant};

/// The figures since the epoch began.
pub struct Meter {
    images_a_step: usize,
    unread: Vec<Tensor<1>>,
    loss_sum: f64,
    losses: usize,
    part_sums: [f64; PARTS],
    /// Steps of this process, for the speed; `losses` also counts those before a resume.
    steps: usize,
    begun: Instant,
    since: Instant,
    images_per_second: f64,
}

impl Meter {
    /// The figures of an epoch that goes on after these: the sum of its losses, their number, and the sums of
    /// their parts.
    #[must_use]
    pub fn new(images_a_step: usize, (loss_sum, losses, part_sums): (f64, usize, [f64; PARTS])) -> Self {
        let since = Instant::now();
        Self {
            images_a_step,
            unread: Vec::new(),
            loss_sum,
            losses,
            part_sums,
            steps: 0,
            begun: since,
            since,
            images_per_second: 0.0,
        }
    }

    /// Adds the loss of a step, `[1]` or `[1 + PARTS]`.
    pub fn add(&mut self, loss: Tensor<1>) {
        self.unread.push(loss);
    }

    /// Whether half a second has passed since the last reading.
    #[must_use]
    pub fn due(&self) -> bool {
        self.since.elapsed() > Duration::from_millis(500)
    }

    /// The figures since the epoch began.
    ///
    /// # Errors
    /// If the device cannot give the losses back.
    pub fn whole(&mut self, epoch: usize, lr: f64) -> anyhow::Result<Moment> {
        let moment = self.read(epoch, lr)?;
        let images = (self.steps * self.images_a_step) as f64;
        Ok(Moment { images_per_second: images / self.begun.elapsed().as_secs_f64().max(1e-9), ..moment })
    }

    /// The loss since the epoch began, the speed since the last reading.
    ///
    /// # Errors
    /// If the device cannot give the losses back.
    pub fn read(&mut self, epoch: usize, lr: f64) -> anyhow::Result<Moment> {
        if !self.unread.is_empty() {
            let steps = self.unread.len();
            let width = self.unread[0].dims()[0];
            let losses = Tensor::cat(std::mem::take(&mut self.unread), 0).try_to_vec_as::<f32>();
            let losses = losses.map_err(|e| anyhow::anyhow!("{e}")).context("reading the loss")?;
            // One by one, so that the sum does not depend on when it was read.
            for loss in losses.chunks_exact(width) {
                self.loss_sum += f64::from(loss[0]);
                self.part_sums.iter_mut().zip(&loss[1..]).for_each(|(sum, part)| *sum += f64::from(*part));
            }
            self.losses += steps;
            self.steps += steps;
            let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
            self.images_per_second = (steps * self.images_a_step) as f64 / seconds;
            self.since = Instant::now();
        }
        let mean = |sum: f64| sum / self.losses.max(1) as f64;
        let (loss, parts) = (mean(self.loss_sum), self.part_sums.map(mean));
        Ok(Moment { epoch, loss, parts, steps: self.losses, lr, images_per_second: self.images_per_second })
    }

    /// The sum of the losses that have been read, their number, and the sums of their parts.
    #[must_use]
    pub fn sums(&self) -> (f64, usize, [f64; PARTS]) {
        (self.loss_sum, self.losses, self.part_sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_mean_depends_neither_on_the_readings_nor_on_a_resume() -> anyhow::Result<()> {
        let losses: Vec<f32> = (1..100).map(|i| 1.0 / i as f32).collect();
        let add = |meter: &mut Meter, losses: &[f32]| {
            losses.iter().for_each(|loss| meter.add(Tensor::from_floats([*loss], &Device::flex())));
        };
        let mut once = Meter::new(8, (0.0, 0, [0.0; PARTS]));
        add(&mut once, &losses);
        let expected = once.whole(0, 0.0)?.loss;
        for places in [[1, 2], [7, 50], [50, 98]] {
            let mut meter = Meter::new(8, (0.0, 0, [0.0; PARTS]));
            add(&mut meter, &losses[..places[0]]);
            meter.read(0, 0.0)?;
            add(&mut meter, &losses[places[0]..places[1]]);
            meter.read(0, 0.0)?;
            let mut resumed = Meter::new(8, meter.sums());
            add(&mut resumed, &losses[places[1]..]);
            assert_eq!(resumed.whole(0, 0.0)?.loss.to_bits(), expected.to_bits());
        }
        Ok(())
    }
}
