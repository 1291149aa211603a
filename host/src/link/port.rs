//! Opening what features are read from.

use super::pipe::Pipe;
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

/// A port that cannot be used as asked for. The command line tells `baud`, `dtr` and `rts` as its options.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No speed at all.
    #[error("baud must be at least 1")]
    NoSpeed,
    /// A control line is to be switched where there is none.
    #[error("{0} is no serial port, which dtr and rts are for")]
    NoControl(String),
}

/// What a serial port is set to when it is opened; of other sources only that nothing is asked in vain is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Bits a second.
    pub baud: u32,
    /// What becomes of DTR; without it, what the system does.
    pub dtr: Option<bool>,
    /// What becomes of RTS; without it, what the system does.
    pub rts: Option<bool>,
}

/// How long one read waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long nobody may take what is written.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Opens `-` (standard input), a file or pipe, or a serial port.
///
/// # Errors
/// If it does not exist, may not be opened, is no port, or is none that can be set up so.
pub fn open(port: &str, setup: Setup) -> anyhow::Result<Box<dyn Read + Send>> {
    setup.check()?;
    let lineless = || match setup.dtr.or(setup.rts) {
        Some(_) => Err(PortError::NoControl(if port == "-" { "standard input".into() } else { port.into() })),
        None => Ok(()),
    };
    if port == "-" {
        lineless()?;
        return Ok(Box::new(Pipe::new(|| Ok(io::stdin()))));
    }
    let path = Path::new(port);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(misuse(format!("{port} is a folder, not a port"))),
        Ok(metadata) if is_pipe(&metadata) => {
            lineless()?;
            let path = path.to_owned();
            return Ok(Box::new(Pipe::new(|| fs::File::open(path))));
        }
        Ok(metadata) if metadata.is_file() => {
            lineless()?;
            return Ok(Box::new(fs::File::open(path).with_context(|| format!("cannot open {port}"))?));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(misuse(format!("the port {port} does not exist; {}", present())));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {port}")),
    }
    Ok(Box::new(Plugged::open(port, setup)?))
}

/// What comes from a board, and what goes to it.
type BothWays = (Box<dyn Read>, Box<dyn Write>);

/// Opens a serial port to read and to write.
///
/// # Errors
/// If it does not exist, may not be opened, is no port, or is none that can be set up so.
pub fn open_both_ways(port: &str, setup: Setup) -> anyhow::Result<BothWays> {
    setup.check()?;
    match fs::metadata(port) {
        _ if port == "-" => Err(OneWay::StandardInput.into()),
        Ok(metadata) if metadata.is_dir() || metadata.is_file() || is_pipe(&metadata) => {
            Err(OneWay::NoSerialPort(port.into()).into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(misuse(format!("the port {port} does not exist; {}", present())))
        }
        _ => {
            let reader = Plugged::open(port, setup)?;
            let writer = reader.port.try_clone().with_context(|| format!("cannot write to {port}"))?;
            Ok((Box::new(reader), Box::new(Patient(writer))))
        }
    }
}

impl Setup {
    fn check(self) -> Result<(), PortError> {
        if self.baud == 0 { Err(PortError::NoSpeed) } else { Ok(()) }
    }
}

fn serial(port: &str, setup: Setup) -> anyhow::Result<Box<dyn serialport::SerialPort>> {
    let Setup { baud, dtr, rts } = setup;
    let mut opened = serialport::new(port, baud).timeout(PATIENCE).open().map_err(|error| {
        let hint = match error.kind() {
            serialport::ErrorKind::InvalidInput | serialport::ErrorKind::Io(io::ErrorKind::InvalidInput) => {
                "does it know this speed?"
            }
            _ => "is it a serial port? in use? may you read it: group `dialout` on Linux?",
        };
        anyhow::Error::new(error).context(format!("cannot open the port {port} at {baud} baud ({hint})"))
    })?;
    let mut switch = |name: &str, to: Option<bool>| {
        let Some(level) = to else { return Ok(()) };
        let done = match name {
            "DTR" => opened.write_data_terminal_ready(level),
            _ => opened.write_request_to_send(level),
        };
        done.with_context(|| format!("the port {port} cannot switch {name} (a pseudo-terminal has no such line)"))
    };
    // On many boards RTS alone resets the processor, and DTR alone does nothing: RTS is never the only one.
    let order = if rts == Some(false) { [("RTS", rts), ("DTR", dtr)] } else { [("DTR", dtr), ("RTS", rts)] };
    order.into_iter().try_for_each(|(name, level)| switch(name, level))?;
    Ok(opened)
}

/// A serial port; nothing to read, without having waited, means that it is gone.
struct Plugged {
    /// Also keeps others out while it is open.
    port: Box<dyn serialport::SerialPort>,
    #[cfg(target_os = "linux")]
    tty: nonblocking::Tty,
}

impl Plugged {
    fn open(port: &str, setup: Setup) -> anyhow::Result<Self> {
        // Before the port, which nobody may open a second time.
        #[cfg(target_os = "linux")]
        let tty = nonblocking::Tty::open(port);
        let opened = serial(port, setup)?;
        Ok(Self {
            port: opened,
            #[cfg(target_os = "linux")]
            tty: tty.with_context(|| format!("cannot open {port}"))?,
        })
    }
}

impl Read for Plugged {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        let count = self.tty.read(bytes)?;
        #[cfg(not(target_os = "linux"))]
        let count = self.port.read(bytes)?;
        match count {
            0 => Err(io::Error::new(io::ErrorKind::BrokenPipe, "its other end hung up")),
            count => Ok(count),
        }
    }
}

/// serialport waits until there is something to read, and then reads in a way that waits, too: for ever, where what
/// was there is gone by then, as when somebody else discards a terminal's input.
#[cfg(target_os = "linux")]
mod nonblocking {
    use super::PATIENCE;
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fs::OFlags,
    };
    use std::{fs::File, io, io::Read as _, os::unix::fs::OpenOptionsExt as _};

    /// A terminal that is read without waiting longer than a clock says.
    pub(super) struct Tty(File);

    impl Tty {
        pub(super) fn open(port: &str) -> io::Result<Self> {
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            File::options().read(true).custom_flags(flags.bits().cast_signed()).open(port).map(Self)
        }

        /// [`io::ErrorKind::TimedOut`] after a while without anything.
        pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            match self.0.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE.subsec_nanos()) };
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&wait))?;
            self.0.read(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })
        }
    }
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
