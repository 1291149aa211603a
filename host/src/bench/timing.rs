//! Timed steps of any kind of training.

use super::Spread;
use anyhow::Context as _;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Speed of a kind of step.
#[derive(Debug, Clone, Serialize)]
pub struct Speed {
    /// Timed steps.
    pub steps: usize,
    /// Over the steps.
    pub images_per_second: Spread,
    /// Milliseconds a step.
    pub ms: Spread,
}

/// How many steps are timed.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Steps before the timed ones.
    pub warm_up: usize,
    /// At least this many timed steps...
    pub least: usize,
    /// ... for at least this long.
    pub seconds: Duration,
}

/// Times one step from [`Clock::start`] to [`Clock::stop`].
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    seconds: f64,
}

impl Clock {
    /// What is timed begins.
    pub fn start(&mut self) {
        self.begun = Instant::now();
    }

    /// What is timed ends.
    pub fn stop(&mut self) {
        self.seconds = self.begun.elapsed().as_secs_f64();
    }
}

/// Takes steps of `batch` images until there are enough and long enough.
///
/// # Errors
/// Those of a step.
pub fn time_steps(
    rounds: Rounds,
    batch: usize,
    step: &mut dyn FnMut(&mut Clock) -> anyhow::Result<()>,
) -> anyhow::Result<Speed> {
    let mut clock = Clock { begun: Instant::now(), seconds: 0.0 };
    for _ in 0..rounds.warm_up {
        step(&mut clock)?;
    }
    let (begun, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < rounds.least || begun.elapsed() < rounds.seconds {
        step(&mut clock)?;
        seconds.push(clock.seconds);
    }
    let spread =
        |f: &dyn Fn(&f64) -> f64| Spread::of(&seconds.iter().map(f).collect::<Vec<_>>()).context("no step was timed");
    Ok(Speed { steps: seconds.len(), images_per_second: spread(&|s| batch as f64 / s)?, ms: spread(&|s| s * 1e3)? })
}
