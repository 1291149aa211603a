//! The system's ssh, never asking for anything.

use super::FlashError;
use crate::link::{Ending, Event, Reader};
use anyhow::Context as _;
use common::wire::Feature;
use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const NO_SSH: &str = "cannot run `ssh`; is it installed?";

/// The way to a board.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// The board's address, `user@host`.
    pub to: String,
    /// The port of its ssh; without it, what ssh's configuration says.
    pub port: Option<u16>,
    /// A private key instead of the usual ones.
    pub identity: Option<PathBuf>,
    /// A configuration file instead of the usual ones.
    pub config: Option<PathBuf>,
    /// How long to wait for the board at each step, seconds.
    pub timeout: u64,
}

impl Ssh {
    fn command(&self, remote: &str) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        if let Some(identity) = &self.identity {
            command.arg("-i").arg(identity);
        }
        let timeout: OsString = format!("ConnectTimeout={}", self.timeout).into();
        command.args(["-o", "BatchMode=yes", "-o"]).arg(timeout);
        // Given, it would go before the configuration's.
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        command.args(["--", &self.to, remote]);
        command
    }

    /// What `remote` prints.
    pub(super) fn output(&self, remote: &str) -> anyhow::Result<String> {
        let output = self.command(remote).stdin(Stdio::null()).output().context(NO_SSH)?;
        if !output.status.success() {
            return Err(self.refused(&output.stderr).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs `remote` with `file` as its input.
    pub(super) fn upload(&self, remote: &str, file: &Path) -> anyhow::Result<()> {
        let input = fs::File::open(file).context("the packed program is gone")?;
        let output = self.command(remote).stdin(input).output().context(NO_SSH)?;
        if !output.status.success() {
            return Err(self.refused(&output.stderr).into());
        }
        Ok(())
    }

    /// The first feature that `remote` writes.
    pub(super) fn first_feature(&self, remote: &str) -> anyhow::Result<Feature> {
        let mut child = self
            .command(remote)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(NO_SSH)?;
        let (stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = stdout.context("ssh gives no output")?;
        let (sender, receiver) = mpsc::channel();
        // On a thread, because a read from a pipe cannot be given up.
        thread::spawn(move || {
            let mut reader = Reader::new(stdout);
            let found = loop {
                match reader.next_event() {
                    Ok(Event::Feature(feature)) => break Ok(Some(feature)),
                    Ok(Event::Ended(Ending::EndOfFile | Ending::Vanished(_))) => break Ok(None),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            };
            drop(sender.send(found));
        });
        let found = receiver.recv_timeout(Duration::from_secs(self.timeout));
        drop(child.kill());
        drop(child.wait());
        if let Some(feature) = found.map_err(|_| FlashError::Silent(self.timeout))?? {
            return Ok(feature);
        }
        let mut text = Vec::new();
        if let Some(stderr) = &mut stderr {
            drop(stderr.read_to_end(&mut text));
        }
        Err(FlashError::Ended(last_line(&text)).into())
    }

    fn refused(&self, stderr: &[u8]) -> FlashError {
        let mut command = String::from("ssh");
        if let Some(config) = &self.config {
            command += &format!(" -F {}", config.display());
        }
        if let Some(identity) = &self.identity {
            command += &format!(" -i {}", identity.display());
        }
        if let Some(port) = self.port {
            command += &format!(" -p {port}");
        }
        FlashError::Refused { to: self.to.clone(), command, reason: last_line(stderr) }
    }
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
}
