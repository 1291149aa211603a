//! `host pretrain`.

use super::saving::SavingArgs;
use crate::{
    clock,
    data::{augment::Augment, dataset::Dataset},
    device::{self, DeviceChoice, precision::PrecisionChoice},
    pictures, report,
    train::{
        config::{Preset, TrainConfig},
        policy::CheckpointPolicy,
        run_folder::{DataSource, FORMAT, RunConfig, RunFolder},
        target::Target,
        trainer::{Outcome, Trainer},
    },
};
use anyhow::Context as _;
use clap::ArgAction;
use common::{
    mask::{self, MaskKind},
    normalize::PixelStats,
};
use console::{called, misuse};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Options of `host pretrain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model and recipe: pico-32, tiny-32, tiny-96, tiny-224, small-224, base-224, large-224 or huge-224
    /// [default: pico-32 on the CPU, tiny-32 on CUDA].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "resume"])]
    preset: Option<String>,
    /// A preset file of your own, as in models/*.toml.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Folder of images, searched with its sub-folders [default: the embedded generator].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The run folder to make [default: runs/PRESET-DATE-TIME].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Start from the weights of this run, which also sets the geometry; a decoder that it lacks starts anew.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Passes over the data.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images a batch.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    batch_size: Option<usize>,
    /// Batches whose gradients make one optimizer step: the effective batch is so many times larger [default: 1].
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    accumulate: Option<usize>,
    /// Base learning rate, for an effective batch of 256.
    #[arg(long, value_name = "X", conflicts_with = "resume")]
    blr: Option<f64>,
    /// Epochs of linear warm-up.
    #[arg(long, value_name = "X", conflicts_with = "resume")]
    warmup_epochs: Option<f64>,
    /// How patches are chosen for removal.
    #[arg(long, value_enum, conflicts_with = "resume")]
    mask: Option<MaskArg>,
    /// Share of patches that are removed, between 0 and 1.
    #[arg(long, value_name = "R", conflicts_with = "resume")]
    mask_ratio: Option<f64>,
    /// Whether the target is each patch normalised by its own mean and deviation.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, conflicts_with = "resume")]
    norm_pix_loss: Option<bool>,
    /// What is predicted: pixels, high-pass:SIGMA (pixels without what a Gaussian of SIGMA pixels keeps),
    /// low-variance:SHARE (each patch without its main components, which explain SHARE of the variance), or
    /// principal:COUNT (each patch as its COUNT main components).
    #[arg(long, value_name = "TARGET", conflicts_with = "resume")]
    target: Option<Target>,
    /// Weigh removed pixels by their distance to the nearest visible patch: one that touches it weighs 1 + W before
    /// the weights are brought to a mean of 1 [default: 0, all alike].
    #[arg(long, value_name = "W", conflicts_with = "resume")]
    seam_weight: Option<f64>,
    /// How training views are made [default: random-crop, the paper's].
    #[arg(long, value_enum, conflicts_with = "resume")]
    augment: Option<Augment>,
    /// Let mask tokens pass through the encoder, too, as in the paper's table 1c [default: false].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, conflicts_with = "resume")]
    encoder_mask_tokens: Option<bool>,
    /// Add G times the squared error of the change across the borders of removed patches [default: 0].
    #[arg(long, value_name = "G", conflicts_with = "resume")]
    seam_gradient: Option<f64>,
    /// How many images the embedded generator makes.
    #[arg(long, value_name = "N", conflicts_with_all = ["resume", "data"])]
    synthetic_images: Option<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Arithmetic: auto is bf16 on CUDA devices that have it, else fp32; a run that goes on keeps its own.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Every random choice comes from this.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,
    #[command(flatten)]
    saving: SavingArgs,
}

/// `--mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MaskArg {
    /// Uniformly random patches.
    Random,
    /// Large rectangles.
    Block,
    /// A regular lattice is kept.
    Grid,
    /// Low-pass noise: large smooth regions are removed (ColorMAE).
    Red,
    /// Band-pass noise: regions of about two patches are removed (ColorMAE).
    Green,
    /// High-pass noise: visible patches are spread evenly (ColorMAE).
    Blue,
}

