//! The recipe that `host evaluate finetune` and `partial` share, as options.

use crate::{
    cli::switch::Switch,
    data::labelled::CropKind,
    model::classifier::HeadPool,
    run::recipe::{FinetuneError, Part, Recipe},
};
use common::model::EncoderSpec;

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
    /// If a number is impossible.
    pub fn recipe(&self, spec: &EncoderSpec, part: Part) -> Result<Recipe, FinetuneError> {
        let paper = Recipe::paper(spec, part);
        let recipe = Recipe {
            epochs: self.epochs,
            batch_size: self.batch_size,
            blr: self.blr,
            min_lr: self.min_lr,
            warmup_epochs: self.warmup_epochs.unwrap_or_else(|| Recipe::usual_warmup(self.epochs)),
            weight_decay: self.weight_decay,
            layer_decay: self.layer_decay,
            drop_path: self.drop_path,
            label_smoothing: self.label_smoothing,
            mixup: self.mixup,
            cutmix: self.cutmix,
            rand_augment: self.rand_augment == Switch::On,
            random_erasing: self.random_erasing,
            crop: self.crop.unwrap_or(paper.crop),
            pool: match self.pool {
                PoolArg::Cls => HeadPool::Cls,
                PoolArg::Mean => HeadPool::Mean,
            },
            keep: self.keep,
            from_scratch: self.from_scratch,
            limit: self.limit,
            test_limit: self.test_limit,
            seed: self.seed,
            ..paper
        };
        recipe.validate(spec)?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::Preset;
    use clap::Parser as _;
    use common::normalize::PixelStats;

    #[test]
    fn the_options_default_to_the_papers_recipe() -> anyhow::Result<()> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            recipe: RecipeArgs,
        }
        for name in ["pico-32", "base-224"] {
            let spec = Preset::named(name)?.model.encoder_spec(PixelStats::IMAGENET, Default::default());
            let part = Part { blocks: None, positions: true };
            assert_eq!(Line::parse_from(["finetune"]).recipe.recipe(&spec, part)?, Recipe::paper(&spec, part));
        }
        Ok(())
    }
}
