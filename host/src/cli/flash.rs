//! `host flash`: puts the program and a model on a board over ssh, starts it, and waits for its first feature.

use crate::{
    data::synthetic,
    link::{Ending, Event, Reader},
};
use anyhow::{Context as _, bail};
use console::{called, misuse};
use edge::head_file::{FILE_NAME as HEAD, HeadFile};
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

/// Options of `host flash`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of board.
    #[arg(long, value_enum)]
    board: Board,
    /// The board's address.
    #[arg(long, value_name = "USER@HOST")]
    to: String,
    /// The model folder to install.
    #[arg(long, value_name = "DIR", default_value = "models/cifar-pico-32")]
    model: PathBuf,
    /// The program, built for the board.
    #[arg(long, value_name = "FILE", default_value = "target/aarch64-unknown-linux-gnu/release/edge")]
    edge: PathBuf,
    /// Private key for ssh.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Port of the board's ssh.
    #[arg(long, value_name = "N", default_value_t = 22)]
    ssh_port: u16,
    /// Another configuration file for ssh.
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// How long to wait for the board at each step.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Accept a program that is not for aarch64 (to try the procedure on another machine).
    #[arg(long)]
    any_arch: bool,
}

/// `--board`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// Raspberry Pi 3, 4 or 5 with a 64-bit system.
    RpiLinux,
    /// NVIDIA Jetson.
    JetsonLinux,
}

impl Board {
    /// The UART on the board's pin header.
    fn uart(self) -> &'static str {
        match self {
            Self::RpiLinux => "/dev/serial0",
            Self::JetsonLinux => "/dev/ttyTHS1",
        }
    }
}

/// Where the program lives on the board, below the user's home.
const FOLDER: &str = "mae-edge";

/// Installs, starts, and waits for the first feature.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    check_program(&args.edge, args.any_arch)?;
    let model = edge::options::open_model(&args.model)?;
    if args.to.starts_with('-') || args.to.trim().is_empty() {
        return Err(misuse(format!("--to {} is no address: write user@host", args.to)));
    }
    let package = package(&args, &model)?;
    let ssh = Ssh { args: &args };

    let system = ssh.output("uname -srm")?;
    console::say!("board    {} ({system})", args.to);
    // Everything goes to a new folder first, so that a broken connection leaves the old program whole.
    let install = format!(
        "set -e; rm -rf {FOLDER}.new; mkdir {FOLDER}.new; tar xf - -C {FOLDER}.new; rm -rf {FOLDER}.old; \
         if [ -d {FOLDER} ]; then mv {FOLDER} {FOLDER}.old; fi; mv {FOLDER}.new {FOLDER}; rm -rf {FOLDER}.old"
    );
    ssh.upload(&install, package.path())?;
    console::say!("copied   program and model {} to ~/{FOLDER}", model.spec().hash);
    let start = format!("cd {FOLDER} && exec ./edge run --model model --source test.png --port -");
    let feature = ssh.first_feature(&start, Duration::from_secs(args.timeout))?;
    console::say!(
        "works    a feature of {} values in {:.1} ms",
        feature.values.len(),
        f64::from(feature.micros) / 1e3
    );
    console::say!(
        "next     on the board: ~/{FOLDER}/edge run --model ~/{FOLDER}/model --source DIR --port {}",
        args.board.uart()
    );
    console::say!("         here: {} listen --port PORT --out features.npy", called("host"));
    Ok(())
}

/// Refuses what is no program for the board.
fn check_program(path: &Path, any_arch: bool) -> anyhow::Result<()> {
    const BUILD: &str =
        "build it with: cargo build --release -p edge --target aarch64-unknown-linux-gnu (docs/edge.md)";
    let mut header = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        other => other.map_err(|error| misuse(format!("cannot read {}: {error}; {BUILD}", path.display())))?,
    }
    let elf = header.starts_with(b"\x7fELF");
    // e_machine of the ELF header, little-endian: 183 is AArch64.
    let machine = u16::from_le_bytes([header[18], header[19]]);
    match (elf, any_arch || machine == 183) {
        (false, _) => Err(misuse(format!("{} is no Linux program; {BUILD}", path.display()))),
        (true, false) => Err(misuse(format!("{} is not for aarch64 boards; {BUILD}", path.display()))),
        (true, true) => Ok(()),
    }
}

