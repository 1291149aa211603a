//! Sends images to a board and waits for its answers; what is lost or damaged on the way is sent again.

use super::{Ending, Event, LinkError, Reader};
use common::{
    mask::len_visible,
    model::Pooling,
    wire::{
        Choice, ErrorCode, Feature, Hello, ImagePart, LogLevel, MAX_FRAME, MAX_PIXELS, Message, Sender, Settings,
    },
};
use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

/// How often a command is sent before the board counts as lost.
const ATTEMPTS: u32 = 5;
/// How long a board may take to say who it is.
const GREETING: Duration = Duration::from_secs(2);

/// Why an image was not answered. The command line tells `baud` as its option.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The board says nothing.
    #[error(
        "the board does not answer {what} ({ATTEMPTS} attempts of {seconds:.1} s); is it on, does it run a firmware \
         that takes images, and at the same baud?"
    )]
    Silent {
        /// What was sent.
        what: String,
        /// How long each answer was waited for.
        seconds: f64,
    },
    /// Something arrives, but never the right answer.
    #[error("the board got {what} damaged {ATTEMPTS} times; try a lower baud or a shorter line")]
    Damaged {
        /// What was sent.
        what: String,
    },
    /// The board will not do it.
    #[error("the board refuses {what}: {reason}")]
    Refused {
        /// What was sent.
        what: String,
        /// What the board says.
        reason: String,
    },
    /// The line is gone.
    #[error("the line ended: {0}")]
    Ended(String),
    /// The user has had enough.
    #[error("stopped")]
    Stopped,
    /// The board speaks another version.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nothing can be sent.
    #[error("cannot send to the board: {0}")]
    Write(io::Error),
}

/// One attempt's outcome.
enum Outcome<T> {
    Done(T),
    Refused,
    Damaged,
    Silent,
}

/// The host's end of a line to a board that takes images.
pub struct Uploader<R, W> {
    reader: Reader<R>,
    writer: W,
    sender: Sender,
    /// How long an answer may take.
    patience: Duration,
    /// Bits a second, for the time that bytes are under way.
    baud: u32,
    stop: Box<dyn Fn() -> bool>,
    show: Box<dyn FnMut(&Event)>,
    /// What the board complained about last.
    complaint: String,
    repeated: u64,
}

impl<R: Read, W: Write> Uploader<R, W> {
    /// A line at `baud` bits a second. `show` sees what comes beside answers; `stop` says whether to give up.
    pub fn new(
        (reader, writer): (R, W),
        baud: u32,
        patience: Duration,
        stop: impl Fn() -> bool + 'static,
        show: impl FnMut(&Event) + 'static,
    ) -> Self {
        Self {
            reader: Reader::new(reader),
            writer,
            sender: Sender::new(),
            patience,
            baud,
            stop: Box::new(stop),
            show: Box::new(show),
            complaint: String::new(),
            repeated: 0,
        }
    }

    /// What came so far.
    pub fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// Counts what had begun when the line ended or nobody waited any longer.
    pub fn close(&mut self) {
        self.reader.close();
    }

