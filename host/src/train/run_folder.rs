//! A run folder: `run.toml`, `metrics.csv`, `checkpoints/`, `pictures/`; complete and movable.

use super::config::TrainConfig;
use crate::{
    checkpoint::{Tensors, atomic, encoder_hash_with, safetensors},
    model::{MaeConfig, weights::WeightsError},
};
use anyhow::{Context as _, bail};
use common::{model::EncoderSpec, normalize::PixelStats};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Version of the folder's format.
pub const FORMAT: u32 = 1;
/// Checkpoints that are kept.
const KEEP: usize = 2;

/// Where the images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataSource {
    /// The embedded generator.
    Synthetic,
    /// A folder of images.
    Folder(PathBuf),
}

/// The whole configuration of a run, as `run.toml` holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that made the run.
    pub host_version: String,
    /// Device, as a person reads it.
    pub device: String,
    /// Images.
    pub data: DataSource,
    /// Normalisation of pixels.
    pub pixels: PixelStats,
    /// Geometry.
    pub model: MaeConfig,
    /// Recipe.
    pub train: TrainConfig,
    /// Where the parameters come from, if not from a training of this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Origin>,
}

/// The checkpoint of another program that `host import` made a run of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Whose names it has: `official` or `huggingface`.
    pub names: String,
    /// Whether it has a decoder.
    pub decoder: bool,
}

impl RunConfig {
    /// Adds to an error of loading all parameters, if it is so, that there never was a decoder.
    #[must_use]
    pub fn explain(&self, error: WeightsError) -> anyhow::Error {
        match &self.imported {
            Some(Origin { file, decoder: false, .. }) => anyhow::anyhow!(
                "{error}: the run was imported from {}, which holds an encoder only; evaluate, features and export \
                 do without a decoder",
                file.display()
            ),
            _ => error.into(),
        }
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whole epochs done.
    pub epoch: usize,
    /// Iterations done in the epoch after them.
    pub iteration: usize,
    /// Optimizer steps done in all.
    pub step: usize,
}

/// A run folder on disk.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

/// A checkpoint as read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// All parameters.
    pub model: Tensors,
    /// The optimizer's state.
    pub optimizer: Tensors,
    /// How far it is.
    pub position: Position,
}

impl RunFolder {
    /// Makes a new run folder and writes `run.toml`.
    ///
    /// # Errors
    /// If the folder holds a run with a checkpoint already, or cannot be written.
    pub fn create(path: &Path, config: &RunConfig) -> anyhow::Result<Self> {
        let run = Self { path: path.into() };
        let used =
            path.join("run.toml").exists() && path.join("checkpoints").exists() && !run.checkpoints()?.is_empty();
        if used {
            let shown = path.display();
            return Err(edge::exit::misuse(format!(
                "{shown} holds a run already: continue it with `host pretrain --resume {shown}`, or name another --out"
            )));
        }
        let text = toml::to_string(config).context("writing the configuration")?;
        let cannot = || format!("cannot write the run folder {}", path.display());
        fs::create_dir_all(path.join("pictures")).with_context(cannot)?;
        fs::create_dir_all(path.join("checkpoints")).with_context(cannot)?;
        atomic::write_file(&path.join("run.toml"), text.as_bytes()).with_context(cannot)?;
        // Of a run that ended before its first checkpoint.
        run.forget_metrics_after(0)?;
        Ok(run)
    }

    /// Opens a run folder.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn open(path: &Path) -> anyhow::Result<(Self, RunConfig)> {
        let file = path.join("run.toml");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let shown = path.display();
                return Err(edge::exit::misuse(format!("{shown} is no run folder: it has no run.toml")));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unusable = || format!("{} is not a usable run description", file.display());
        let Version { format } = toml::from_str(&text).map_err(first_line).with_context(unusable)?;
        if format != FORMAT {
            bail!(
                "{} has format {format}, this program reads format {FORMAT}: use the host version that made it",
                file.display()
            );
        }
        let config: RunConfig = toml::from_str(&text).map_err(first_line).with_context(unusable)?;
        config.model.validate().with_context(unusable)?;
        Ok((Self { path: path.into() }, config))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of pictures.
    #[must_use]
    pub fn pictures(&self) -> PathBuf {
        self.path.join("pictures")
    }

