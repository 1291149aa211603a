//! What `host evaluate finetune` and `partial` have in common: options, images, one run.

use crate::{
    checkpoint::Tensors,
    data::{
        dataset::Dataset,
        labelled::{CropKind, Labelled},
    },
    device::{Chosen, DeviceChoice},
    model::classifier::HeadPool,
    train::{
        finetune::{
            config::{FORMAT, FinetuneConfig, Recipe},
            folder::{FinetuneFolder, Metrics},
            trainer::{Finetuner, Verdicts},
        },
        run_folder::load_encoder,
        trainer::Outcome,
    },
};
use anyhow::Context as _;
use common::model::EncoderSpec;
use edge::exit::misuse;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Images up to this side are moved rather than cropped.
const SMALL: u32 = 64;

/// Where images lie, and where to compute.
#[derive(Debug, Clone, clap::Args)]
pub struct Folders {
    /// Training images, one folder a class.
    #[arg(long, value_name = "DIR")]
    train: Option<PathBuf>,
    /// Test images, one folder a class.
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// `--pool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PoolArg {
    /// The class token.
    Cls,
    /// The mean of the patch tokens, then a norm.
    Mean,
}

/// The recipe; its defaults are the paper's for ViT-B (table 9) but for the batch.
#[derive(Debug, Clone, clap::Args)]
pub struct RecipeArgs {
    /// A run folder or a model folder.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Start from random weights instead of the model's, as a baseline.
    #[arg(long)]
    from_scratch: bool,
    /// Passes over the training images.
    #[arg(long, value_name = "N", default_value_t = 100)]
    epochs: usize,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch_size: usize,
    /// Base learning rate, for a batch of 256.
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    blr: f64,
    /// Learning rate at the end.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    min_lr: f64,
    /// Epochs of linear warm-up [default: 5, but at most a tenth of the epochs].
    #[arg(long, value_name = "X")]
    warmup_epochs: Option<f64>,
    /// Decoupled weight decay.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    weight_decay: f64,
    /// Learning rate of a layer relative to the one after it; 1 is off.
    #[arg(long, value_name = "X", default_value_t = 0.75)]
    layer_decay: f64,
    /// Probability that a branch of the last block is dropped; 0 is off.
    #[arg(long, value_name = "P", default_value_t = 0.1)]
    drop_path: f64,
    /// Label smoothing; 0 is off.
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    label_smoothing: f64,
    /// Shape of mixup's beta distribution; 0 is off.
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    mixup: f64,
    /// Shape of CutMix's beta distribution; 0 is off.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    cutmix: f64,
    /// RandAugment, of magnitude 9 and deviation 0.5.
    #[arg(long, value_enum, default_value = "on")]
    rand_augment: Switch,
    /// Probability of random erasing; 0 is off.
    #[arg(long, value_name = "P", default_value_t = 0.25)]
    random_erasing: f64,
    /// How training views are cut out [default: padded for images of up to 64 pixels a side, else resized].
    #[arg(long, value_enum)]
    crop: Option<CropKind>,
    /// What the head sees.
    #[arg(long, value_enum, default_value = "mean")]
    pool: PoolArg,
    /// Share of patches to encode, in training and test.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    keep: f64,
    /// Training images to use, evenly spread [default: all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Test images to use, evenly spread [default: all].
    #[arg(long, value_name = "N")]
    test_limit: Option<usize>,
    /// Every random choice comes from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Training and test images with their classes' names.
pub struct Images {
    /// Training images.
    pub train: Labelled,
    /// Test images.
    pub test: Labelled,
    /// Names of the classes, in alphabetical order.
    pub classes: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Found {
    /// How it ended.
    pub outcome: Outcome,
    /// The line of the best epoch, the first of equals; none before the first.
    pub best: Option<Metrics>,
    /// The line of the last epoch.
    pub last: Option<Metrics>,
    /// What the finished classifier says about the test images, if it was asked.
    pub verdicts: Option<Verdicts>,
}

impl RecipeArgs {
    /// The recipe for `spec`, with `blocks` to train.
    fn recipe(&self, spec: &EncoderSpec, blocks: Option<f64>) -> anyhow::Result<Recipe> {
        let small = spec.image_height.max(spec.image_width) <= SMALL;
        let recipe = Recipe {
            epochs: self.epochs,
            batch_size: self.batch_size,
            blr: self.blr,
            min_lr: self.min_lr,
            warmup_epochs: self.warmup_epochs.unwrap_or_else(|| (self.epochs as f64 / 10.0).min(5.0)),
            weight_decay: self.weight_decay,
            layer_decay: self.layer_decay,
            drop_path: self.drop_path,
            label_smoothing: self.label_smoothing,
            mixup: self.mixup,
            cutmix: self.cutmix,
            rand_augment: self.rand_augment == Switch::On,
            random_erasing: self.random_erasing,
            crop: self.crop.unwrap_or(if small { CropKind::Padded } else { CropKind::Resized }),
            pool: match self.pool {
                PoolArg::Cls => HeadPool::Cls,
                PoolArg::Mean => HeadPool::Mean,
            },
            keep: self.keep,
            blocks,
            from_scratch: self.from_scratch,
            limit: self.limit,
            test_limit: self.test_limit,
            seed: self.seed,
        };
        check(&recipe, spec)?;
        Ok(recipe)
    }

