//! What `host listen` shows while features come.

use crate::link::{Counts, Event, names::escaped};
use common::wire::{Feature, Hello, Statistics};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// A live line on a terminal; a line every two seconds elsewhere.
pub(super) struct Display {
    bar: Option<indicatif::ProgressBar>,
    begun: Instant,
    shown: Instant,
    name: String,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.set_message("waiting for the board");
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, begun: Instant::now(), shown: Instant::now(), name: String::new() }
    }

    /// What comes beside features.
    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Hello(hello) => self.hello(hello),
            Event::Statistics(board) => self.line(&statistics_line(board)),
            Event::Log(log) => self.line(&format!("board    {:?}: {}", log.level, escaped(&log.text))),
            _ => {}
        }
    }

    fn hello(&self, hello: &Hello) {
        self.line(&format!(
            "board    {} with {}, model {}: images {}x{}x{}, {} patches, {} values a feature",
            escaped(&hello.program),
            escaped(&hello.runtime),
            hello.model,
            hello.image_height,
            hello.image_width,
            hello.channels,
            hello.patches,
            hello.feature_dim,
        ));
    }

    pub(super) fn feature(&mut self, feature: &Feature, class: Option<&(String, f32)>, counts: Counts) {
        if counts.features == 1 {
            self.begun = Instant::now();
        }
        let class = class.map(|(name, score)| format!("  {} {score:.2}", escaped(name))).unwrap_or_default();
        self.name = format!("{} ({} of {} patches){class}", escaped(&feature.name), feature.kept, feature.patches);
        self.tick(counts);
    }

    pub(super) fn tick(&mut self, counts: Counts) {
        let due = Duration::from_millis(if self.bar.is_some() { 100 } else { 2000 });
        if counts.features == 0 || self.shown.elapsed() < due {
            return;
        }
        self.shown = Instant::now();
        let rate = (counts.features - 1) as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let text = format!(
            "{} features  {rate:.1}/s  lost {}  damaged {}  {}",
            counts.features, counts.lost, counts.damaged, self.name
        );
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => console::note!("{text}"),
        }
    }

    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => console::note!("{text}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn statistics_line(board: &Statistics) -> String {
    format!(
        "board    {} images encoded, {} skipped, {} bytes sent, {:.2} ms an image",
        board.frames,
        board.skipped,
        board.bytes,
        board.encode_micros as f64 / 1e3 / f64::from(board.frames.max(1)),
    )
}
