//! `host pretrain`.

use super::{described::described, preset, saving::SavingArgs};
use crate::{
    clock,
    data::augment::Augment,
    device::{self, DeviceChoice, precision::PrecisionChoice},
    model::DecoderKind,
    objective::{joint::JointKind, target::Target},
    pictures,
    preset::{OptimizerKind, Preset, Recipe, keep_range::KeepRange},
    report::{self, recorder::Recorder},
    run::{DataSource, RunConfig, RunFolder},
    train::{
        engine::{Outcome, Task as _},
        pretraining::Pretraining,
    },
};
use clap::ArgAction;
use common::mask::MaskKind;
use console::{called, misuse, stop_on_ctrl_c};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
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
    /// The preset's own recipe, or the paper's, which adds nothing to the masked autoencoder.
    #[arg(long, value_enum, default_value = "preset", conflicts_with = "resume")]
    recipe: Recipe,
    /// Folder of images, searched with its sub-folders; or tar archives of images, each by its path or many as
    /// "data-{000..127}.tar" [default: the embedded generator].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    data: Vec<PathBuf>,
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
    /// What updates the parameters: adamw all of them, or muon the matrices of the blocks and AdamW all else
    /// [default: adamw, the paper's].
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "resume")]
    optimizer: Option<OptimizerKind>,
    /// How patches are chosen for removal.
    #[arg(long, value_enum, conflicts_with = "resume")]
    mask: Option<MaskKind>,
    /// Share of patches that are removed, between 0 and 1.
    #[arg(long, value_name = "R", conflicts_with = "resume")]
    mask_ratio: Option<f64>,
    /// Instead of one share: each optimizer step draws how many patches stay visible, from the share LO to HI of
    /// them, as 0.15..1; one always stays, and one is always removed.
    #[arg(long, value_name = "LO..HI", conflicts_with_all = ["resume", "mask_ratio"])]
    keep_range: Option<KeepRange>,
    /// Share of the removed patches that are decoded and count in the loss, chosen at random for each image; above 0
    /// and at most 1 [default: 1].
    #[arg(long, value_name = "R", conflicts_with = "resume")]
    predict_ratio: Option<f64>,
    /// What the decoder's tokens attend to [default: self].
    #[arg(long, value_enum, conflicts_with = "resume")]
    decoder: Option<DecoderKind>,
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
    /// Change brightness, contrast and saturation by up to 0.4 X and hue by up to X tenths of the circle, in four of
    /// five views [default: 0].
    #[arg(long, value_name = "X", conflicts_with = "resume")]
    jitter: Option<f64>,
    /// Take the colour from this share of the views [default: 0].
    #[arg(long, value_name = "P", conflicts_with = "resume")]
    grey: Option<f64>,
    /// Blur this share of the views [default: 0].
    #[arg(long, value_name = "P", conflicts_with = "resume")]
    blur: Option<f64>,
    /// Invert the bright values of this share of the views [default: 0].
    #[arg(long, value_name = "P", conflicts_with = "resume")]
    solarise: Option<f64>,
    /// The smallest area of a random crop relative to the image's [default: 0.2, the paper's].
    #[arg(long, value_name = "A", conflicts_with = "resume")]
    crop_area: Option<f64>,
    /// Let mask tokens pass through the encoder, too, as in the paper's table 1c [default: false].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, conflicts_with = "resume")]
    encoder_mask_tokens: Option<bool>,
    /// Add G times the squared error of the change across the borders of removed patches [default: 0].
    #[arg(long, value_name = "G", conflicts_with = "resume")]
    seam_gradient: Option<f64>,
    /// What is learned beside the reconstruction: views of the same image are to have alike features, kept apart from
    /// those of other images by their distribution (sigreg) or by comparison (infonce).
    #[arg(long, value_enum, value_name = "TERM", conflicts_with = "resume")]
    joint: Option<JointKind>,
    /// The joint term's factor in the loss.
    #[arg(long, value_name = "W", conflicts_with = "resume")]
    joint_weight: Option<f64>,
    /// Views of an image that the joint term compares.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    views: Option<usize>,
    /// Share of the patches that are visible in all views but the first [default: as in the first].
    #[arg(long, value_name = "R", conflicts_with = "resume")]
    view_keep: Option<f64>,
    /// The reconstruction's factor in the loss; 0 switches the decoder off.
    #[arg(long, value_name = "W", conflicts_with = "resume")]
    reconstruction_weight: Option<f64>,
    /// How many images the embedded generator makes.
    #[arg(long, value_name = "N", conflicts_with_all = ["resume", "data"])]
    synthetic_images: Option<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Arithmetic: auto is bf16 where the device has it and it is faster, else fp32; a run that goes on keeps its own.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Every random choice comes from this.
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    seed: Option<u64>,
    #[command(flatten)]
    saving: SavingArgs,
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
            if !args.data.is_empty() {
                config.data = DataSource::named(&args.data)?;
            }
            if let Some(epochs) = args.epochs {
                config.train.epochs = epochs;
            }
            config.precision = args.precision.resumed(config.precision, &chosen)?;
            (path.clone(), config, true)
        }
        None => {
            let (name, mut preset) = changed(&args, chosen.cuda)?;
            let init = init_config(&args, &mut preset)?;
            let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(clock::named(&name)));
            let data = DataSource::named(&args.data)?;
            let config = RunConfig::new(preset, data, chosen.description.clone());
            let pixels = init.map_or(config.pixels, |init| init.pixels);
            let precision = args.precision.on(&chosen, Some(&config.model))?;
            (path, RunConfig { pixels, precision, ..config }, false)
        }
    };
    config.checkpoints = args.saving.apply(config.checkpoints)?;
    let patches = config.model.grid().map_err(|e| misuse(e.to_string()))?.patches();
    config.train.validate(patches, config.model.decoder)?;
    let dataset = Arc::new(config.open_data()?);
    console::say!("data     {}", described(&dataset));
    config.train.validate_images(dataset.len())?;
    let run = if resumed { RunFolder::reopen(&path, &config)? } else { RunFolder::create(&path, &config)? };
    let mut engine = Pretraining::open(&run, &config, dataset.clone(), &chosen.device, resumed)?;
    if let Some(init) = &args.init {
        let tensors = RunFolder::open(init)?.0.load()?.model;
        if crate::formats::import::without_positions(&tensors) {
            console::note!(
                "warning: the tables of positions in {} hold zeros alone, and are not trained: import it again with \
                 --positions fixed",
                init.display()
            );
        }
        engine.task.start_from(&tensors)?;
        if let Some(other) = DecoderKind::of(&tensors).filter(|kind| *kind != config.model.decoder) {
            let (wanted, found) = (config.model.decoder.name(), other.name());
            console::say!("init     the encoder alone: the decoder there is `{found}`, and this one `{wanted}`");
        }
    }
    describe(&config, &engine.task, &path)?;
    let stop = stop_on_ctrl_c()?;
    let begun = Instant::now();
    let mut recorder = Recorder::of(&run, &config, &dataset, &engine);
    let outcome = engine.run(recorder.as_mut().map(|recorder| recorder as _), &stop)?;
    let shown = path.display();
    match outcome {
        Outcome::Stopped(checkpoint) => {
            console::say!("stopped  saved {}", checkpoint.display());
            console::say!("next     {} pretrain --resume {shown}", called("host"));
        }
        Outcome::Finished => {
            let picture = run.pictures().join("reconstruction.png");
            if config.train.joint.reconstructs() {
                let images: Vec<_> = pictures::samples(&dataset, 6);
                pictures::reconstruct(&run, &config, &images, None, config.train.mask_ratio, &picture)?;
            }
            let page = report::write(&run, &config)?;
            let seconds = begun.elapsed().as_secs();
            console::say!("done     in {} min {} s", seconds / 60, seconds % 60);
            if config.train.joint.reconstructs() {
                console::say!("picture  {}", picture.display());
            }
            console::say!("report   {}", page.display());
            let name = path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
            console::say!("next     {} export --run {shown} --out models/{name}", called("host"));
        }
    }
    Ok(())
}

