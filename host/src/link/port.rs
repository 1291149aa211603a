//! Opening what features are read from.

use anyhow::Context as _;
use edge::exit::misuse;
use std::{fs, io::Read, path::Path, time::Duration};

/// How long one read waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// Opens `-` (standard input), a file or pipe, or a serial port at `baud`.
///
/// # Errors
/// If it does not exist, may not be opened, or is no port.
pub fn open(port: &str, baud: u32) -> anyhow::Result<Box<dyn Read + Send>> {
    if port == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let path = Path::new(port);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(misuse(format!("{port} is a folder, not a port"))),
        Ok(metadata) if metadata.is_file() || is_pipe(&metadata) => {
            return Ok(Box::new(fs::File::open(path).with_context(|| format!("cannot open {port}"))?));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(misuse(format!("the port {port} does not exist; {}", present())));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {port}")),
    }
    let opened = serialport::new(port, baud).timeout(PATIENCE).open();
    let hint = || {
        format!(
            "cannot open the port {port} at {baud} baud (is it in use? may you read it: group `dialout` on Linux?)"
        )
    };
    Ok(Box::new(opened.with_context(hint)?))
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
