//! A run folder: `run.toml`, `metrics.csv`, `checkpoints/`, `pictures/`; complete and movable.

pub use super::position::Position;
use super::{config::TrainConfig, policy::CheckpointPolicy, position};
use crate::{
    checkpoint::{Tensors, atomic, encoder_hash_with, safetensors},
    device::precision::Precision,
    model::{MaeConfig, weights::WeightsError},
};
use anyhow::{Context as _, bail};
use common::{model::EncoderSpec, normalize::PixelStats};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Version of the folder's format.
pub const FORMAT: u32 = 1;
/// The files of a checkpoint beside [`position::FILE`].
const TENSOR_FILES: [&str; 2] = ["model.safetensors", "optimizer.safetensors"];

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
    /// Arithmetic; runs of earlier versions are fp32.
    #[serde(default)]
    pub precision: Precision,
    /// Images.
    pub data: DataSource,
    /// Normalisation of pixels.
    pub pixels: PixelStats,
    /// Geometry.
    pub model: MaeConfig,
    /// Recipe.
    pub train: TrainConfig,
    /// When it is saved.
    #[serde(default)]
    pub checkpoints: CheckpointPolicy,
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

/// A run folder on disk.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Held by the process that trains; the system lets go of it however that process ends.
    lock: Option<Arc<fs::File>>,
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
    /// Makes a new run folder for this process to train in, and writes `run.toml`.
    ///
    /// # Errors
    /// If the folder holds a run with a checkpoint already, another process trains in it, or it cannot be written.
    pub fn create(path: &Path, config: &RunConfig) -> anyhow::Result<Self> {
        let mut run = Self { path: path.into(), lock: None };
        let used =
            path.join("run.toml").exists() && path.join("checkpoints").exists() && !run.checkpoints()?.is_empty();
        if used {
            let shown = path.display();
            return Err(edge::exit::misuse(format!(
                "{shown} holds a run already: continue it with `host pretrain --resume {shown}`, or name another --out"
            )));
        }
        let cannot = || format!("cannot write the run folder {}", path.display());
        fs::create_dir_all(path.join("pictures")).with_context(cannot)?;
        fs::create_dir_all(path.join("checkpoints")).with_context(cannot)?;
        run.lock_for_training()?;
        run.write_config(config)?;
        // Of a run that ended before its first checkpoint.
        run.forget_metrics_after(0)?;
        Ok(run)
    }

    /// Writes `run.toml`.
    ///
    /// # Errors
    /// Those of the file system; a `run.toml` that was there is then untouched.
    pub fn write_config(&self, config: &RunConfig) -> anyhow::Result<()> {
        let (text, file) =
            (toml::to_string(config).context("writing the configuration")?, self.path.join("run.toml"));
        atomic::write_file(&file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Claims the folder for this process, until it ends, and clears it of what a killed one left.
    ///
    /// # Errors
    /// If another process trains in it, or it cannot be written.
    pub fn lock_for_training(&mut self) -> anyhow::Result<()> {
        let path = self.path.join("run.lock");
        let cannot = || format!("cannot write {}", path.display());
        let file = fs::File::options().create(true).append(true).open(&path).with_context(cannot)?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                let shown = self.path.display();
                let message = format!("another process trains in {shown}: wait for its end, or name another folder");
                return Err(edge::exit::misuse(message));
            }
            // Some network file systems have no locks.
            Err(fs::TryLockError::Error(error)) => {
                edge::note!("warning: {} cannot be locked: {error}", path.display())
            }
            Ok(()) => self.lock = Some(Arc::new(file)),
        }
        for folder in [self.path.clone(), self.path.join("checkpoints"), self.pictures()] {
            atomic::recover(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        Ok(())
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
        Ok((Self { path: path.into(), lock: None }, config))
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

    /// Writes a checkpoint and drops all but the newest `keep`. Returns its folder.
    ///
    /// # Errors
    /// Those of the file system; earlier checkpoints are then untouched.
    pub fn save(
        &self,
        model: &Tensors,
        optimizer: &Tensors,
        position: Position,
        keep: usize,
    ) -> anyhow::Result<PathBuf> {
        let path = self.path.join("checkpoints").join(format!("step-{:08}", position.step));
        atomic::write_folder(&path, |folder| -> anyhow::Result<()> {
            for (name, tensors) in TENSOR_FILES.into_iter().zip([model, optimizer]) {
                safetensors::write(&folder.join(name), tensors, Default::default())?;
            }
            position::seal(folder, &position, &TENSOR_FILES)
        })
        .with_context(|| {
            let shown = self.path.display();
            format!(
                "cannot write the checkpoint {}; those before it are kept: make room, or make the folder writable, \
                 then `host pretrain --resume {shown}`",
                path.display()
            )
        })?;
        for old in self.checkpoints()?.iter().rev().skip(keep.max(1)) {
            atomic::remove_folder(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(path)
    }

    /// Drops the lines of `metrics.csv` about epochs after `epoch`, which a resumed training does again, and what a
    /// killed process left of a line.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_metrics_after(&self, epoch: usize) -> anyhow::Result<()> {
        let path = self.path.join("metrics.csv");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let done = |line: &&str| match line.split_once(',') {
            Some((first, _)) => first.parse().is_ok_and(|e: usize| e <= epoch) || first == "epoch",
            None => false,
        };
        let kept: String = text.lines().filter(done).map(|line| format!("{line}\n")).collect();
        if kept != text {
            atomic::write_file(&path, kept.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Gives checkpoints after `step`, which [`Self::load`] found damaged, names under which they are in nobody's way.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_aside_after(&self, step: usize) -> anyhow::Result<()> {
        for path in self.checkpoints()? {
            if let Some(name) = step_of(&path).filter(|found| *found > step).and_then(|_| path.file_name()) {
                let aside = path.with_file_name(format!("damaged-{}", name.to_string_lossy()));
                let cannot = || format!("cannot rename {}", path.display());
                if aside.exists() {
                    atomic::remove_folder(&aside).with_context(cannot)?;
                }
                fs::rename(&path, &aside).with_context(cannot)?;
                edge::note!("warning: the damaged checkpoint is now {}", aside.display());
            }
        }
        Ok(())
    }

    /// Whether there is a checkpoint, whole or not.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn has_checkpoint(&self) -> anyhow::Result<bool> {
        Ok(!self.checkpoints()?.is_empty())
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

    /// The folder of the newest checkpoint, if there is one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn newest_checkpoint(&self) -> anyhow::Result<Option<PathBuf>> {
        Ok(self.checkpoints()?.pop())
    }

    /// Checkpoint folders, oldest first.
    fn checkpoints(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.path.join("checkpoints");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.with_context(|| format!("cannot read {}", folder.display()))?.path());
        }
        paths.retain(|path| step_of(path).is_some());
        paths.sort_by_key(|path| step_of(path));
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
    if path.join(super::finetune::folder::FILE).exists() {
        let (folder, config) = super::finetune::folder::FinetuneFolder::open(path)?;
        let finetuned = folder.finetuned(&config)?;
        return Ok((finetuned.spec, finetuned.encoder));
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

/// The step of a folder `step-NNNNNNNN`.
fn step_of(checkpoint: &Path) -> Option<usize> {
    checkpoint.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

fn read_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    let damaged = || format!("the checkpoint {} is damaged", path.display());
    let position = position::open(path, &TENSOR_FILES).with_context(damaged)?;
    let [model, optimizer] = TENSOR_FILES.map(|name| safetensors::read(&path.join(name)).with_context(damaged));
    let ((model, _), (optimizer, _)) = (model?, optimizer?);
    Ok(Checkpoint { model, optimizer, position })
}

/// TOML errors span several lines; a person needs the last, which says what is wrong.
fn first_line(error: toml::de::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", error.message())
}
