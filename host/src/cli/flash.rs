//! `host flash`: puts the program and a model on a board over ssh, starts it, and waits for its first feature.

use crate::flash::{FOLDER, Flash, Request, ssh::Ssh};
use console::called;
use std::path::PathBuf;

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
    /// Port of the board's ssh [default: as ssh's configuration says, else 22].
    #[arg(long, value_name = "N")]
    ssh_port: Option<u16>,
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

/// Installs, starts, and waits for the first feature.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let ssh = Ssh {
        to: args.to.clone(),
        port: args.ssh_port,
        identity: args.identity,
        config: args.ssh_config,
        timeout: args.timeout,
    };
    let request = Request { program: args.edge, model: args.model, any_machine: args.any_arch, ssh };
    let flash = Flash::pack(request)?;
    console::say!("board    {} ({})", args.to, flash.system()?);
    flash.install()?;
    console::say!("copied   program and model {} to ~/{FOLDER}", flash.model());
    let feature = flash.first_feature()?;
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
