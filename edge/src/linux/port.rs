//! The line that features go out on.

use anyhow::Context as _;
use console::misuse;
use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// How long nobody may read before the port counts as dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens `-` (standard output) or a serial port.
///
/// # Errors
/// If the port does not exist or cannot be opened.
pub fn open(port: &str, baud: u32) -> anyhow::Result<Box<dyn Write>> {
    if port == "-" {
        return Ok(Box::new(io::stdout().lock()));
    }
    if !Path::new(port).exists() {
        let ports = serialport::available_ports().unwrap_or_default();
        let names = ports.into_iter().map(|port| port.port_name).collect::<Vec<_>>().join(", ");
        let present = if names.is_empty() { "no serial port is present".into() } else { format!("present: {names}") };
        return Err(misuse(format!("the port {port} does not exist; {present}")));
    }
    let opened = serialport::new(port, baud).timeout(Duration::from_millis(500)).open();
    let hint =
        || format!("cannot open the port {port} at {baud} baud (in use? no permission: group `dialout` on Linux?)");
    Ok(Box::new(Patient(opened.with_context(hint)?)))
}

/// A serial port whose full buffer is waited for.
struct Patient(Box<dyn serialport::SerialPort>);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && begun.elapsed() < PATIENCE => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(io::Error::new(error.kind(), format!("nobody read it for {} s", PATIENCE.as_secs())));
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
