//! `host evaluate`: one file a way.

mod knn;
pub mod sets;

/// Options of `host evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    how: How,
}

#[derive(Debug, clap::Subcommand)]
enum How {
    /// Classify by the nearest training images (no training).
    Knn(knn::Args),
}

/// Prints accuracies.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.how {
        How::Knn(args) => knn::run(args),
    }
}