    /// Writes a checkpoint and drops all but the newest two. Returns its folder.
    ///
    /// # Errors
    /// Those of the file system; earlier checkpoints are then untouched.
    pub fn save(&self, model: &Tensors, optimizer: &Tensors, position: Position) -> anyhow::Result<PathBuf> {
        let path = self.path.join("checkpoints").join(format!("step-{:08}", position.step));
        atomic::write_folder(&path, |folder| -> anyhow::Result<()> {
            safetensors::write(&folder.join("model.safetensors"), model, Default::default())?;
            safetensors::write(&folder.join("optimizer.safetensors"), optimizer, Default::default())?;
            fs::write(folder.join("position.toml"), toml::to_string(&position)?)?;
            Ok(())
        })
        .with_context(|| format!("cannot write the checkpoint {}", path.display()))?;
        for old in self.checkpoints()?.iter().rev().skip(KEEP) {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(path)
    }

    /// Drops the lines of `metrics.csv` about steps after `step`, which a resumed training does again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_metrics_after(&self, step: usize) -> anyhow::Result<()> {
        let path = self.path.join("metrics.csv");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let done = |line: &&str| line.split(',').nth(1).and_then(|s| s.parse().ok()).is_none_or(|s: usize| s <= step);
        let kept: String = text.lines().filter(done).map(|line| format!("{line}\n")).collect();
        if kept != text {
            atomic::write_file(&path, kept.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The newest whole checkpoint; a damaged newer one is passed over with a warning on standard error.
    ///
    /// # Errors
    /// If there is none.
    pub fn load(&self) -> anyhow::Result<Checkpoint> {
        let mut cause = None;
        for path in self.checkpoints()?.iter().rev() {
            match read_checkpoint(path) {
                Ok(checkpoint) => {
                    if let Some(error) = cause {
                        edge::note!("warning: {error:#}; using {}", path.display());
                    }
                    return Ok(checkpoint);
                }
                Err(error) => cause = cause.or(Some(error)),
            }
        }
        let shown = self.path.display();
        Err(match cause {
            Some(error) => error.context(format!("{shown} has no whole checkpoint")),
            None => anyhow::anyhow!("{shown} has no checkpoint yet: start again with `host pretrain`"),
        })
    }

    /// The encoder of the newest checkpoint, with its description.
    ///
    /// # Errors
    /// If there is no whole checkpoint.
    pub fn load_encoder(&self, config: &RunConfig) -> anyhow::Result<(EncoderSpec, Tensors)> {
        let Checkpoint { model, .. } = self.load()?;
        let hash = encoder_hash_with(&model, config.model.position);
        Ok((config.model.encoder_spec(config.pixels, hash), model))
    }

    /// Checkpoint folders, oldest first.
    fn checkpoints(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.path.join("checkpoints");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
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

/// The encoder of a run folder or of an exported model folder.
///
/// # Errors
/// If `path` is neither, or damaged.
pub fn load_encoder(path: &Path) -> anyhow::Result<(EncoderSpec, Tensors)> {
    if path.join("model.toml").exists() {
        return Ok(crate::export::read_back(path)?);
    }
    if !path.join("run.toml").exists() {
        return Err(edge::exit::misuse(format!(
            "{} is neither a run folder (run.toml) nor a model folder (model.toml)",
            path.display()
        )));
    }
    let (run, config) = RunFolder::open(path)?;
    run.load_encoder(&config)
}

fn read_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    let damaged = || format!("the checkpoint {} is damaged", path.display());
    let text = fs::read_to_string(path.join("position.toml")).with_context(damaged)?;
    let position = toml::from_str(&text).map_err(first_line).with_context(damaged)?;
    let (model, _) = safetensors::read(&path.join("model.safetensors")).with_context(damaged)?;
    let (optimizer, _) = safetensors::read(&path.join("optimizer.safetensors")).with_context(damaged)?;
    Ok(Checkpoint { model, optimizer, position })
}

/// TOML errors span several lines; a person needs the last, which says what is wrong.
fn first_line(error: toml::de::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", error.message())
}
