//! The program for Linux boards: one file a command.

use crate::{exit, model_folder::ModelFolder};
use clap::{Parser, Subcommand};
use std::{path::Path, process::ExitCode};

pub mod bench;
pub mod boards;
pub mod info;
pub mod memory;
pub mod native_file;
pub mod port;
pub mod run;
pub mod runtime;
pub mod source;

/// Encodes the visible patches of images and sends the features over a serial line.
#[derive(Debug, Parser)]
#[command(name = "edge", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encode images and send their features.
    Run(run::Args),
    /// Time the encoder at several shares of patches.
    Bench(bench::Args),
    /// Describe a model.
    Info(info::Args),
}

/// Runs the program: 0 done, 1 failed, 2 misused.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Info(args) => info::run(args),
    };
    exit::report("edge", result)
}

/// Opens a model folder; a path that is none is misuse.
///
/// # Errors
/// If it is no model folder, or damaged.
pub fn open_model(path: &Path) -> anyhow::Result<ModelFolder> {
    match ModelFolder::open(path) {
        Err(error @ crate::model_folder::ModelError::NoModel(_)) => Err(exit::misuse(error.to_string())),
        other => Ok(other?),
    }
}

/// Refuses shares outside (0, 1].
///
/// # Errors
/// As misuse.
pub fn check_keep(keep: f64) -> anyhow::Result<()> {
    if keep > 0.0 && keep <= 1.0 {
        return Ok(());
    }
    Err(exit::misuse(format!("--keep {keep} is not above 0 and at most 1")))
}