    /// Commands that were sent again.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Asks who is there.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn greet(&mut self) -> Result<Hello, UploadError> {
        let (what, patience) = ("the question who it is", self.short());
        let hello = self.attempts(what, patience, |line| {
            line.send(&[Message::Ask])?;
            line.wait(patience, |event| match event {
                Event::Hello(hello) => Some(Outcome::Done(hello)),
                _ => None,
            })
        })?;
        (self.show)(&Event::Hello(hello.clone()));
        self.quiet()?;
        Ok(hello)
    }

    /// Says how the next images are encoded.
    ///
    /// # Errors
    /// If the board refuses it or does not answer.
    pub fn set(&mut self, settings: Settings) -> Result<(), UploadError> {
        let (what, patience) = (format!("{} of the patches", settings.keep), self.short());
        self.attempts(&what, patience, |line| {
            // Settings are not answered, but a question behind them is.
            line.send(&[Message::Settings(settings), Message::Ask])?;
            line.wait(patience, |event| match event {
                Event::Error(ErrorCode::Unsupported) => Some(Outcome::Refused),
                Event::Error(_) => Some(Outcome::Damaged),
                Event::Statistics(_) => Some(Outcome::Done(())),
                _ => None,
            })
        })?;
        self.quiet()
    }

    /// The feature of image `frame`, whose values are `pixels` (`[H, W, C]` as the board greeted).
    ///
    /// # Errors
    /// If the board refuses it, or does not answer several attempts.
    pub fn image(
        &mut self,
        hello: &Hello,
        settings: Settings,
        frame: u32,
        pixels: &[u8],
    ) -> Result<Feature, UploadError> {
        let commands: Vec<Message> = parts(frame, pixels).collect();
        // Ten bits a byte.
        let travel = Duration::from_secs_f64(pixels.len() as f64 * 10.0 / f64::from(self.baud.max(1)));
        let patience = self.patience + travel;
        let mut again = false;
        let feature = self.attempts(&format!("image {frame}"), patience, |line| {
            if std::mem::replace(&mut again, true) {
                // It may have restarted and lost them.
                line.send(&[Message::Settings(settings)])?;
            }
            line.send(&commands)?;
            line.wait(patience, |event| match event {
                Event::Feature(feature) if feature.frame == frame => match answers(&feature, hello, &settings) {
                    true => Some(Outcome::Done(feature)),
                    false => Some(Outcome::Damaged),
                },
                Event::Error(ErrorCode::Unsupported) => Some(Outcome::Refused),
                // Unasked: it has restarted.
                Event::Error(_) | Event::Hello(_) => Some(Outcome::Damaged),
                _ => None,
            })
        })?;
        Ok(feature)
    }

    /// Asks for the board's figures; shows them, if they come.
    ///
    /// # Errors
    /// If the line is gone.
    pub fn figures(&mut self) -> Result<(), UploadError> {
        self.send(&[Message::Ask])?;
        self.wait(self.short(), |event| matches!(event, Event::Statistics(_)).then_some(Outcome::Done(event))).map(
            |outcome| {
                if let Outcome::Done(statistics) = outcome {
                    (self.show)(&statistics);
                }
            },
        )
    }

    /// For what needs no work.
    fn short(&self) -> Duration {
        self.patience.min(GREETING)
    }

    fn attempts<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut(&mut Self) -> Result<Outcome<T>, UploadError>,
    ) -> Result<T, UploadError> {
        let mut damaged = false;
        self.complaint.clear();
        for number in 0..ATTEMPTS {
            if number > 0 {
                self.repeated += 1;
                // Ends what is left of a frame whose end was lost.
                self.write(&[0])?;
            }
            match attempt(self)? {
                Outcome::Done(value) => return Ok(value),
                Outcome::Refused => {
                    let reason = match self.complaint.is_empty() {
                        true => "it does not support this".into(),
                        false => std::mem::take(&mut self.complaint),
                    };
                    return Err(UploadError::Refused { what: what.into(), reason });
                }
                Outcome::Damaged => {
                    damaged = true;
                    // Errors about the rest of what was sent.
                    self.quiet()?;
                }
                Outcome::Silent => damaged = false,
            }
        }
        let what = what.into();
        Err(if damaged {
            UploadError::Damaged { what }
        } else {
            UploadError::Silent { what, seconds: patience.as_secs_f64() }
        })
    }

    fn send(&mut self, commands: &[Message]) -> Result<(), UploadError> {
        let mut buffer = [0; MAX_FRAME];
        for command in commands {
            let frame = self
                .sender
                .encode(command, &mut buffer)
                .map_err(|error| UploadError::Write(io::Error::other(error)))?;
            self.writer.write_all(frame).map_err(UploadError::Write)?;
        }
        self.writer.flush().map_err(UploadError::Write)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.writer.write_all(bytes).map_err(UploadError::Write)
    }

    /// Waits for what `wanted` makes an outcome of.
    fn wait<T>(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(Event) -> Option<Outcome<T>>,
    ) -> Result<Outcome<T>, UploadError> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            let event = self.event()?;
            if let Some(outcome) = wanted(event) {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Silent)
    }

    /// Reads until nothing comes.
    fn quiet(&mut self) -> Result<(), UploadError> {
        let begun = Instant::now();
        while begun.elapsed() < GREETING {
            if let Event::Idle = self.event()? {
                break;
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Event, UploadError> {
        if (self.stop)() {
            return Err(UploadError::Stopped);
        }
        let event = self.reader.next_event()?;
        match &event {
            Event::Ended(Ending::EndOfFile) => return Err(UploadError::Ended("its other end was closed".into())),
            Event::Ended(Ending::Vanished(reason)) => return Err(UploadError::Ended(reason.clone())),
            Event::Log(log) => {
                if log.level == LogLevel::Error {
                    self.complaint = log.text.as_str().into();
                }
                (self.show)(&event);
            }
            _ => {}
        }
        Ok(event)
    }
}

/// An image in parts that fit into frames.
fn parts(frame: u32, pixels: &[u8]) -> impl Iterator<Item = Message> {
    let total = pixels.len() as u32;
    pixels.chunks(MAX_PIXELS).enumerate().map(move |(index, part)| {
        let pixels = part.iter().copied().collect();
        Message::Image(ImagePart { frame, total, offset: (index * MAX_PIXELS) as u32, pixels })
    })
}

/// Whether a feature was made with these settings: a board that lost them used others.
fn answers(feature: &Feature, hello: &Hello, settings: &Settings) -> bool {
    let patches = hello.patches as usize;
    let visible = if settings.choice == Choice::All { patches } else { len_visible(patches, settings.keep) };
    let mean = |pooling| matches!(pooling, Pooling::Mean | Pooling::MeanNorm);
    let pooling = settings.pooling == feature.pooling || mean(settings.pooling) && mean(feature.pooling);
    pooling && feature.kept as usize == visible
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
