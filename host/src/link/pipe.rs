//! Pipes and standard input, whose reads cannot be given up: a thread reads, and who waits can look at the clock.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// How long one read waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pieces that may wait to be taken.
const WAITING: usize = 16;

/// The end of a pipe that is taken from.
pub(super) struct Pipe {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

impl Pipe {
    /// Reads what `open` opens; a named pipe opens when somebody writes to it.
    pub(super) fn new<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        let (sender, pieces) = sync_channel(WAITING);
        // It ends with its source, or with the program.
        thread::spawn(move || {
            let mut source = match open() {
                Ok(source) => source,
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let mut piece = vec![0; 4096];
                let read = match source.read(&mut piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let more = matches!(read, Ok(1..));
                let sent = sender.send(read.map(|count| {
                    piece.truncate(count);
                    piece
                }));
                if !more || sent.is_err() {
                    return;
                }
            }
        });
        Self { pieces, piece: Vec::new(), used: 0 }
    }
}

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            self.piece = match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
                // It has ended, and that was said.
                Err(RecvTimeoutError::Disconnected) => Vec::new(),
            };
            self.used = 0;
        }
        let count = (&self.piece[self.used..]).read(out)?;
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_an_end_or_a_failure_is_told() {
        struct Failing(u8);
        impl Read for Failing {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                out[0] = self.0;
                if self.0 < 3 { Ok(1) } else { Err(io::Error::other("no more")) }
            }
        }
        let all: Vec<u8> = (0..20_000_u32).map(|value| value as u8).collect();
        let source = io::Cursor::new(all.clone());
        let (mut pipe, mut found) = (Pipe::new(|| Ok(source)), vec![]);
        pipe.read_to_end(&mut found).expect("bytes");
        assert!(found == all && pipe.read(&mut [0]).is_ok_and(|count| count == 0));
        let (mut pipe, mut found) = (Pipe::new(|| Ok(Failing(0))), vec![]);
        assert_eq!(pipe.read_to_end(&mut found).expect_err("a failure").to_string(), "no more");
        assert_eq!(found, [1, 2]);
    }

    #[test]
    fn silence_is_no_end() {
        let mut pipe = Pipe::new(|| {
            thread::sleep(Duration::from_millis(300));
            Ok(io::Cursor::new([7]))
        });
        let mut out = [0];
        assert_eq!(pipe.read(&mut out).expect_err("silence").kind(), io::ErrorKind::TimedOut);
        let read = loop {
            match pipe.read(&mut out) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                read => break read,
            }
        };
        assert_eq!((read.expect("a byte"), out), (1, [7]));
    }
}
