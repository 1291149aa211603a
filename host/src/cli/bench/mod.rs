//! `host bench`.

mod check;
mod encode;
mod finetune;
mod pretrain;

use clap::Subcommand;
use console::misuse;
use indicatif::ProgressBar;
use std::time::Duration;

/// Options of `host bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Speed, parts, memory and arithmetic of pre-training steps.
    Pretrain(pretrain::Args),
    /// Speed of fine-tuning steps, by the part that is trained.
    Finetune(finetune::Args),
    /// Time of the native encoder beside other runtimes, and where it goes.
    Encode(encode::Args),
    /// Compare what this device computes with the official implementation's numbers.
    #[command(long_flag = "check")]
    Check(check::Args),
}

/// Measures.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Pretrain(args) => pretrain::run(&args),
        What::Finetune(args) => finetune::run(&args),
        What::Encode(args) => encode::run(args),
        What::Check(args) => check::run(&args),
    }
}

/// Turns as long as something is measured.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(500));
    spinner
}

/// `--seconds`.
///
/// # Errors
/// As misuse.
fn duration(seconds: f64) -> anyhow::Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|s| s.as_secs() <= 3600);
    duration.ok_or_else(|| misuse("--seconds must be a number from 0 to 3600"))
}
