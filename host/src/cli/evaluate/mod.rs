//! `host evaluate`: one file a way.

mod encoders;
mod finetune;
mod knn;
mod linear;
mod options;
mod output;
mod partial;
mod recipe;
mod seam;
mod tuned;

use clap::Arg;

/// Options of `host evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    how: How,
}

#[derive(Debug, clap::Subcommand)]
enum How {
    /// Classify by the nearest training images (no training).
    #[command(mut_args(needed))]
    Knn(knn::Args),
    /// Train a linear classifier on frozen features.
    #[command(mut_args(needed))]
    Linear(linear::Args),
    /// Train the whole encoder with labels, as the paper does (appendix A.1).
    Finetune(Box<finetune::Args>),
    /// Train the last blocks with labels, the rest frozen (paper section 4.3).
    #[command(mut_args(needed))]
    Partial(Box<partial::Args>),
    /// Measure how visible the borders of patches are in reconstructions.
    Seam(seam::Args),
}

/// Makes the folders' options mandatory where nothing can be continued.
fn needed(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "model" | "train" | "test" => arg.required(true),
        _ => arg,
    }
}

/// Prints accuracies.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.how {
        How::Knn(args) => knn::run(args),
        How::Linear(args) => linear::run(args),
        How::Finetune(args) => finetune::run(*args),
        How::Partial(args) => partial::run(*args),
        How::Seam(args) => seam::run(args),
    }
}
