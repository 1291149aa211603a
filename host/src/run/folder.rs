//! The folder of a training of either kind: its description, `metrics.csv`, and `checkpoints/`, of which each is
//! written whole and sealed, the newest are kept, and no two processes write at once.

use super::TrainState;
use super::state;
use crate::{
    files,
    tensors::{Tensors, safetensors},
};
use anyhow::{Context as _, bail};
use console::misuse;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The files of a checkpoint beside [`state::FILE`].
const TENSOR_FILES: [&str; 2] = ["model.safetensors", "optimizer.safetensors"];

/// What tells the folders of one kind of training from those of another.
#[derive(Debug)]
pub struct Kind {
    /// What it is a folder of, for messages: `run`.
    pub training: &'static str,
    /// What it is called itself: `run folder`.
    pub folder: &'static str,
    /// The file that describes it; TOML with a field `format`.
    pub file: &'static str,
    /// Version of that file's format.
    pub format: u32,
    /// The command that begins a training.
    pub begin: &'static str,
    /// The command, without the folder, that continues a training.
    pub resume: &'static str,
    /// Sub-folders beside `checkpoints/`.
    pub folders: &'static [&'static str],
}

/// What ends the wish [`FolderError`] to train in a folder; the command line names its option instead.
pub const TAKE_ANOTHER: &str = "take another folder";

/// Why a folder cannot be trained in, or a training in it not go on.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It holds a training with a checkpoint.
    #[error("{0} holds a {training} already: continue it with `{resume} {0}`, or {TAKE_ANOTHER}",
        .path.display(), training = kind.training, resume = kind.resume)]
    Begun {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        kind: &'static Kind,
    },
    /// It holds something that is no fine-tuning.
    #[error("{} holds a pre-training or a model: {TAKE_ANOTHER}", .0.display())]
    Foreign(PathBuf),
    /// It holds a fine-tuning that differs.
    #[error("{} holds a run with another recipe, model or classes: {TAKE_ANOTHER}", .0.display())]
    Different(PathBuf),
    /// The model that the training in it began with has changed.
    #[error("{} is not the model that {} began with: {TAKE_ANOTHER}", model.display(), path.display())]
    OtherModel {
        /// The model.
        model: PathBuf,
        /// The folder.
        path: PathBuf,
    },
    /// The training's numbers are no longer finite.
    #[error("{what} no longer finite at epoch {epoch}, step {step}: {kept}; start again with a smaller blr")]
    Diverged {
        /// What has become so, with its verb.
        what: &'static str,
        /// The epoch under way.
        epoch: usize,
        /// Optimizer steps done.
        step: usize,
        /// The checkpoint that is left.
        kept: String,
    },
}

/// A checkpoint as read from disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// All parameters.
    pub model: Tensors,
    /// The optimizer's state.
    pub optimizer: Tensors,
    /// How far it is.
    pub state: TrainState,
}

/// A training's folder on disk.
#[derive(Debug, Clone)]
pub struct TrainingFolder {
    path: PathBuf,
    kind: &'static Kind,
    /// Held by the process that trains; the system lets go of it however that process ends.
    lock: Option<Arc<fs::File>>,
}

impl TrainingFolder {
    /// Makes a new folder for this process to train in, and writes `description`.
    ///
    /// # Errors
    /// If it holds a training with a checkpoint already, another process trains in it, or it cannot be written.
    pub fn create(path: &Path, kind: &'static Kind, description: &impl Serialize) -> anyhow::Result<Self> {
        let mut folder = Self { path: path.into(), kind, lock: None };
        if path.join(kind.file).exists() && folder.has_checkpoint()? {
            return Err(FolderError::Begun { path: path.into(), kind }.into());
        }
        for name in kind.folders.iter().chain(&["checkpoints"]) {
            let cannot = || format!("cannot write the {} {}", kind.folder, path.display());
            fs::create_dir_all(path.join(name)).with_context(cannot)?;
        }
        folder.lock_for_training()?;
        folder.describe(description)?;
        // Of a training that ended before its first checkpoint.
        folder.forget_metrics_after(0)?;
        Ok(folder)
    }

