//! The recipe of a fine-tuning.

use crate::{
    data::{
        labelled::{Augmentation, CropKind},
        mixup::Mixing,
    },
    model::{
        MaeConfig,
        classifier::{HeadPool, Trained},
    },
    train::policy::CheckpointPolicy,
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

impl Recipe {
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
