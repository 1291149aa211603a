//! The folder of a fine-tuning: `finetune.toml`, `metrics.csv`, `checkpoints/`; complete and movable.

use super::config::{FORMAT, FinetuneConfig};
use crate::checkpoint::{NamedTensor, Tensors, atomic, encoder_hash, safetensors};
use anyhow::{Context as _, bail};
use common::model::EncoderSpec;
use edge::{
    exit::misuse,
    head_file::{self, HeadDescription, HeadFile},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// The name of the configuration's file.
pub const FILE: &str = "finetune.toml";
/// Checkpoints that are kept.
const KEEP: usize = 2;

/// How far a fine-tuning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progressed {
    /// Whole epochs done.
    pub epoch: usize,
    /// Iterations done in the epoch after them.
    pub iteration: usize,
    /// Optimizer steps done in all.
    pub step: usize,
}

/// One line of `metrics.csv`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// Whole epochs done.
    pub epoch: usize,
    /// Optimizer steps done.
    pub step: usize,
    /// Mean training loss of the epoch, since the last start if that was in its midst.
    pub train_loss: f64,
    /// Share of test images that are recognised.
    pub test_accuracy: f64,
    /// Learning rate at its end.
    pub lr: f64,
}

/// A checkpoint as read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// All parameters.
    pub model: Tensors,
    /// The optimizer's state.
    pub optimizer: Tensors,
    /// How far it is.
    pub progressed: Progressed,
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
    path: PathBuf,
}

