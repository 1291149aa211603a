//! Reading features from a board: a serial port, a pseudo-terminal, a pipe, a file or standard input.

pub mod classes;
pub mod names;
mod pipe;
pub mod port;
pub mod receive;
pub mod send;
pub mod sink;
pub mod upload;

use classes::Classes;
use common::wire::{
    Assembler, Damage, Decoder, ErrorCode, Feature, Hello, Log, Message, OLDER_SCHEMAS, PROTOCOL, SCHEMA_HASH,
    Statistics,
};
use std::io::{self, Read};

/// What came over the line.
#[derive(Debug)]
pub enum Event {
    /// The board greets.
    Hello(Hello),
    /// A whole feature.
    Feature(Feature),
    /// The board's own figures.
    Statistics(Statistics),
    /// A line from the board.
    Log(Log),
    /// The board could not do something.
    Error(ErrorCode),
    /// Nothing for a while; time to look at the clock.
    Idle,
    /// The line has ended.
    Ended(Ending),
}

/// How a line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A file, pipe or standard input is at its end.
    EndOfFile,
    /// The port vanished.
    Vanished(String),
}

/// Counts of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Whole features.
    pub features: u64,
    /// Frames that never arrived whole, by their sequence numbers.
    pub lost: u64,
    /// Frames that arrived damaged, and one that had begun when the input ended.
    pub damaged: u64,
    /// Features of which a part is missing, also one that had begun when the input ended.
    pub incomplete: u64,
    /// Bytes received.
    pub bytes: u64,
}

/// Why a board cannot be understood at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Another version of the protocol.
    #[error("the board speaks protocol {0}, this program protocol {PROTOCOL}: install the same version on both")]
    Protocol(u8),
    /// Other messages under the same version.
    #[error(
        "the board's messages have schema {0:#010x}, this program's {SCHEMA_HASH:#010x}: install the same version on \
         both"
    )]
    Schema(u32),
}

/// Turns bytes into events.
pub struct Reader<R> {
    source: R,
    decoder: Decoder,
    assembler: Assembler,
    classes: Classes,
    counts: Counts,
    buffer: Vec<u8>,
    used: usize,
    synchronised: bool,
}

impl<R: Read> Reader<R> {
    /// A reader that has read nothing.
    pub fn new(source: R) -> Self {
        let (decoder, assembler) = (Decoder::new(), Assembler::default());
        Self {
            source,
            decoder,
            assembler,
            classes: Classes::default(),
            counts: Counts::default(),
            buffer: Vec::new(),
            used: 0,
            synchronised: false,
        }
    }

    /// Counts so far.
    pub fn counts(&self) -> Counts {
        Counts { incomplete: self.assembler.incomplete(), ..self.counts }
    }

    /// The name and the score of a feature's class, if it has one.
    pub fn class_of(&self, feature: &Feature) -> Option<(String, f32)> {
        feature.class.map(|class| (self.classes.name(&class), class.score))
    }

    /// Waits for the next event, at most as long as one read of the source does.
    ///
    /// # Errors
    /// If the board speaks another version.
    pub fn next_event(&mut self) -> Result<Event, LinkError> {
        loop {
            if let Some(event) = self.next_received()? {
                return Ok(event);
            }
            self.buffer.resize(4096, 0);
            self.used = 0;
            let read = self.source.read(&mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(self.ended(Ending::EndOfFile)),
                Ok(count) => self.counts.bytes += count as u64,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Event::Idle),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Event::Idle),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Event::Idle),
                Err(error) => return Ok(self.ended(Ending::Vanished(error.to_string()))),
            }
        }
    }

    /// The next event among the bytes that have been read; `None` if more are needed.
    ///
    /// # Errors
    /// If the board speaks another version.
    pub fn next_received(&mut self) -> Result<Option<Event>, LinkError> {
        while let Some(byte) = self.buffer.get(self.used) {
            self.used += 1;
            let result = self.decoder.push(*byte);
            let first = *byte == 0 && !std::mem::replace(&mut self.synchronised, true);
            let Some(result) = result else { continue };
            if let Some(event) = self.take(result, first)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Counts what had begun when the input ended: a frame as damaged, a feature as incomplete. What comes later is
    /// read as after a zero.
    pub fn close(&mut self) {
        if self.decoder.within_frame() {
            self.counts.damaged += 1;
            // Ends it.
            drop(self.decoder.push(0));
        }
        self.assembler.finish();
    }

    fn ended(&mut self, ending: Ending) -> Event {
        self.close();
        Event::Ended(ending)
    }

    /// What a frame says, `first` if no zero came before it.
    fn take(
        &mut self,
        result: Result<common::wire::Received, Damage>,
        first: bool,
    ) -> Result<Option<Event>, LinkError> {
        let received = match result {
            Ok(received) => received,
            Err(Damage::Version(version)) => return Err(LinkError::Protocol(version)),
            // Whoever joins in the middle sees the end of one frame first.
            Err(_) if first => return Ok(None),
            Err(_) => {
                self.counts.damaged += 1;
                return Ok(None);
            }
        };
        self.counts.lost += u64::from(received.lost_before);
        if let Some(feature) = self.assembler.push(&received) {
            self.counts.features += 1;
            return Ok(Some(Event::Feature(feature)));
        }
        Ok(match received.message {
            Message::Hello(hello) if hello.schema != SCHEMA_HASH && !OLDER_SCHEMAS.contains(&hello.schema) => {
                return Err(LinkError::Schema(hello.schema));
            }
            Message::Hello(hello) => {
                self.classes.clear();
                Some(Event::Hello(hello))
            }
            Message::Classes(part) => {
                self.classes.add(&part);
                None
            }
            Message::Statistics(statistics) => Some(Event::Statistics(statistics)),
            Message::Log(log) => Some(Event::Log(log)),
            Message::Error(code) => Some(Event::Error(code)),
            Message::Features(_) | Message::Class(_) => None,
            // What only a host sends: an echo.
            Message::Image(_) | Message::Settings(_) | Message::Ask | Message::BuiltIn(_) => None,
        })
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
