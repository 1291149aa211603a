//! The program for Linux boards: one file a command.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod bench;
pub mod boards;
pub mod info;
pub mod port;
pub mod run;
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
    console::report("edge", result)
}