/// The preset with what the options change.
fn changed(args: &Args, cuda: bool) -> anyhow::Result<(String, Preset)> {
    let named = args.preset.as_deref().unwrap_or(preset::usual(cuda));
    let (name, mut preset) = preset::open(args.config.as_deref(), named, args.recipe)?;
    let (model, train) = (&mut preset.model, &mut preset.train);
    set(&mut train.epochs, args.epochs);
    set(&mut train.batch_size, args.batch_size);
    set(&mut train.accumulate, args.accumulate);
    set(&mut train.blr, args.blr);
    set(&mut train.warmup_epochs, args.warmup_epochs);
    set(&mut train.optimizer, args.optimizer);
    set(&mut train.mask, args.mask);
    set(&mut train.mask_ratio, args.mask_ratio);
    if args.keep_range.is_some() || args.mask_ratio.is_some() {
        train.keep_range = args.keep_range;
    }
    set(&mut train.predict_ratio, args.predict_ratio);
    set(&mut model.decoder, args.decoder);
    set(&mut train.target, args.target);
    set(&mut train.seam.weight, args.seam_weight);
    set(&mut train.seam.gradient, args.seam_gradient);
    set(&mut train.augment, args.augment);
    set(&mut train.joint.kind, args.joint);
    set(&mut train.joint.weight, args.joint_weight);
    set(&mut train.joint.views, args.views);
    train.joint.view_keep = args.view_keep.or(train.joint.view_keep);
    set(&mut train.joint.reconstruction_weight, args.reconstruction_weight);
    set(&mut train.colour.jitter, args.jitter);
    set(&mut train.colour.grey, args.grey);
    set(&mut train.colour.blur, args.blur);
    set(&mut train.colour.solarise, args.solarise);
    set(&mut train.colour.crop_area, args.crop_area);
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
    set(&mut preset.model.decoder, args.decoder);
    Ok(Some(config))
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

fn describe(config: &RunConfig, task: &Pretraining, path: &Path) -> anyhow::Result<()> {
    let (model, train) = (&config.model, &config.train);
    let grid = model.grid()?;
    let (encoder, decoder) = task.parameters()?;
    console::say!(
        "model    encoder {}x{} ({:.2} M), {}decoder {}x{} ({:.2} M); {} of {} patches of {p}x{p} visible{}",
        model.dim,
        model.depth,
        encoder as f64 / 1e6,
        if model.decoder == DecoderKind::Cross { "cross-attention " } else { "" },
        model.decoder_dim,
        model.decoder_depth,
        decoder as f64 / 1e6,
        train.visible_in_words(grid.patches()),
        grid.patches(),
        if train.predict_ratio < 1.0 {
            format!(", {:.0} % of the others predicted", 100.0 * train.predict_ratio)
        } else {
            String::new()
        },
        p = grid.patch_size(),
    );
    console::say!(
        "train    {} epochs of {} steps, {} images a step{}; Ctrl-C saves",
        train.epochs,
        task.steps_an_epoch(),
        train.images_a_step(),
        if train.accumulate > 1 { format!(" ({} batches)", train.accumulate) } else { String::new() }
    );
    if train.joint.is_on() {
        console::say!("loss     {}", report::objective(&train.joint));
    }
    console::say!("run      {}", path.display());
    Ok(())
}
