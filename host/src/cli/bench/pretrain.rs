//! `host bench pretrain`.

use super::{duration, spinner};
use crate::{
    bench::{
        pretrain::{self, Report, Setup},
        replay, threads,
    },
    cli::preset,
    device::{
        self, DeviceChoice,
        precision::{Precision, PrecisionChoice},
    },
    preset::Recipe,
};
use common::normalize::PixelStats;
use console::misuse;
use std::path::PathBuf;

/// Options of `host bench pretrain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model and recipe, as of `host pretrain`.
    #[arg(long, value_name = "NAME", default_value = "pico-32", conflicts_with = "config")]
    preset: String,
    /// A preset file of your own, as in models/*.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The paper's recipe, or the preset's own, with all that it adds to the masked autoencoder.
    #[arg(long, value_enum, default_value = "paper")]
    recipe: Recipe,
    /// Images a step [default: the preset's].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Processors and threads, the loader's included [default: all].
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// At least this many timed steps of each kind...
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// ... for at least this long.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Folder of images, or shards, for the steps with loading, decoded as they come [default: generated images in
    /// memory].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// burn's own operations instead of the fused ones.
    #[arg(long)]
    plain_ops: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Arithmetic, as of `host pretrain`.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Every random choice comes from this [default: the preset's].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Instead of timing, write the steps and their losses to this folder, for another program to repeat.
    #[arg(long, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// How many steps to exchange.
    #[arg(long, value_name = "K", default_value_t = 10, requires = "exchange")]
    steps: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let setup = setup(args)?;
    let spinner = spinner();
    let stage = |what: &str| spinner.set_message(what.to_owned());
    if let Some(folder) = &args.exchange {
        let losses = replay::write(&setup, args.steps, folder, &stage)?;
        spinner.finish_and_clear();
        if args.json {
            console::say!("{}", serde_json::json!({ "exchange": folder, "losses": losses }));
        } else {
            let (first, last) = (losses.first().copied().unwrap_or(0.0), losses.last().copied().unwrap_or(0.0));
            console::say!("exchange {} ({} steps, loss {first:.4} to {last:.4})", folder.display(), losses.len());
            console::say!("next     python bench/pytorch_mae.py --exchange {}", folder.display());
        }
        return Ok(());
    }
    let report = pretrain::run(&setup, &stage)?;
    spinner.finish_and_clear();
    if args.json {
        console::say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn setup(args: &Args) -> anyhow::Result<Setup> {
    let (name, mut preset) = preset::open(args.config.as_deref(), &args.preset, args.recipe)?;
    let train = &mut preset.train;
    train.batch_size = args.batch_size.unwrap_or(train.batch_size);
    train.seed = args.seed.unwrap_or(train.seed);
    for (option, value) in [("--batch-size", train.batch_size), ("--rounds", args.rounds), ("--steps", args.steps)] {
        if value == 0 {
            return Err(misuse(format!("{option} must be at least 1")));
        }
    }
    let seconds = duration(args.seconds)?;
    let patches = preset.model.grid().map_err(|e| misuse(e.to_string()))?.patches();
    train.validate(patches, preset.model.decoder)?;
    if args.data.is_none() && preset.model.channels != 3 {
        return Err(misuse("the embedded generator makes RGB images: use --data for other channels"));
    }
    let threads = args.threads.unwrap_or_else(threads::available);
    threads::bound(threads)?;
    let chosen = device::choose(args.device)?;
    let precision = match (args.precision, &args.exchange) {
        (PrecisionChoice::Bf16, Some(_)) => return Err(misuse("--exchange is fp32, which is all its reader knows")),
        (PrecisionChoice::Auto, Some(_)) => Precision::Fp32,
        (choice, _) => choice.on(&chosen, None)?,
    };
    Ok(Setup {
        name,
        pixels: PixelStats::usual(preset.model.channels),
        preset,
        device: chosen.device,
        device_description: chosen.description,
        threads,
        rounds: args.rounds,
        seconds,
        data: args.data.clone(),
        plain_ops: args.plain_ops,
        precision,
    })
}

fn print(report: &Report) {
    let Report { preset, batch_size, mode, bare, with_loading, parts_ms, gflops, .. } = report;
    console::say!("{preset}, {batch_size} images a step, {}, {mode} operations; {}", report.precision, report.device);
    console::say!("                images/s  (min     max)    ms a step   steps");
    for (name, speed) in [("bare step", bare), ("with loading", with_loading)] {
        let rate = speed.images_per_second;
        console::say!(
            "{name:<14} {:>9.0}  ({:<6.0} {:>6.0})  {:>9.1}  {:>6}",
            rate.median,
            rate.min,
            rate.max,
            speed.ms.median,
            speed.steps
        );
    }
    console::say!("with loading runs at {:.3} of the bare step's rate", report.loading_ratio);
    console::say!("part                  ms");
    let p = parts_ms;
    for (name, ms) in [
        ("load", p.load),
        ("augment", p.augment),
        ("masks", p.masks),
        ("forward encoder", p.forward_encoder),
        ("forward decoder", p.forward_decoder),
        ("loss", p.loss),
        ("backward", p.backward),
        ("optimizer", p.optimizer),
    ] {
        console::say!("{name:<16} {ms:>7.1}");
    }
    console::say!(
        "arithmetic  {:.2} GFLOP a step, {:.1} GFLOP/s, {:.2} of the matrix peak ({:.1} GFLOP/s)",
        gflops.gflop_per_step,
        gflops.achieved,
        gflops.share,
        gflops.matrix_peak
    );
    let mib = |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.0} MiB", b as f64 / 1048576.0));
    console::say!(
        "memory      {} at most, {} before the model",
        mib(report.peak_memory_bytes),
        mib(report.base_memory_bytes)
    );
}
