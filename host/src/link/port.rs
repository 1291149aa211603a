//! Opening what features are read from.

use anyhow::Context as _;
use console::misuse;
use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

/// Why images cannot be sent over a line.
#[derive(Debug, thiserror::Error)]
pub enum OneWay {
    /// It is standard input.
    #[error("standard input goes one way; sending images needs a serial port")]
    StandardInput,
    /// It is a file, a folder or a pipe.
    #[error("{0} is no serial port, which sending images needs")]
    NoSerialPort(String),
}

/// How long one read waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long nobody may take what is written.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Opens `-` (standard input), a file or pipe, or a serial port at `baud`.
///
/// # Errors
/// If it does not exist, may not be opened, or is no port.
pub fn open(port: &str, baud: u32) -> anyhow::Result<Box<dyn Read + Send>> {
    if port == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let path = Path::new(port);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(misuse(format!("{port} is a folder, not a port"))),
        Ok(metadata) if metadata.is_file() || is_pipe(&metadata) => {
            return Ok(Box::new(fs::File::open(path).with_context(|| format!("cannot open {port}"))?));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(misuse(format!("the port {port} does not exist; {}", present())));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {port}")),
    }
    Ok(Box::new(serial(port, baud)?))
}

/// What comes from a board, and what goes to it.
type BothWays = (Box<dyn Read>, Box<dyn Write>);

/// Opens a serial port at `baud` to read and to write.
///
/// # Errors
/// If it does not exist, may not be opened, or is no port.
pub fn open_both_ways(port: &str, baud: u32) -> anyhow::Result<BothWays> {
    match fs::metadata(port) {
        _ if port == "-" => Err(OneWay::StandardInput.into()),
        Ok(metadata) if metadata.is_dir() || metadata.is_file() || is_pipe(&metadata) => {
            Err(OneWay::NoSerialPort(port.into()).into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(misuse(format!("the port {port} does not exist; {}", present())))
        }
        _ => {
            let reader = serial(port, baud)?;
            let writer = reader.try_clone().with_context(|| format!("cannot write to {port}"))?;
            Ok((Box::new(reader), Box::new(Patient(writer))))
        }
    }
}

fn serial(port: &str, baud: u32) -> anyhow::Result<Box<dyn serialport::SerialPort>> {
    serialport::new(port, baud).timeout(PATIENCE).open().with_context(|| {
        format!(
            "cannot open the port {port} at {baud} baud (is it in use? may you read it: group `dialout` on Linux?)"
        )
    })
}

/// A serial port whose full buffer is waited for.
struct Patient(Box<dyn serialport::SerialPort>);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && begun.elapsed() < WRITE_PATIENCE => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Draining a line that nobody reads could take for ever; answers are waited for with a clock.
        Ok(())
    }
}

#[cfg(unix)]
fn is_pipe(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_metadata: &fs::Metadata) -> bool {
    false
}

/// The ports of this machine, for an error message.
fn present() -> String {
    let names: Vec<String> =
        serialport::available_ports().unwrap_or_default().into_iter().map(|port| port.port_name).collect();
    match names.is_empty() {
        true => "no serial port is present".into(),
        false => format!("present: {}", names.join(", ")),
    }
}