    /// Opens a folder and reads its description.
    ///
    /// # Errors
    /// If it is none of this kind, or one of another version.
    pub fn open<T: DeserializeOwned>(path: &Path, kind: &'static Kind) -> anyhow::Result<(Self, T)> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let (file, Kind { training, folder, file: name, .. }) = (path.join(kind.file), kind);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(misuse(format!("{} is no {folder}: it has no {name}", path.display())));
            }
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        // TOML errors span several lines; a person needs the last, which says what is wrong.
        let unusable = |error: toml::de::Error| {
            let shown = file.display();
            anyhow::anyhow!("{}", error.message()).context(format!("{shown} is not a usable {training} description"))
        };
        let Version { format } = toml::from_str(&text).map_err(unusable)?;
        if format != kind.format {
            bail!(
                "{} has format {format}, this program reads format {}: use the host version that made it",
                file.display(),
                kind.format
            );
        }
        Ok((Self { path: path.into(), kind, lock: None }, toml::from_str(&text).map_err(unusable)?))
    }

    /// Writes the description.
    ///
    /// # Errors
    /// Those of the file system; a file that was there is then untouched.
    pub fn describe(&self, description: &impl Serialize) -> anyhow::Result<()> {
        let text = toml::to_string(description).context("writing the configuration")?;
        let file = self.path.join(self.kind.file);
        files::write_file(&file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Claims the folder to go on in, and records the description if it differs from the `recorded` one.
    ///
    /// # Errors
    /// If another process trains in it, or it cannot be written.
    pub fn go_on<T: Serialize + PartialEq>(&mut self, recorded: &T, description: &T) -> anyhow::Result<()> {
        self.lock_for_training()?;
        if recorded != description { self.describe(description) } else { Ok(()) }
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
                return Err(misuse(message));
            }
            // Some network file systems have no locks.
            Err(fs::TryLockError::Error(error)) => {
                console::note!("warning: {} cannot be locked: {error}", path.display())
            }
            Ok(()) => self.lock = Some(Arc::new(file)),
        }
        for name in self.kind.folders.iter().chain(&["", "checkpoints"]) {
            let folder = self.path.join(name);
            files::recover(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a checkpoint and drops all but the newest `keep`. Returns its folder.
    ///
    /// # Errors
    /// Those of the file system; earlier checkpoints are then untouched.
    pub fn save(
        &self,
        model: &Tensors,
        optimizer: &Tensors,
        state: TrainState,
        keep: usize,
    ) -> anyhow::Result<PathBuf> {
        let path = self.path.join("checkpoints").join(format!("step-{:08}", state.step));
        let cannot = || {
            let (path, shown, resume) = (path.display(), self.path.display(), self.kind.resume);
            format!(
                "cannot write the checkpoint {path}; those before it are kept: make room, or make the folder \
                 writable, then `{resume} {shown}`"
            )
        };
        files::write_folder(&path, |folder| -> anyhow::Result<()> {
            for (name, tensors) in TENSOR_FILES.into_iter().zip([model, optimizer]) {
                safetensors::write(&folder.join(name), tensors, Default::default())?;
            }
            state::seal(folder, &state, &TENSOR_FILES)
        })
        .with_context(cannot)?;
        for old in self.checkpoints()?.iter().rev().skip(keep.max(1)) {
            files::remove_folder(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(path)
    }

    /// The newest whole checkpoint; `None` if there is none at all. A damaged newer one is passed over with a warning
    /// on standard error.
    ///
    /// # Errors
    /// If all are damaged.
    pub fn newest(&self) -> anyhow::Result<Option<Checkpoint>> {
        let mut cause = None;
        for path in self.checkpoints()?.iter().rev() {
            match read_checkpoint(path) {
                Ok(checkpoint) => {
                    if let Some(error) = cause {
                        console::note!("warning: {error:#}; using {}", path.display());
                    }
                    return Ok(Some(checkpoint));
                }
                Err(error) => cause = cause.or(Some(error)),
            }
        }
        let damaged = || format!("{} has no whole checkpoint", self.path.display());
        cause.map_or(Ok(None), |error| Err(error).with_context(damaged))
    }

    /// Gives checkpoints after `step`, which [`Self::newest`] found damaged, names under which they are in nobody's
    /// way.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_aside_after(&self, step: usize) -> anyhow::Result<()> {
        for path in self.checkpoints()? {
            if let Some(name) = step_of(&path).filter(|found| *found > step).and_then(|_| path.file_name()) {
                let aside = path.with_file_name(format!("damaged-{}", name.to_string_lossy()));
                let cannot = || format!("cannot rename {}", path.display());
                if aside.exists() {
                    files::remove_folder(&aside).with_context(cannot)?;
                }
                fs::rename(&path, &aside).with_context(cannot)?;
                console::note!("warning: the damaged checkpoint is now {}", aside.display());
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

    /// Refuses parameters that would take the place of a good checkpoint without being one: a loss tells of the
    /// parameters before the last step, which may have ruined them.
    ///
    /// # Errors
    /// If one is no longer finite.
    pub fn check_finite(&self, model: &Tensors, state: &TrainState) -> anyhow::Result<()> {
        if model.values().flat_map(|tensor| &tensor.data).all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(self.diverged("a parameter is", state).into())
    }

    /// What ends a training whose numbers are no longer finite: names the checkpoint that is left. `what`: what has
    /// become so, with its verb.
    #[must_use]
    pub fn diverged(&self, what: &'static str, state: &TrainState) -> FolderError {
        let TrainState { epoch, step, .. } = *state;
        let kept = match self.checkpoints().map(|mut all| all.pop()) {
            Ok(Some(path)) => format!("the last good checkpoint is {}", path.display()),
            Ok(None) => format!("{} has no checkpoint yet", self.path.display()),
            Err(error) => format!("{error:#}"),
        };
        FolderError::Diverged { what, epoch, step, kept }
    }

    /// Adds `line`, which has no line break, to `metrics.csv`, whose columns are `columns`, the first the number of
    /// whole epochs done.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_metrics(&self, columns: &str, line: &str) -> anyhow::Result<()> {
        let path = self.path.join("metrics.csv");
        let cannot = || {
            let (path, shown, resume) = (path.display(), self.path.display(), self.kind.resume);
            format!("cannot write {path}; the checkpoints are kept: make room, then `{resume} {shown}`")
        };
        let header = if path.exists() { String::new() } else { format!("{columns}\n") };
        let mut file = fs::File::options().create(true).append(true).open(&path).with_context(cannot)?;
        // In one piece, and on the disk before a checkpoint that lies behind it.
        let text = format!("{header}{line}\n");
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).with_context(cannot)
    }

    /// Drops the lines of `metrics.csv` about epochs after `epoch`, which a resumed training does again, and what a
    /// killed process left of a line.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_metrics_after(&self, epoch: usize) -> anyhow::Result<()> {
        let path = self.path.join("metrics.csv");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let done = |line: &&str| match line.split_once(',') {
            Some((first, _)) => first.parse().is_ok_and(|e: usize| e <= epoch) || first == "epoch",
            None => false,
        };
        let kept: String = text.lines().filter(done).map(|line| format!("{line}\n")).collect();
        if kept != text {
            files::write_file(&path, kept.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
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
            paths.push(entry.with_context(|| format!("cannot read {}", folder.display()))?.path());
        }
        paths.retain(|path| step_of(path).is_some());
        paths.sort_by_key(|path| step_of(path));
        Ok(paths)
    }
}

/// The step of a folder `step-NNNNNNNN`.
fn step_of(checkpoint: &Path) -> Option<usize> {
    checkpoint.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

fn read_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    let damaged = || format!("the checkpoint {} is damaged", path.display());
    let state = state::open(path, &TENSOR_FILES).with_context(damaged)?;
    let [model, optimizer] = TENSOR_FILES.map(|name| safetensors::read(&path.join(name)).with_context(damaged));
    let ((model, _), (optimizer, _)) = (model?, optimizer?);
    Ok(Checkpoint { model, optimizer, state })
}
