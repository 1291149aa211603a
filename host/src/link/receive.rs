//! Receiving features until one of the ends.

use super::{Counts, Ending, Event, Reader, sink::Sink};
use std::{
    fmt,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// When to stop receiving; without limits, when the line ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// After so many features.
    pub count: Option<u64>,
    /// When no feature has come for so long.
    pub patience: Option<Duration>,
}

/// Why nothing more is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The user has had enough.
    Stopped,
    /// As many features as were asked for.
    Count,
    /// No feature came for so many seconds.
    Silence(u64),
    /// The line is at its end.
    Line(Ending),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Count => f.write_str("all received"),
            Self::Silence(seconds) => write!(f, "nothing came for {seconds} s"),
            Self::Line(Ending::EndOfFile) => f.write_str("end of input"),
            Self::Line(Ending::Vanished(reason)) => write!(f, "the port vanished ({reason})"),
        }
    }
}

/// Reads events until one of the ends or `stop`; features go to `sink`. `show` sees every event but the last, with
/// the name and the score of a feature's class. What had begun then is counted.
///
/// # Errors
/// If the board speaks another version, or the sink cannot be written; it keeps what it has.
pub fn receive(
    reader: &mut Reader<impl Read>,
    sink: Option<&mut Sink>,
    limits: Limits,
    stop: &AtomicBool,
    show: impl FnMut(&Event, Option<&(String, f32)>, Counts),
) -> anyhow::Result<End> {
    let end = until_end(reader, sink, limits, stop, show);
    reader.close();
    end
}

fn until_end(
    reader: &mut Reader<impl Read>,
    mut sink: Option<&mut Sink>,
    limits: Limits,
    stop: &AtomicBool,
    mut show: impl FnMut(&Event, Option<&(String, f32)>, Counts),
) -> anyhow::Result<End> {
    let mut last = Instant::now();
    loop {
        if limits.count.is_some_and(|count| reader.counts().features >= count) {
            return Ok(End::Count);
        }
        let event = if stop.load(Ordering::Relaxed) {
            // What has come is kept.
            let Some(event) = reader.next_received()? else { return Ok(End::Stopped) };
            event
        } else {
            reader.next_event()?
        };
        let mut class = None;
        match &event {
            Event::Feature(feature) => {
                last = Instant::now();
                class = reader.class_of(feature);
                if let Some(sink) = &mut sink {
                    sink.push(feature, class.as_ref())?;
                }
            }
            Event::Idle if limits.patience.is_some_and(|patience| last.elapsed() > patience) => {
                return Ok(End::Silence(last.elapsed().as_secs()));
            }
            Event::Ended(ending) => return Ok(End::Line(ending.clone())),
            _ => {}
        }
        show(&event, class.as_ref(), reader.counts());
    }
}
