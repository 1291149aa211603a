//! `host bench finetune`.

use super::{duration, spinner};
use crate::{
    bench::{
        finetune::{self, Report, Setup},
        threads,
        timing::Rounds,
    },
    cli::preset,
    device::{self, DeviceChoice},
    preset::Recipe,
};
use console::misuse;
use std::path::PathBuf;

/// Options of `host bench finetune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, as of `host pretrain`.
    #[arg(long, value_name = "NAME", default_value = "pico-32", conflicts_with = "config")]
    preset: String,
    /// A preset file of your own, as in models/*.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Processors and threads [default: all].
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// At least this many timed steps of each kind...
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// ... for at least this long.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// burn's own operations instead of the fused ones.
    #[arg(long)]
    plain_ops: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Every random choice comes from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (name, preset) = preset::open(args.config.as_deref(), &args.preset, Recipe::Paper)?;
    for (option, value) in [("--batch-size", args.batch_size), ("--rounds", args.rounds)] {
        if value == 0 {
            return Err(misuse(format!("{option} must be at least 1")));
        }
    }
    let rounds = Rounds { warm_up: 1, least: args.rounds, seconds: duration(args.seconds)? };
    preset.model.validate().map_err(|error| misuse(error.to_string()))?;
    let threads = args.threads.unwrap_or_else(threads::available);
    threads::bound(threads)?;
    let chosen = device::choose(args.device)?;
    let setup = Setup {
        name,
        model: preset.model,
        batch_size: args.batch_size,
        device: chosen.device,
        device_description: chosen.description,
        threads,
        rounds,
        plain_ops: args.plain_ops,
        seed: args.seed,
    };
    let spinner = spinner();
    let report = finetune::run(&setup, &|what| spinner.set_message(what.to_owned()))?;
    spinner.finish_and_clear();
    if args.json {
        console::say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    let Report { preset, batch_size, mode, threads, device, .. } = report;
    console::say!("{preset}, {batch_size} images a step, {threads} threads, {mode} operations; {device}");
    console::say!(
        "trained            images/s  (min     max)    ms a step   steps   images a second of the processor"
    );
    for row in &report.rows {
        let (name, rate) = (row.trained, row.speed.images_per_second);
        let cpu = row.images_per_cpu_second.map_or_else(|| "unknown".into(), |rate| format!("{rate:.0}"));
        console::say!(
            "{name:<17} {:>9.0}  ({:<6.0} {:>6.0})  {:>9.1}  {:>6}   {cpu:>6}",
            rate.median,
            rate.min,
            rate.max,
            row.speed.ms.median,
            row.speed.steps
        );
    }
}
