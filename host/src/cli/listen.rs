//! `host listen`.

/// Options of `host listen`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// With a message that says what to do.
pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("being written")
}