impl From<MaskArg> for MaskKind {
    fn from(arg: MaskArg) -> Self {
        match arg {
            MaskArg::Random => Self::Random,
            MaskArg::Block => Self::Block,
            MaskArg::Grid => Self::Grid,
            MaskArg::Red => Self::Red,
            MaskArg::Green => Self::Green,
            MaskArg::Blue => Self::Blue,
        }
    }
}

/// Trains.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let chosen = device::choose(args.device)?;
    console::say!("device   {}", chosen.description);
    let (path, mut config, resumed) = match &args.resume {
        Some(path) => {
            let mut config = RunFolder::open(path)?.1;
            if config.imported.is_some() {
                let (shown, host) = (path.display(), called("host"));
                return Err(misuse(format!(
                    "{shown} was imported, so there is no training to continue: start one from its weights with \
                     `{host} pretrain --init {shown}`"
                )));
            }
            if let Some(data) = &args.data {
                config.data = DataSource::Folder(data.clone());
            }
            if let Some(epochs) = args.epochs {
                config.train.epochs = epochs;
            }
            config.precision = args.precision.resumed(config.precision, &chosen)?;
            (path.clone(), config, true)
        }
        None => {
            let (name, mut preset) = preset(&args, chosen.cuda)?;
            let init = init_config(&args, &mut preset)?;
            let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(new_name(&name)));
            let data = args.data.clone().map_or(DataSource::Synthetic, DataSource::Folder);
            let config = RunConfig {
                format: FORMAT,
                host_version: env!("CARGO_PKG_VERSION").into(),
                device: chosen.description.clone(),
                data,
                pixels: init.map_or_else(|| pixel_stats(preset.model.channels), |init| init.pixels),
                model: preset.model,
                train: preset.train,
                checkpoints: CheckpointPolicy::default(),
                precision: args.precision.on(&chosen)?,
                imported: None,
            };
            (path, config, false)
        }
    };
    config.checkpoints = args.saving.apply(config.checkpoints)?;
    check(&config.train, config.model.grid().map_err(|e| misuse(e.to_string()))?.patches())?;
    let dataset = Arc::new(open_data(&config)?);
    console::say!("data     {}", dataset.describe());
    check_images(&config.train, dataset.len())?;
    let run = if resumed { RunFolder::reopen(&path, &config)? } else { RunFolder::create(&path, &config)? };
    let mut trainer = Trainer::new(run.clone(), config.clone(), dataset.clone(), &chosen.device, resumed)?;
    if let Some(init) = &args.init {
        trainer.start_from(&RunFolder::open(init)?.0.load()?.model)?;
    }
    describe(&config, &trainer, &path)?;
    let stop = stop_on_ctrl_c()?;
    let begun = Instant::now();
    let outcome = trainer.run(&stop)?;
    let shown = path.display();
    match outcome {
        Outcome::Stopped(checkpoint) => {
            console::say!("stopped  saved {}", checkpoint.display());
            console::say!("next     {} pretrain --resume {shown}", called("host"));
        }
        Outcome::Finished => {
            let picture = run.pictures().join("reconstruction.png");
            let images: Vec<_> = pictures::samples(&dataset, 6);
            pictures::reconstruct(&run, &config, &images, None, config.train.mask_ratio, &picture)?;
            let page = report::write(&run, &config)?;
            let seconds = begun.elapsed().as_secs();
            console::say!("done     in {} min {} s", seconds / 60, seconds % 60);
            console::say!("picture  {}", picture.display());
            console::say!("report   {}", page.display());
            let name = path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
            console::say!("next     {} export --run {shown} --out models/{name}", called("host"));
        }
    }
    Ok(())
}

