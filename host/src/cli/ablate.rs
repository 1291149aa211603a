//! `host ablate`: the paper's experiments, each a sweep of small trainings and their evaluations.

use super::{preset, switch::Switch, told::told};
use crate::{
    ablate::{
        Request, claim,
        experiment::{Experiment, shortened},
        images,
        plan::plan,
        runner,
        sweep::{Metric, Sweep},
        table,
        timing::Timer,
    },
    device::{self, Chosen, DeviceChoice, precision::PrecisionChoice},
    evaluate::linear::Method,
    preset::Recipe,
    progress,
    run::DataSource,
};
use anyhow::Context as _;
use console::{called, misuse, stop_on_ctrl_c};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Options of `host ablate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is varied.
    #[arg(value_enum)]
    experiment: Experiment,
    /// The folder for results.csv, figure.svg, figure.png and the runs; with the same options a sweep goes on in it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The folder of the runs, which several experiments may have in common: what they share is trained once
    /// [default: runs in --out].
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Model and recipe that are varied, as in `host pretrain` [default: pico-32 on the CPU, tiny-32 on CUDA].
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// A preset file of your own, as in models/*.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Images of pre-training: a folder, or shards as of `host pretrain` [default: those of --train; without it the
    /// embedded generator].
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Training images of the evaluations, one folder a class [default: images of the embedded generator].
    #[arg(long, value_name = "DIR", requires = "test")]
    train: Option<PathBuf>,
    /// Test images, one folder a class.
    #[arg(long, value_name = "DIR", requires = "train")]
    test: Option<PathBuf>,
    /// Values of what is varied, instead of the paper's.
    #[arg(long, value_name = "V,V...", value_delimiter = ',', allow_hyphen_values = true)]
    values: Vec<String>,
    /// Runs of each setting, with one seed after the other; figures show their mean and spread.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// results.csv of the same sweep with other seeds, of another machine for instance: table and figures show both.
    #[arg(long, value_name = "FILE,FILE...", value_delimiter = ',')]
    join: Vec<PathBuf>,
    /// Passes of pre-training over the data [default: the preset's].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images a batch of pre-training [default: the preset's].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// How runs are judged [default: knn,linear,finetune; of seam also seam, of partial finetune alone].
    #[arg(long, value_enum, value_name = "HOW,HOW...", value_delimiter = ',')]
    evaluate: Vec<Metric>,
    /// How linear probes are trained.
    #[arg(long, value_enum, default_value = "lars")]
    linear_method: Method,
    /// Passes of fine-tuning.
    #[arg(long, value_name = "N", default_value_t = 20)]
    finetune_epochs: usize,
    /// Images a step of fine-tuning [default: 256, or the largest power of two with eight steps an epoch].
    #[arg(long, value_name = "N")]
    finetune_batch_size: Option<usize>,
    /// Mixup, CutMix, RandAugment, random erasing, label smoothing and drop path of fine-tuning; a few epochs learn
    /// more without them.
    #[arg(long, value_enum, default_value = "on")]
    finetune_regularisation: Switch,
    /// Evaluate on at most this many training and this many test images, spread over the classes.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Arithmetic of pre-training: auto is bf16 on CUDA devices that have it, else fp32.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Save a checkpoint of a pre-training at least every so many seconds.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_seconds: u64,
    /// Print what would be done, its operations and its time on this device, measured in a few steps, and end.
    #[arg(long)]
    plan: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does a sweep, or what is left of it.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let chosen = device::choose(args.device)?;
    let (sweep, mut images) = (sweep(&args, &chosen)?, runner::Images::default());
    // Another process that works in this folder would do the same things.
    let _lock = if args.plan { None } else { Some(claim(&args.out)?) };
    if args.train.is_none() && !args.plan {
        images::write(&args.out, &sweep.jobs[0].run.config.model)?;
    }
    let begun = Instant::now();
    let mut timer = Timer::new(&chosen);
    let planned = {
        let bar = progress::bar(sweep.jobs.len(), "measuring");
        let planned = plan(&sweep, &mut timer, |job| images.of(&job.run), |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        planned?
    };
    if args.plan {
        if args.json {
            let result = json!({ "experiment": sweep.experiment, "device": chosen.description, "images": sweep.images,
                "evaluated_on": sweep.counts, "plan": planned });
            console::say!("{result}");
        } else {
            console::say!("device   {}", chosen.description);
            console::say!("{}", planned.table().trim_end());
            console::say!("plan     {}", planned.line());
        }
        return Ok(());
    }
    console::note!("device   {}", chosen.description);
    console::note!("plan     {}", planned.line());
    let found = runner::run(&sweep, (&args.out, &chosen), &mut images, &*stop_on_ctrl_c()?, told)?;
    let summaries = table::summaries(&sweep, &found.rows);
    if args.json {
        let result = json!({ "experiment": sweep.experiment, "finished": found.finished, "rows": found.rows,
            "means": summaries, "files": found.files });
        console::say!("{result}");
        return Ok(());
    }
    console::say!("{:<24}  {:<10}  {:>8}  {:>8}  seeds", "setting", "metric", "mean", "std");
    for table::Summary { setting, metric, mean, std, seeds } in &summaries {
        console::say!("{setting:<24}  {metric:<10}  {mean:>8.4}  {std:>8.4}  {seeds:>5}");
    }
    for file in &found.files {
        console::say!("file     {}", file.display());
    }
    let seconds = crate::clock::duration(begun.elapsed().as_secs_f64());
    match found.finished {
        true => console::say!("done     in {seconds}"),
        false => console::say!("stopped  after {seconds}; next: the same command ({} ablate ...)", called("host")),
    }
    Ok(())
}

/// The sweep that the options describe.
fn sweep(args: &Args, chosen: &Chosen) -> anyhow::Result<Sweep> {
    let usual = preset::usual(chosen.cuda);
    let (_, mut base) = preset::open(args.config.as_deref(), args.preset.as_deref().unwrap_or(usual), Recipe::Paper)?;
    let warmup = base.train.warmup_epochs;
    if let Some(epochs) = args.epochs {
        base.train.epochs = epochs;
        base.train.warmup_epochs = shortened(warmup, epochs);
    }
    base.train.batch_size = args.batch_size.unwrap_or(base.train.batch_size);
    let patches = base.model.grid().map_err(|error| misuse(error.to_string()))?.patches();
    base.train.validate(patches, base.model.decoder)?;
    if args.limit == Some(0) || args.finetune_epochs == 0 || args.finetune_batch_size == Some(0) {
        return Err(misuse("--limit, --finetune-epochs and --finetune-batch-size must be at least 1"));
    }
    if base.model.channels != 3 && args.train.is_none() {
        return Err(misuse("the embedded generator makes RGB images: use --train and --test for other channels"));
    }
    let folder = args.data.clone().or_else(|| args.train.clone());
    let last = args.seed.checked_add(args.seeds).context("--seed is too large a number")?;
    let train = base.train.clone();
    let request = Request {
        experiment: args.experiment,
        values: args.values.clone(),
        base,
        warmup,
        data: DataSource::named(folder.as_slice())?,
        folders: args.train.clone().zip(args.test.clone()),
        out: args.out.clone(),
        runs: args.runs.clone().unwrap_or_else(|| args.out.join("runs")),
        metrics: args.evaluate.clone(),
        method: args.linear_method,
        finetune_epochs: args.finetune_epochs,
        finetune_batch: args.finetune_batch_size,
        finetune_plain: args.finetune_regularisation == Switch::Off,
        limit: args.limit,
        precision: args.precision.on(chosen, None)?,
        checkpoint_seconds: args.checkpoint_seconds,
        seeds: (args.seed..last).collect(),
        join: args.join.clone(),
    };
    let sweep = request.sweep(chosen)?;
    train.validate_images(sweep.images)?;
    Ok(sweep)
}
