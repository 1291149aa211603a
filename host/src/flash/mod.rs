//! Puts the program and a model on a board over ssh, starts it, and waits for its first feature.

mod package;
pub mod ssh;

use common::{model::ModelHash, wire::Feature};
use ssh::Ssh;
use std::{io, path::PathBuf};
use tempfile::NamedTempFile;

/// Where the program lives on the board, below the user's home.
pub const FOLDER: &str = "mae-edge";

/// How the program for boards is made.
const BUILD: &str = "build it with: cargo build --release -p edge --target aarch64-unknown-linux-gnu (docs/edge.md)";

/// What goes to which board.
#[derive(Debug, Clone)]
pub struct Request {
    /// The program, built for the board.
    pub program: PathBuf,
    /// The model folder.
    pub model: PathBuf,
    /// Whether a program that is not for aarch64 will do.
    pub any_machine: bool,
    /// The way to the board.
    pub ssh: Ssh,
}

/// Why a board does not get its program.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The program's file.
    #[error("cannot read {}: {error}; {BUILD}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// The file is something else.
    #[error("{} is no Linux program; {BUILD}", .0.display())]
    NoProgram(PathBuf),
    /// The program is for another machine.
    #[error("{} is not for aarch64 boards; {BUILD}", .0.display())]
    OtherMachine(PathBuf),
    /// There is none, or ssh would take it for an option.
    #[error("{0} is no address: write user@host")]
    Address(String),
    /// What ssh says.
    #[error("ssh to {to} failed: {reason}; try `{command} {to}` by hand (it must work without a password)")]
    Refused {
        /// The board's address.
        to: String,
        /// The command with the same options.
        command: String,
        /// The last line of what ssh says.
        reason: String,
    },
    /// The program does not run there.
    #[error("the program ended on the board without a feature: {0}")]
    Ended(String),
    /// The program runs and says nothing, for so many seconds.
    #[error("the program sent no feature within {0} s: use a longer timeout")]
    Silent(u64),
}

/// A package and the board that it is for.
#[derive(Debug)]
pub struct Flash {
    ssh: Ssh,
    model: ModelHash,
    archive: NamedTempFile,
}

impl Flash {
    /// Packs what `request` names; nothing is sent yet.
    ///
    /// # Errors
    /// If the program is not one for boards, the model is damaged, the address is impossible, or there is no `tar`.
    pub fn pack(request: Request) -> anyhow::Result<Self> {
        let Request { program, model, any_machine, ssh } = request;
        package::check_program(&program, any_machine)?;
        let folder = edge::options::open_model(&model)?;
        if ssh.to.starts_with('-') || ssh.to.trim().is_empty() {
            return Err(FlashError::Address(ssh.to).into());
        }
        let archive = package::archive(&program, &model, &folder)?;
        Ok(Self { ssh, model: folder.spec().hash, archive })
    }

    /// The model that is packed.
    #[must_use]
    pub fn model(&self) -> ModelHash {
        self.model
    }

    /// The board's system, as `uname` names it.
    ///
    /// # Errors
    /// If the board cannot be reached.
    pub fn system(&self) -> anyhow::Result<String> {
        self.ssh.output("uname -srm")
    }

    /// Puts the package into [`FOLDER`], whose old content goes.
    ///
    /// # Errors
    /// If the board cannot be reached or has no room; the old program is then whole.
    pub fn install(&self) -> anyhow::Result<()> {
        // Everything goes to a new folder first, so that a broken connection leaves the old program whole.
        let install = format!(
            "set -e; rm -rf {FOLDER}.new; mkdir {FOLDER}.new; tar xf - -C {FOLDER}.new; rm -rf {FOLDER}.old; \
             if [ -d {FOLDER} ]; then mv {FOLDER} {FOLDER}.old; fi; mv {FOLDER}.new {FOLDER}; rm -rf {FOLDER}.old"
        );
        self.ssh.upload(&install, self.archive.path())
    }

    /// Starts the program on its test image and waits for the feature.
    ///
    /// # Errors
    /// If the program does not run there, or says nothing in time.
    pub fn first_feature(&self) -> anyhow::Result<Feature> {
        self.ssh.first_feature(&format!("cd {FOLDER} && exec ./edge run --model model --source test.png --port -"))
    }
}