/// Refuses fewer images than one step takes.
///
/// # Errors
/// As misuse.
pub(super) fn check_images(train: &TrainConfig, count: usize) -> anyhow::Result<()> {
    let (batch, parts) = (train.batch_size, train.accumulate);
    if count >= train.images_a_step() {
        return Ok(());
    }
    Err(misuse(match parts {
        1 => format!("{count} images are fewer than one batch of {batch}: use --batch-size {count}"),
        _ if count < parts => format!("{count} images are fewer than --accumulate {parts}: use a smaller one"),
        _ => format!(
            "{count} images are fewer than one step of {parts} batches of {batch}: use --batch-size {}",
            count / parts
        ),
    }))
}

/// The images of a run.
///
/// # Errors
/// If the folder is missing, empty or damaged.
pub fn open_data(config: &RunConfig) -> anyhow::Result<Dataset> {
    let model = &config.model;
    match &config.data {
        DataSource::Folder(folder) => Dataset::folder(folder, model.channels),
        DataSource::Synthetic if model.channels == 3 => {
            let train = &config.train;
            Ok(Dataset::synthetic(train.seed, train.synthetic_images, model.image_height, model.image_width))
        }
        DataSource::Synthetic => {
            Err(misuse("the embedded generator makes RGB images: use --data for other channels"))
        }
    }
}

/// The paper's recipe normalises RGB with ImageNet's statistics; other images are brought to about -1..1.
pub fn pixel_stats(channels: usize) -> PixelStats {
    if channels == 3 { PixelStats::IMAGENET } else { PixelStats { mean: [0.5; 4], std: [0.25; 4] } }
}

/// The preset of `--config` or `--preset`, or the usual one of the device, and its name.
///
/// # Errors
/// As misuse, if there is none.
pub(super) fn open_preset(config: Option<&Path>, name: Option<&str>, cuda: bool) -> anyhow::Result<(String, Preset)> {
    match config {
        Some(file) => {
            let text =
                fs::read_to_string(file).map_err(|e| misuse(format!("cannot read {}: {e}", file.display())))?;
            let name = file.file_stem().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
            Ok((name, Preset::parse(&text, &file.display().to_string()).map_err(|e| misuse(e.to_string()))?))
        }
        None => {
            let name = name.unwrap_or(if cuda { "tiny-32" } else { "pico-32" });
            Ok((name.to_owned(), Preset::named(name).map_err(|e| misuse(e.to_string()))?))
        }
    }
}

fn preset(args: &Args, cuda: bool) -> anyhow::Result<(String, Preset)> {
    let (name, mut preset) = open_preset(args.config.as_deref(), args.preset.as_deref(), cuda)?;
    let (model, train) = (&mut preset.model, &mut preset.train);
    set(&mut train.epochs, args.epochs);
    set(&mut train.batch_size, args.batch_size);
    set(&mut train.accumulate, args.accumulate);
    set(&mut train.blr, args.blr);
    set(&mut train.warmup_epochs, args.warmup_epochs);
    set(&mut train.mask, args.mask.map(MaskKind::from));
    set(&mut train.mask_ratio, args.mask_ratio);
    set(&mut train.target, args.target);
    set(&mut train.seam.weight, args.seam_weight);
    set(&mut train.seam.gradient, args.seam_gradient);
    set(&mut train.augment, args.augment);
    set(&mut train.encoder_mask_tokens, args.encoder_mask_tokens);
    set(&mut train.synthetic_images, args.synthetic_images);
    set(&mut train.seed, args.seed);
    set(&mut model.norm_pix_loss, args.norm_pix_loss);
    // A short try keeps the share of its warm-up.
    if args.epochs.is_some() && args.warmup_epochs.is_none() {
        train.warmup_epochs = train.warmup_epochs.min(train.epochs as f64 / 10.0);
    }
    Ok((name, preset))
}

