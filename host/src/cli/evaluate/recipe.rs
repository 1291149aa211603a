//! The recipe that `host evaluate finetune` and `partial` share, as options.

use crate::{data::labelled::CropKind, model::classifier::HeadPool, train::finetune::config::Recipe};
use common::model::EncoderSpec;
use console::misuse;

/// Images up to this side are moved rather than cropped.
const SMALL: u32 = 64;

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Done.
    On,
    /// Not done.
    Off,
}

/// Which parameters are trained.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// How many last blocks; all parameters without it.
    pub blocks: Option<f64>,
    /// Whether the table of positions is among all parameters.
    pub positions: bool,
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

impl RecipeArgs {
    /// The recipe for `spec`, with `part` to train.
    ///
    /// # Errors
    /// As misuse, if a number is impossible.
    pub fn recipe(&self, spec: &EncoderSpec, part: Part) -> anyhow::Result<Recipe> {
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
            blocks: part.blocks,
            train_positions: part.positions,
            from_scratch: self.from_scratch,
            limit: self.limit,
            test_limit: self.test_limit,
            seed: self.seed,
        };
        check(&recipe, spec)?;
        Ok(recipe)
    }
}

/// Refuses impossible numbers.
///
/// # Errors
/// As misuse.
pub fn check(recipe: &Recipe, spec: &EncoderSpec) -> anyhow::Result<()> {
    edge::options::check_keep(recipe.keep)?;
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
