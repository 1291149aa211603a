//! `host report`.

use crate::{report, run::RunFolder};
use std::path::PathBuf;

/// Options of `host report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
}

/// Writes `report.html` anew.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (run, config) = RunFolder::open(&args.run)?;
    let path = report::write(&run, &config)?;
    console::say!("report   {}", path.display());
    Ok(())
}
