//! The command line: one file a command.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod ablate;
pub mod bench;
mod described;
pub mod evaluate;
pub mod explore;
pub mod export;
pub mod features;
pub mod flash;
pub mod import;
pub mod listen;
mod preset;
pub mod pretrain;
pub mod reconstruct;
pub mod report;
mod runtime;
mod saving;
mod switch;
mod told;
pub mod verify;

/// Masked autoencoders: pre-train on unlabelled images, look at what was learned, export, read from boards.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pre-train a masked autoencoder on unlabelled images.
    Pretrain(Box<pretrain::Args>),
    /// Draw what a training learned: originals, masks, reconstructions.
    Reconstruct(reconstruct::Args),
    /// Look at a model on a local page: mask an image, see it reconstructed, attended, compared.
    Explore(explore::Args),
    /// Write a run's report.html anew.
    Report(report::Args),
    /// Vary one thing in many small trainings, as the paper's experiments do.
    Ablate(Box<ablate::Args>),
    /// Measure what the features are worth.
    Evaluate(evaluate::Args),
    /// Write the features of a folder of images.
    Features(features::Args),
    /// Make a run of a checkpoint of PyTorch, timm or Hugging Face.
    Import(import::Args),
    /// Write a trained encoder as ONNX, in float and quantised, or a checkpoint for PyTorch.
    Export(export::Args),
    /// Compare every runtime and quantised form with the float encoder on real images.
    Verify(verify::Args),
    /// Read features from a board's serial port.
    Listen(listen::Args),
    /// Measure the speed of training on this machine.
    Bench(bench::Args),
    /// Copy the program and a model to a board and start it.
    Flash(flash::Args),
}

/// Runs the program: 0 done, 1 failed, 2 misused.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Pretrain(args) => pretrain::run(*args),
        Command::Reconstruct(args) => reconstruct::run(args),
        Command::Explore(args) => explore::run(args),
        Command::Report(args) => report::run(args),
        Command::Ablate(args) => ablate::run(*args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Features(args) => features::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Flash(args) => flash::run(args),
    };
    console::report("host", result.map_err(told::told))
}
