//! What a person sees during a long training: a live bar on a terminal, plain lines elsewhere.

use crate::run::state::PARTS;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// Figures of the moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Whole epochs done.
    pub epoch: usize,
    /// Mean loss since the epoch began.
    pub loss: f64,
    /// Means of its parts, before they are weighed; 0 where it has none.
    pub parts: [f64; PARTS],
    /// Steps that this loss is the mean of.
    pub steps: usize,
    /// Learning rate.
    pub lr: f64,
    /// Images a second of late.
    pub images_per_second: f64,
}

/// The display of one training, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    epochs: usize,
    total_steps: usize,
    images_a_step: usize,
    printed: Instant,
}

impl Progress {
    /// A display for `total_steps` steps, of which `done` are behind.
    #[must_use]
    pub fn new(epochs: usize, total_steps: usize, done: usize, images_a_step: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total_steps as u64), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{wide_bar:.cyan/blue} {percent:>3}%  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar.set_position(done as u64);
            bar
        });
        Self { bar, epochs, total_steps, images_a_step, printed: Instant::now() }
    }

    /// Shows the state after `step` steps; without a terminal at most every ten seconds.
    pub fn update(&mut self, step: usize, moment: Moment) {
        let due = self.bar.is_some() || self.printed.elapsed() >= Duration::from_secs(10);
        if due {
            self.show(step, moment);
        }
    }

    /// Shows the state of a finished epoch as a line that stays.
    pub fn epoch_done(&mut self, step: usize, moment: Moment) {
        match &self.bar {
            Some(bar) => {
                let Moment { epoch, loss, lr, images_per_second, .. } = moment;
                let epochs = self.epochs;
                bar.println(format!(
                    "epoch {epoch:>4}/{epochs}  loss {loss:.4}  lr {lr:.2e}  {images_per_second:.0} img/s"
                ));
                self.show(step, moment);
            }
            None => self.show(step, moment),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => console::note!("{text}"),
        }
    }

    fn show(&mut self, step: usize, moment: Moment) {
        let Moment { epoch, loss, lr, images_per_second, .. } = moment;
        let images_left = (self.total_steps - step.min(self.total_steps)) * self.images_a_step;
        let left = Duration::from_secs_f64(images_left as f64 / images_per_second.max(1e-3));
        let left = HumanDuration(Duration::from_secs(left.as_secs()));
        let text = format!("loss {loss:.4}  lr {lr:.2e}  {images_per_second:.0} img/s  {left} left");
        match &self.bar {
            Some(bar) => {
                bar.set_position(step as u64);
                bar.set_message(format!("epoch {}/{}  {text}", (epoch + 1).min(self.epochs), self.epochs));
            }
            None => {
                let (epochs, total) = (self.epochs, self.total_steps);
                console::note!("epoch {epoch}/{epochs}  step {step}/{total}  {text}");
            }
        }
        self.printed = Instant::now();
    }
}