impl FinetuneFolder {
    /// Makes a new folder and writes `finetune.toml`.
    ///
    /// # Errors
    /// If the folder holds a run already, or cannot be written.
    pub fn create(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Self> {
        let (folder, shown) = (Self { path: path.into() }, path.display());
        if path.join("run.toml").exists() || path.join("model.toml").exists() {
            return Err(misuse(format!("{shown} holds a pre-training or a model: name another --out")));
        }
        if path.join(FILE).exists() && !folder.checkpoints()?.is_empty() {
            return Err(misuse(format!(
                "{shown} holds a fine-tuning already: continue it with --resume {shown}, or name another --out"
            )));
        }
        let text = toml::to_string(config).context("writing the configuration")?;
        let cannot = || format!("cannot write the folder {shown}");
        fs::create_dir_all(path.join("checkpoints")).with_context(cannot)?;
        atomic::write_file(&path.join(FILE), text.as_bytes()).with_context(cannot)?;
        // Of a run that ended before its first checkpoint.
        folder.forget_metrics_after(0)?;
        Ok(folder)
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn open(path: &Path) -> anyhow::Result<(Self, FinetuneConfig)> {
        let file = path.join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(misuse(format!("{} is no folder of a fine-tuning: it has no {FILE}", path.display())));
            }
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unusable = || format!("{} is not a usable description of a fine-tuning", file.display());
        let Version { format } = toml::from_str(&text).map_err(message).with_context(unusable)?;
        if format != FORMAT {
            bail!(
                "{} has format {format}, this program reads format {FORMAT}: use the host version that made it",
                file.display()
            );
        }
        let config: FinetuneConfig = toml::from_str(&text).map_err(message).with_context(unusable)?;
        config.encoder.validate().with_context(unusable)?;
        Ok((Self { path: path.into() }, config))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a checkpoint and drops all but the newest two. Returns its folder.
    ///
    /// # Errors
    /// Those of the file system; earlier checkpoints are then untouched.
    pub fn save(&self, model: &Tensors, optimizer: &Tensors, progressed: Progressed) -> anyhow::Result<PathBuf> {
        let path = self.path.join("checkpoints").join(format!("step-{:08}", progressed.step));
        atomic::write_folder(&path, |folder| -> anyhow::Result<()> {
            safetensors::write(&folder.join("model.safetensors"), model, Default::default())?;
            safetensors::write(&folder.join("optimizer.safetensors"), optimizer, Default::default())?;
            fs::write(folder.join("position.toml"), toml::to_string(&progressed)?)?;
            Ok(())
        })
        .with_context(|| format!("cannot write the checkpoint {}", path.display()))?;
        for old in self.checkpoints()?.iter().rev().skip(KEEP) {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(path)
    }

    /// The newest whole checkpoint; `None` if there is none at all. A damaged newer one is passed over with a warning on
    /// standard error.
    ///
    /// # Errors
    /// If all are damaged.
    pub fn load(&self) -> anyhow::Result<Option<Checkpoint>> {
        let mut cause = None;
        for path in self.checkpoints()?.iter().rev() {
            match read_checkpoint(path) {
                Ok(checkpoint) => {
                    if let Some(error) = cause {
                        edge::note!("warning: {error:#}; using {}", path.display());
                    }
                    return Ok(Some(checkpoint));
                }
                Err(error) => cause = cause.or(Some(error)),
            }
        }
        let damaged = || format!("{} has no whole checkpoint", self.path.display());
        cause.map_or(Ok(None), |error| Err(error).with_context(damaged))
    }

    /// Encoder and head of the newest checkpoint.
    ///
    /// # Errors
    /// If there is no whole checkpoint, or it lacks the head.
    pub fn finetuned(&self, config: &FinetuneConfig) -> anyhow::Result<Finetuned> {
        let shown = self.path.display();
        let checkpoint = self.load()?;
        let none =
            || format!("{shown} has no checkpoint yet: continue it with `host evaluate finetune --resume {shown}`");
        let mut encoder = checkpoint.with_context(none)?.model;
        let mut take =
            |name: &str| encoder.remove(name).with_context(|| format!("the checkpoint in {shown} has no `{name}`"));
        let (weight, bias): (NamedTensor, NamedTensor) = (take("head.weight")?, take("head.bias")?);
        let spec = EncoderSpec { pooling: config.pooling(), hash: encoder_hash(&encoder), ..config.encoder };
        let description = HeadDescription {
            format: head_file::FORMAT,
            encoder: spec.hash,
            pooling: spec.pooling,
            classes: config.classes.clone(),
            keep: config.recipe.keep,
            made_by: format!("host {} evaluate finetune", env!("CARGO_PKG_VERSION")),
            accuracy: self.metrics()?.last().map_or(f64::NAN, |metrics| metrics.test_accuracy),
            sha256: String::new(),
        };
        let head = HeadFile::new(description, weight.data, bias.data).map_err(anyhow::Error::msg);
        let head = head.with_context(|| format!("the head in {shown} is unusable"))?;
        Ok(Finetuned { spec, encoder, head })
    }

    /// Appends a line to `metrics.csv`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_metrics(&self, metrics: &Metrics) -> anyhow::Result<()> {
        let path = self.metrics_path();
        let cannot = || format!("cannot write {}", path.display());
        let fresh = !path.exists();
        let mut file = fs::File::options().create(true).append(true).open(&path).with_context(cannot)?;
        if fresh {
            writeln!(file, "epoch,step,train_loss,test_accuracy,lr").with_context(cannot)?;
        }
        let Metrics { epoch, step, train_loss, test_accuracy, lr } = metrics;
        writeln!(file, "{epoch},{step},{train_loss:.6},{test_accuracy:.6},{lr:.6e}").with_context(cannot)
    }

    /// The lines of `metrics.csv`; a line that a killed process left half-written is passed over.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn metrics(&self) -> anyhow::Result<Vec<Metrics>> {
        let path = self.metrics_path();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let line = |line: &str| {
            let [epoch, step, train_loss, test_accuracy, lr] = line.split(',').collect::<Vec<_>>()[..] else {
                return None;
            };
            Some(Metrics {
                epoch: epoch.parse().ok()?,
                step: step.parse().ok()?,
                train_loss: train_loss.parse().ok()?,
                test_accuracy: test_accuracy.parse().ok()?,
                lr: lr.parse().ok()?,
            })
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Drops the lines of `metrics.csv` about steps after `step`, which a resumed training does again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_metrics_after(&self, step: usize) -> anyhow::Result<()> {
        let kept: Vec<Metrics> = self.metrics()?.into_iter().filter(|metrics| metrics.step <= step).collect();
        match fs::remove_file(self.metrics_path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", self.metrics_path().display()));
            }
            _ => {}
        }
        kept.iter().try_for_each(|metrics| self.write_metrics(metrics))
    }

    fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// Checkpoint folders, oldest first.
    fn checkpoints(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.path.join("checkpoints");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            if entry.file_name().to_string_lossy().starts_with("step-") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn read_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    let damaged = || format!("the checkpoint {} is damaged", path.display());
    let text = fs::read_to_string(path.join("position.toml")).with_context(damaged)?;
    let progressed = toml::from_str(&text).map_err(message).with_context(damaged)?;
    let (model, _) = safetensors::read(&path.join("model.safetensors")).with_context(damaged)?;
    let (optimizer, _) = safetensors::read(&path.join("optimizer.safetensors")).with_context(damaged)?;
    Ok(Checkpoint { model, optimizer, progressed })
}

/// TOML errors span several lines; a person needs the last, which says what is wrong.
fn message(error: toml::de::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", error.message())
}
