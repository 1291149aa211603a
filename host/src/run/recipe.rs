//! The recipe of a fine-tuning.

use super::policy::CheckpointPolicy;
use crate::{
    data::{
        labelled::{Augmentation, CropKind},
        mixup::Mixing,
    },
    model::{
        MaeConfig,
        classifier::{HeadPool, Trained},
    },
};
use common::model::{EncoderSpec, Pooling, PositionKind};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of the folder's format.
pub const FORMAT: u32 = 1;

/// The recipe (MAE appendix A.1, table 9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Base learning rate, for a batch of 256.
    pub blr: f64,
    /// Learning rate at the end.
    pub min_lr: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Each layer's learning rate is this times that of the layer after it; 1 is off.
    pub layer_decay: f64,
    /// Probability that a branch of the last block is dropped; 0 is off.
    pub drop_path: f64,
    /// Label smoothing; 0 is off.
    pub label_smoothing: f64,
    /// Shape of mixup's distribution; 0 is off.
    pub mixup: f64,
    /// Shape of CutMix's distribution; 0 is off.
    pub cutmix: f64,
    /// Whether RandAugment is on.
    pub rand_augment: bool,
    /// Probability of random erasing; 0 is off.
    pub random_erasing: f64,
    /// How a training view is cut out.
    pub crop: CropKind,
    /// What the head sees.
    pub pool: HeadPool,
    /// Share of patches to encode, in training and test.
    pub keep: f64,
    /// How many last blocks are trained, 0 for the head alone and 0.5 for an MLP; all parameters without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<f64>,
    /// Whether the table of positions is among all parameters, as in the reference; runs of earlier versions kept it
    /// fixed.
    #[serde(default)]
    pub train_positions: bool,
    /// Whether training starts from random weights.
    pub from_scratch: bool,
    /// Training images, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Test images, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// Every random choice comes from this.
    pub seed: u64,
}

/// Images up to this side are moved rather than cropped.
const SMALL: u32 = 64;

/// Which parameters are trained.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// How many last blocks; all parameters without it.
    pub blocks: Option<f64>,
    /// Whether the table of positions is among all parameters.
    pub positions: bool,
}

