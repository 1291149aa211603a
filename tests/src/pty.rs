//! Two pseudo-terminals joined to a serial line: what is written at one end arrives at the other, or nearly so.

use anyhow::Context as _;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What happens to bytes on the way: gets the number of the byte and the byte, gives what arrives.
pub type Disturbance = Box<dyn FnMut(usize, u8) -> Vec<u8> + Send>;

/// A serial line.
#[derive(Debug)]
pub struct Line {
    /// The board's port.
    pub board: String,
    /// The host's port.
    pub host: String,
    far: Option<OwnedFd>,
    cut: Arc<AtomicBool>,
    relay: Option<JoinHandle<()>>,
}

impl Line {
    /// A line that carries from the board's port to the host's.
    ///
    /// # Errors
    /// If the system has no pseudo-terminals.
    pub fn new(mut disturbance: Disturbance) -> anyhow::Result<Self> {
        let (near, board) = terminal()?;
        let (far, host) = terminal()?;
        let cut = Arc::new(AtomicBool::new(false));
        let (mut source, mut sink, stop) = (File::from(near), File::from(far.try_clone()?), cut.clone());
        let relay = thread::spawn(move || {
            let (mut buffer, mut count) = ([0; 1024], 0);
            while !stop.load(Ordering::Relaxed) {
                // Without anybody at the board's port, reading fails; somebody may still come.
                let Ok(read) = source.read(&mut buffer) else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                for byte in &buffer[..read] {
                    if sink.write_all(&disturbance(count, *byte)).is_err() {
                        return;
                    }
                    count += 1;
                }
            }
        });
        Ok(Self { board, host, far: Some(far), cut, relay: Some(relay) })
    }

    /// A line without faults.
    ///
    /// # Errors
    /// If the system has no pseudo-terminals.
    pub fn clean() -> anyhow::Result<Self> {
        Self::new(Box::new(|_, byte| vec![byte]))
    }

    /// Waits until somebody has opened the host's port and set it to raw bytes.
    ///
    /// # Errors
    /// After 30 seconds.
    pub fn wait_for_listener(&self) -> anyhow::Result<()> {
        let far = self.far.as_ref().context("the line is cut")?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if tcgetattr(far).is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ICANON)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("nobody opened the port")
    }

    /// Pulls the plug: both ports vanish.
    pub fn cut(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        self.far = None;
        if let Some(relay) = self.relay.take().filter(JoinHandle::is_finished) {
            let _ = relay.join();
        }
    }
}

fn terminal() -> anyhow::Result<(OwnedFd, String)> {
    // A program that inherited the far end would keep its own port alive.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).context("no pseudo-terminal")?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string()?;
    Ok((master, name))
}
