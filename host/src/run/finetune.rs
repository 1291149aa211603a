//! The folder of a fine-tuning: `finetune.toml`, `metrics.csv`, `checkpoints/`; complete and movable.

use super::{
    folder::{FolderError, Kind, TrainingFolder},
    recipe::{FORMAT, FinetuneConfig},
};
use crate::{
    lines,
    tensors::{NamedTensor, Tensors, encoder_hash_with},
};
use anyhow::Context as _;
use common::model::EncoderSpec;
use edge::head_file::{self, HeadDescription, HeadFile};
use serde::Deserialize;
use std::path::Path;

/// The name of the configuration's file.
pub const FILE: &str = "finetune.toml";

static KIND: Kind = Kind {
    training: "fine-tuning",
    folder: "fine-tuned folder",
    file: FILE,
    format: FORMAT,
    begin: "host evaluate finetune",
    resume: "host evaluate finetune --resume",
    folders: &[],
};

/// One line of `metrics.csv`; the fields are its columns.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Metrics {
    /// Whole epochs done.
    pub epoch: usize,
    /// Optimizer steps done.
    pub step: usize,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Share of test images that are recognised.
    pub test_accuracy: f64,
    /// Learning rate at its end.
    pub lr: f64,
}

impl Metrics {
    /// The columns' names.
    pub const COLUMNS: &'static str = "epoch,step,train_loss,test_accuracy,lr";

    /// As it stands in the file.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { epoch, step, train_loss, test_accuracy, lr } = self;
        format!("{epoch},{step},{train_loss:.6},{test_accuracy:.6},{lr:.6e}")
    }
}

/// A fine-tuned classifier: its encoder and its head.
#[derive(Debug, Clone)]
pub struct Finetuned {
    /// The encoder's description, with the pooling that the head reads.
    pub spec: EncoderSpec,
    /// The encoder's parameters.
    pub encoder: Tensors,
    /// The head, which fits this encoder alone.
    pub head: HeadFile,
}

/// A folder on disk.
#[derive(Debug, Clone)]
pub struct FinetuneFolder {
    folder: TrainingFolder,
}

impl FinetuneFolder {
    /// Makes a new folder for this process to train in, and writes `finetune.toml`.
    ///
    /// # Errors
    /// If the folder holds a training already, another process trains in it, or it cannot be written.
    pub fn create(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Self> {
        if path.join("run.toml").exists() || path.join("model.toml").exists() {
            return Err(FolderError::Foreign(path.into()).into());
        }
        Ok(Self { folder: TrainingFolder::create(path, &KIND, config)? })
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn open(path: &Path) -> anyhow::Result<(Self, FinetuneConfig)> {
        let (folder, config): (_, FinetuneConfig) = TrainingFolder::open(path, &KIND)?;
        let impossible = || format!("{} describes an impossible model", path.join(FILE).display());
        config.encoder.validate().with_context(impossible)?;
        Ok((Self { folder }, config))
    }

    /// A folder to go on in; what differs in `config` is recorded.
    ///
    /// # Errors
    /// If it is none, another process trains in it, or it cannot be written.
    pub fn reopen(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Self> {
        let (mut tuned, recorded) = Self::open(path)?;
        tuned.folder.go_on(&recorded, config)?;
        Ok(tuned)
    }

    /// What it shares with the folders of other trainings: checkpoints and metrics.
    #[must_use]
    pub fn training(&self) -> &TrainingFolder {
        &self.folder
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Encoder and head of the newest checkpoint.
    ///
    /// # Errors
    /// If there is no whole checkpoint, or it lacks the head.
    pub fn finetuned(&self, config: &FinetuneConfig) -> anyhow::Result<Finetuned> {
        let shown = self.path().display();
        let checkpoint = self.folder.newest()?;
        let none = || format!("{shown} has no checkpoint yet: continue it with `{} {shown}`", KIND.resume);
        let mut encoder = checkpoint.with_context(none)?.model;
        let mut take =
            |name: &str| encoder.remove(name).with_context(|| format!("the checkpoint in {shown} has no `{name}`"));
        let (weight, bias): (NamedTensor, NamedTensor) = (take("head.weight")?, take("head.bias")?);
        let position = config.geometry().position;
        let hash = encoder_hash_with(&encoder, position);
        let spec = EncoderSpec { pooling: config.pooling(), position, hash, ..config.encoder };
        let description = HeadDescription {
            format: head_file::FORMAT,
            encoder: spec.hash,
            pooling: spec.pooling,
            classes: config.classes.clone(),
            keep: config.recipe.keep,
            made_by: format!("host {} evaluate finetune", env!("CARGO_PKG_VERSION")),
            accuracy: self.metrics()?.last().map(|metrics| metrics.test_accuracy),
            sha256: String::new(),
        };
        let head = HeadFile::new(description, weight.data, bias.data).map_err(anyhow::Error::msg);
        let head = head.with_context(|| format!("the head in {shown} is unusable"))?;
        Ok(Finetuned { spec, encoder, head })
    }

    /// The lines of `metrics.csv`; a line that a killed process left half-written is passed over.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn metrics(&self) -> anyhow::Result<Vec<Metrics>> {
        lines::read(&self.path().join("metrics.csv"))
    }
}