/// A tar archive of the program, the model and a test image.
fn package(args: &Args, model: &edge::model_folder::ModelFolder) -> anyhow::Result<tempfile::NamedTempFile> {
    let staging = tempfile::tempdir().context("no room for temporary files")?;
    let to = |name: &str| staging.path().join(name);
    let copy = |from: &Path, name: &str| {
        fs::copy(from, to(name)).map(drop).with_context(|| format!("cannot read {}", from.display()))
    };
    fs::create_dir(to("model"))?;
    copy(&args.edge, "edge")?;
    copy(&args.model.join("model.toml"), "model/model.toml")?;
    for (file, _) in model.files() {
        model.read_file(file)?;
        copy(&args.model.join(file), &format!("model/{file}"))?;
    }
    if args.model.join(HEAD).exists() {
        HeadFile::open(&args.model, model.spec())?;
        copy(&args.model.join(HEAD), &format!("model/{HEAD}"))?;
    }
    let pixels = synthetic::image(0, 0, model.spec().image_height as usize, model.spec().image_width as usize);
    image::RgbImage::from_raw(pixels.width as u32, pixels.height as u32, pixels.data)
        .context("the test image has no area")?
        .save(to("test.png"))?;
    let archive = tempfile::NamedTempFile::new().context("no room for temporary files")?;
    let status = Command::new("tar")
        .arg("cf")
        .arg(archive.path())
        .arg("-C")
        .arg(staging.path())
        .args(["--mode=755", "edge", "model", "test.png"])
        .status()
        .context("cannot run `tar`; is it installed?")?;
    if !status.success() {
        bail!("`tar` could not pack the program and the model");
    }
    Ok(archive)
}

/// The system's ssh, never asking for anything.
struct Ssh<'a> {
    args: &'a Args,
}

impl Ssh<'_> {
    fn command(&self, remote: &str) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.args.ssh_config {
            command.arg("-F").arg(config);
        }
        if let Some(identity) = &self.args.identity {
            command.arg("-i").arg(identity);
        }
        let timeout: OsString = format!("ConnectTimeout={}", self.args.timeout).into();
        command.args(["-o", "BatchMode=yes", "-o"]).arg(timeout).arg("-p").arg(self.args.ssh_port.to_string());
        command.args(["--", &self.args.to, remote]);
        command
    }

    fn output(&self, remote: &str) -> anyhow::Result<String> {
        let output = self.command(remote).stdin(Stdio::null()).output().context(NO_SSH)?;
        if !output.status.success() {
            bail!(self.explain(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn upload(&self, remote: &str, file: &Path) -> anyhow::Result<()> {
        let input = fs::File::open(file).context("the packed program is gone")?;
        let output = self.command(remote).stdin(input).output().context(NO_SSH)?;
        if !output.status.success() {
            bail!(self.explain(&output.stderr));
        }
        Ok(())
    }

    fn first_feature(&self, remote: &str, patience: Duration) -> anyhow::Result<common::wire::Feature> {
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
        let found = receiver.recv_timeout(patience);
        drop(child.kill());
        drop(child.wait());
        match found {
            Ok(found) => match found? {
                Some(feature) => Ok(feature),
                None => {
                    let mut text = Vec::new();
                    if let Some(stderr) = &mut stderr {
                        drop(stderr.read_to_end(&mut text));
                    }
                    bail!("the program ended on the board without a feature: {}", last_line(&text))
                }
            },
            Err(_) => bail!("the program sent no feature within {} s: use a longer --timeout", patience.as_secs()),
        }
    }

    fn explain(&self, stderr: &[u8]) -> String {
        format!(
            "ssh to {} failed: {}; try `ssh -p {} {}` by hand (it must work without a password)",
            self.args.to,
            last_line(stderr),
            self.args.ssh_port,
            self.args.to
        )
    }
}

const NO_SSH: &str = "cannot run `ssh`; is it installed?";

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
}