/// Why a recipe is impossible. Fields have their names in `finetune.toml`; the command line tells its own instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FinetuneError {
    /// The share of patches.
    #[error("keep {0} is not above 0 and at most 1")]
    Keep(f64),
    /// One of these is 0.
    #[error("epochs and batch_size must be at least 1")]
    Zero,
    /// No images would be used.
    #[error("limit and test_limit must be at least 1")]
    NoImages,
    /// The base learning rate.
    #[error("blr must be a positive number")]
    Rate,
    /// This one is negative or no number.
    #[error("{0} must be 0 or more")]
    Negative(&'static str),
    /// The layers' decay.
    #[error("layer_decay must be above 0 and at most 1, which is off")]
    LayerDecay,
    /// A probability that may be 1.
    #[error("random_erasing must be between 0, which is off, and 1")]
    RandomErasing,
    /// A probability that must be less.
    #[error("{0} must be 0, which is off, or less than 1")]
    Probability(&'static str),
    /// There are not so many blocks, or there is no such half.
    #[error("blocks {blocks}: use 0, 0.5 or a whole number up to {depth}, the model's blocks")]
    Blocks {
        /// How many are to be trained.
        blocks: f64,
        /// How many there are.
        depth: usize,
    },
    /// One step takes more images than there are.
    #[error("{images} images are fewer than one batch of {batch}")]
    FewImages {
        /// Training images that are there.
        images: usize,
        /// Images a step.
        batch: usize,
    },
}

impl Recipe {
    /// The paper's for ViT-B (table 9) but for the batch, with `part` of `spec` to train; small images are moved
    /// rather than cropped.
    #[must_use]
    pub fn paper(spec: &EncoderSpec, part: Part) -> Self {
        let small = spec.image_height.max(spec.image_width) <= SMALL;
        let epochs = 100;
        Self {
            epochs,
            batch_size: 256,
            blr: 1e-3,
            min_lr: 1e-6,
            warmup_epochs: Self::usual_warmup(epochs),
            weight_decay: 0.05,
            layer_decay: 0.75,
            drop_path: 0.1,
            label_smoothing: 0.1,
            mixup: 0.8,
            cutmix: 1.0,
            rand_augment: true,
            random_erasing: 0.25,
            crop: if small { CropKind::Padded } else { CropKind::Resized },
            pool: HeadPool::Mean,
            keep: 1.0,
            blocks: part.blocks,
            train_positions: part.positions,
            from_scratch: false,
            limit: None,
            test_limit: None,
            seed: 0,
        }
    }

    /// Epochs of warm-up for so many epochs: 5, but at most a tenth of them.
    #[must_use]
    pub fn usual_warmup(epochs: usize) -> f64 {
        (epochs as f64 / 10.0).min(5.0)
    }

    /// Without mixup, CutMix, RandAugment, random erasing, label smoothing and drop path, of which a few epochs
    /// cannot make use.
    #[must_use]
    pub fn without_regularisation(self) -> Self {
        Self {
            mixup: 0.0,
            cutmix: 0.0,
            rand_augment: false,
            random_erasing: 0.0,
            label_smoothing: 0.0,
            drop_path: 0.0,
            ..self
        }
    }

    /// Refuses what is impossible for `spec`.
    ///
    /// # Errors
    /// Names the first number that is.
    pub fn validate(&self, spec: &EncoderSpec) -> Result<(), FinetuneError> {
        if !(self.keep > 0.0 && self.keep <= 1.0) {
            return Err(FinetuneError::Keep(self.keep));
        }
        if self.epochs == 0 || self.batch_size == 0 {
            return Err(FinetuneError::Zero);
        }
        if self.limit == Some(0) || self.test_limit == Some(0) {
            return Err(FinetuneError::NoImages);
        }
        if !(self.blr.is_finite() && self.blr > 0.0) {
            return Err(FinetuneError::Rate);
        }
        for (name, value) in [
            ("min_lr", self.min_lr),
            ("warmup_epochs", self.warmup_epochs),
            ("weight_decay", self.weight_decay),
            ("mixup", self.mixup),
            ("cutmix", self.cutmix),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(FinetuneError::Negative(name));
            }
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return Err(FinetuneError::LayerDecay);
        }
        if !(0.0..=1.0).contains(&self.random_erasing) {
            return Err(FinetuneError::RandomErasing);
        }
        for (name, value) in [("drop_path", self.drop_path), ("label_smoothing", self.label_smoothing)] {
            if !(0.0..1.0).contains(&value) {
                return Err(FinetuneError::Probability(name));
            }
        }
        let depth = spec.depth as usize;
        if self.trained(depth).is_none() {
            return Err(FinetuneError::Blocks { blocks: self.blocks.unwrap_or_default(), depth });
        }
        Ok(())
    }

    /// What is done to training images.
    #[must_use]
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            crop: self.crop,
            rand_augment: self.rand_augment,
            erasing: self.random_erasing,
            mixing: Mixing { mixup: self.mixup, cutmix: self.cutmix },
            smoothing: self.label_smoothing,
        }
    }

    /// Whether the table of positions is trained: blocks are trained without it.
    #[must_use]
    pub fn positions_trained(&self) -> bool {
        self.train_positions && self.blocks.is_none()
    }

    /// Which parameters of `depth` blocks are trained; `None` if there are not so many blocks.
    #[must_use]
    pub fn trained(&self, depth: usize) -> Option<Trained> {
        self.blocks.map_or(Some(Trained::All), |blocks| Trained::last_blocks(blocks, depth))
    }
}

/// The whole configuration of a fine-tuning, as `finetune.toml` holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinetuneConfig {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that made the run.
    pub host_version: String,
    /// Device, as a person reads it.
    pub device: String,
    /// The run or model folder that the encoder came from.
    pub model: PathBuf,
    /// Training images.
    pub train: PathBuf,
    /// Test images.
    pub test: PathBuf,
    /// Names of the classes, in alphabetical order.
    pub classes: Vec<String>,
    /// Recipe.
    pub recipe: Recipe,
    /// When it is saved.
    #[serde(default)]
    pub checkpoints: CheckpointPolicy,
    /// The encoder that training began with.
    pub encoder: EncoderSpec,
}

impl FinetuneConfig {
    /// Geometry of the encoder; a table of positions that is trained is a stored one.
    #[must_use]
    pub fn geometry(&self) -> MaeConfig {
        let geometry = MaeConfig::for_encoder(&self.encoder);
        let position = if self.recipe.positions_trained() { PositionKind::Stored } else { geometry.position };
        MaeConfig { position, ..geometry }
    }

    /// The feature that the head reads.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        match self.recipe.pool {
            HeadPool::Cls => Pooling::Cls,
            HeadPool::Mean => Pooling::MeanNorm,
        }
    }
}