    /// The configuration of a new run, its images, and the encoder to start from, if any.
    ///
    /// # Errors
    /// If an option is missing or impossible, or a folder unusable.
    pub fn config(
        &self,
        folders: &Folders,
        device: &Chosen,
        blocks: Option<f64>,
    ) -> anyhow::Result<(FinetuneConfig, Images, Option<Tensors>)> {
        let needed = |folder: &Option<PathBuf>, option| {
            folder.clone().ok_or_else(|| misuse(format!("{option} DIR is needed: --model, --train and --test")))
        };
        let model = needed(&self.model, "--model")?;
        let (train, test) = (needed(&folders.train, "--train")?, needed(&folders.test, "--test")?);
        let (spec, tensors) = load_encoder(&model)?;
        let recipe = self.recipe(&spec, blocks)?;
        let images = images(&train, &test, &spec, &recipe)?;
        let config = FinetuneConfig {
            format: FORMAT,
            host_version: env!("CARGO_PKG_VERSION").into(),
            device: device.description.clone(),
            model,
            train,
            test,
            classes: images.classes.clone(),
            recipe,
            encoder: spec,
        };
        let encoder = (!self.from_scratch).then_some(tensors);
        Ok((config, images, encoder))
    }
}

impl Folders {
    /// The images of a run that is continued, which may have moved.
    ///
    /// # Errors
    /// If a folder is unusable, or has other classes.
    pub fn moved(&self, config: &mut FinetuneConfig) -> anyhow::Result<Images> {
        for (place, given) in [(&mut config.train, &self.train), (&mut config.test, &self.test)] {
            given.iter().for_each(|given| place.clone_from(given));
        }
        let images = images(&config.train, &config.test, &config.encoder, &config.recipe)?;
        if images.classes != config.classes {
            let (found, known) = (images.classes.join(", "), config.classes.join(", "));
            let folder = config.train.display();
            return Err(misuse(format!("{folder} has the classes {found}, but this run began with {known}")));
        }
        Ok(images)
    }
}

/// Refuses impossible numbers.
///
/// # Errors
/// As misuse.
pub fn check(recipe: &Recipe, spec: &EncoderSpec) -> anyhow::Result<()> {
    edge::linux::check_keep(recipe.keep)?;
    if recipe.epochs == 0 || recipe.batch_size == 0 {
        return Err(misuse("--epochs and --batch-size must be at least 1"));
    }
    if recipe.limit == Some(0) || recipe.test_limit == Some(0) {
        return Err(misuse("--limit and --test-limit must be at least 1"));
    }
    if !(recipe.blr.is_finite() && recipe.blr > 0.0) {
        return Err(misuse("--blr must be a positive number"));
    }
    for (name, value) in [
        ("min-lr", recipe.min_lr),
        ("warmup-epochs", recipe.warmup_epochs),
        ("weight-decay", recipe.weight_decay),
        ("mixup", recipe.mixup),
        ("cutmix", recipe.cutmix),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(misuse(format!("--{name} must be 0 or more")));
        }
    }
    if !(recipe.layer_decay > 0.0 && recipe.layer_decay <= 1.0) {
        return Err(misuse("--layer-decay must be above 0 and at most 1, which is off"));
    }
    if !(0.0..=1.0).contains(&recipe.random_erasing) {
        return Err(misuse("--random-erasing must be between 0, which is off, and 1"));
    }
    for (name, value) in [("drop-path", recipe.drop_path), ("label-smoothing", recipe.label_smoothing)] {
        if !(0.0..1.0).contains(&value) {
            return Err(misuse(format!("--{name} must be 0, which is off, or less than 1")));
        }
    }
    let depth = spec.depth as usize;
    if recipe.trained(depth).is_none() {
        let blocks = recipe.blocks.unwrap_or_default();
        return Err(misuse(format!(
            "--blocks {blocks}: use 0, 0.5 or a whole number up to {depth}, the model's blocks"
        )));
    }
    Ok(())
}

fn images(train: &Path, test: &Path, spec: &EncoderSpec, recipe: &Recipe) -> anyhow::Result<Images> {
    let channels = spec.channels as usize;
    let open = |folder: &Path| -> anyhow::Result<Arc<Dataset>> {
        // Its own message speaks of --data.
        let found = edge::image_source::find(folder);
        found.map_err(|error| misuse(format!("{error}; --train and --test take a folder of images a class")))?;
        let dataset = Dataset::folder(folder, channels)?;
        if dataset.classes().is_empty() {
            let shown = folder.display();
            return Err(misuse(format!(
                "{shown} has images outside class folders: put each in a folder of its class"
            )));
        }
        Ok(Arc::new(dataset))
    };
    let (train_set, test_set) = (open(train)?, open(test)?);
    let classes = train_set.classes().to_vec();
    let numbers: BTreeMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
    let number = |class: &str| {
        numbers.get(class).copied().ok_or_else(|| {
            misuse(format!(
                "the class {class} of {} has no images in {}: --train and --test need the same class folders",
                test.display(),
                train.display()
            ))
        })
    };
    let train = Labelled::new(train_set.clone(), classes.len(), number, recipe.limit)?;
    let test = Labelled::new(test_set, classes.len(), number, recipe.test_limit)?;
    if train.len() < recipe.batch_size {
        let (count, batch) = (train.len(), recipe.batch_size);
        return Err(misuse(format!("{count} images are fewer than one batch of {batch}: use --batch-size {count}")));
    }
    Ok(Images { train, test, classes })
}

/// Says what is about to be trained.
pub fn describe(config: &FinetuneConfig, images: &Images, path: &Path) {
    let (train, test, classes) = (images.train.len(), images.test.len(), images.classes.len());
    let (spec, recipe) = (&config.encoder, &config.recipe);
    edge::say!("data     {train} training and {test} test images, {classes} classes");
    let start = if recipe.from_scratch { "random weights".into() } else { config.model.display().to_string() };
    edge::say!("model    {}x{} from {start}", spec.dim, spec.depth);
    let steps = train / recipe.batch_size;
    edge::say!(
        "train    {} epochs of {steps} steps, {} images a step; Ctrl-C saves",
        recipe.epochs,
        recipe.batch_size
    );
    edge::say!("run      {}", path.display());
}

/// Trains to the end or until `stop`, and with `judge` has the finished classifier judge the test images once more.
///
/// # Errors
/// As [`Finetuner::run`].
pub fn train(
    folder: &FinetuneFolder,
    config: FinetuneConfig,
    images: Images,
    encoder: Option<&Tensors>,
    device: &Chosen,
    stop: &AtomicBool,
    judge: bool,
) -> anyhow::Result<Found> {
    let Images { train, test, .. } = images;
    let mut finetuner = Finetuner::new(folder.clone(), config, (train, test), encoder, &device.device)?;
    let outcome = finetuner.run(stop)?;
    let metrics = folder.metrics()?;
    let better = |best: Option<Metrics>, line: &Metrics| match best {
        Some(best) if best.test_accuracy >= line.test_accuracy => Some(best),
        _ => Some(*line),
    };
    let best = metrics.iter().fold(None, better);
    let verdicts = (judge && outcome == Outcome::Finished).then(|| finetuner.test(|line| edge::note!("{line}")));
    let found = Found { outcome, best, last: metrics.last().copied(), verdicts: verdicts.transpose()? };
    if found.outcome == Outcome::Finished {
        found.last.context("metrics.csv has lost its lines")?;
    }
    Ok(found)
}