/// The run of `--init`, whose geometry the new one takes.
fn init_config(args: &Args, preset: &mut Preset) -> anyhow::Result<Option<RunConfig>> {
    let Some(init) = &args.init else { return Ok(None) };
    let config = RunFolder::open(init)?.1;
    preset.model = config.model.clone();
    set(&mut preset.model.norm_pix_loss, args.norm_pix_loss);
    Ok(Some(config))
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// Refuses impossible numbers.
///
/// # Errors
/// As misuse.
pub(super) fn check(train: &TrainConfig, patches: usize) -> anyhow::Result<()> {
    check_mask_ratio(train.mask_ratio, patches)?;
    if train.epochs == 0 || train.batch_size == 0 || train.accumulate == 0 {
        return Err(misuse("--epochs, --batch-size and --accumulate must be at least 1"));
    }
    if train.batch_size.checked_mul(train.accumulate).is_none() {
        return Err(misuse("--batch-size times --accumulate is too large a number"));
    }
    if !(train.blr.is_finite() && train.blr > 0.0) {
        return Err(misuse("--blr must be a positive number"));
    }
    if [train.seam.weight, train.seam.gradient].iter().any(|value| !(value.is_finite() && *value >= 0.0)) {
        return Err(misuse("--seam-weight and --seam-gradient must be 0 or more"));
    }
    if !(train.warmup_epochs.is_finite() && train.warmup_epochs >= 0.0) {
        return Err(misuse("--warmup-epochs must be 0 or more"));
    }
    Ok(())
}

/// Refuses ratios that keep or remove nothing.
///
/// # Errors
/// As misuse.
pub fn check_mask_ratio(ratio: f64, patches: usize) -> anyhow::Result<()> {
    if !(ratio > 0.0 && ratio < 1.0) {
        return Err(misuse(format!("--mask-ratio {ratio} is not between 0 and 1")));
    }
    match mask::len_keep(patches, ratio) {
        0 => Err(misuse(format!("--mask-ratio {ratio} keeps none of {patches} patches: use a smaller one"))),
        kept if kept == patches => {
            Err(misuse(format!("--mask-ratio {ratio} removes none of {patches} patches: use a larger one")))
        }
        _ => Ok(()),
    }
}

fn describe(config: &RunConfig, trainer: &Trainer, path: &Path) -> anyhow::Result<()> {
    let (model, train) = (&config.model, &config.train);
    let grid = model.grid()?;
    let kept = mask::len_keep(grid.patches(), train.mask_ratio);
    let count = |encoder: bool| -> anyhow::Result<f64> {
        let tensors = trainer.tensors()?;
        let trained = tensors.iter().filter(|(name, _)| !name.ends_with("pos_embed"));
        let wanted = trained.filter(|(name, _)| crate::checkpoint::is_encoder(name) == encoder);
        Ok(wanted.map(|(_, tensor)| tensor.data.len()).sum::<usize>() as f64 / 1e6)
    };
    console::say!(
        "model    encoder {}x{} ({:.2} M), decoder {}x{} ({:.2} M); {} of {} patches of {p}x{p} visible",
        model.dim,
        model.depth,
        count(true)?,
        model.decoder_dim,
        model.decoder_depth,
        count(false)?,
        kept,
        grid.patches(),
        p = grid.patch_size(),
    );
    console::say!(
        "train    {} epochs of {} steps, {} images a step{}; Ctrl-C saves",
        train.epochs,
        trainer.steps_an_epoch(),
        train.images_a_step(),
        if train.accumulate > 1 { format!(" ({} batches)", train.accumulate) } else { String::new() }
    );
    console::say!("run      {}", path.display());
    Ok(())
}

/// The first Ctrl-C asks the training to save and stop; the second ends the program at once.
pub(super) fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        console::note!("\nsaving and stopping; press Ctrl-C again to stop at once");
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(stop)
}

/// A folder name that sorts by time.
pub(super) fn new_name(preset: &str) -> String {
    format!("{preset}-{}", clock::stamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_that_keep_or_remove_nothing_are_misuse() {
        for ratio in [0.0, 1.0, -0.5, 1.5, f64::NAN, 1e-18, 0.999] {
            assert!(check_mask_ratio(ratio, 64).is_err(), "{ratio}");
        }
        assert!(check_mask_ratio(0.75, 64).is_ok());
    }
}
