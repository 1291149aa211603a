//! A run folder: `run.toml`, `metrics.csv`, `checkpoints/`, `pictures/`; complete and movable.

pub mod finetune;
pub mod folder;
pub mod policy;
pub mod recipe;
pub mod state;

pub use self::{folder::Checkpoint, state::TrainState};
use self::{
    folder::{Kind, TrainingFolder},
    policy::CheckpointPolicy,
};
use crate::{
    data::{
        dataset::{Dataset, DatasetError},
        shards::{kinds::names_shards, pattern::shown},
    },
    device::precision::Precision,
    files,
    model::{MaeConfig, weights::WeightsError},
    preset::Preset,
    preset::TrainConfig,
    tensors::{Tensors, encoder_hash_with},
};
use anyhow::Context as _;
use common::{
    model::{EncoderSpec, ModelHash, Pooling},
    normalize::PixelStats,
};
use edge::head_file::{FILE_NAME, HeadFile};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Version of the folder's format.
pub const FORMAT: u32 = 1;
static KIND: Kind = Kind {
    training: "run",
    folder: "run folder",
    file: "run.toml",
    format: FORMAT,
    begin: "host pretrain",
    resume: "host pretrain --resume",
    folders: &["pictures"],
};

/// Where the images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataSource {
    /// The embedded generator.
    Synthetic,
    /// A folder of images.
    Folder(PathBuf),
    /// Paths and patterns of shards.
    Shards(Vec<PathBuf>),
}

impl DataSource {
    /// What paths name: shards if all end as shards do, else a folder, which is one path.
    ///
    /// # Errors
    /// If several are named that are not all shards.
    pub fn named(paths: &[PathBuf]) -> Result<Self, DatasetError> {
        match (paths, paths.iter().find(|path| !names_shards(path))) {
            ([], _) => Ok(Self::Synthetic),
            (_, None) => Ok(Self::Shards(paths.to_vec())),
            ([folder], Some(_)) => Ok(Self::Folder(folder.clone())),
            (_, Some(other)) => Err(DatasetError::Several(other.clone())),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synthetic => f.write_str("the embedded generator"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Shards(paths) => f.write_str(&shown(paths)),
        }
    }
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
    /// Whose names it has: `official`, `huggingface`, `openmmlab` or `torchvision`.
    pub names: String,
    /// Whether it has a decoder.
    pub decoder: bool,
    /// The feature that it is read with; the mean, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
}

impl RunConfig {
    /// A new run of `preset`: the usual pixel statistics and checkpoints, fp32. `device`: as a person reads it.
    #[must_use]
    pub fn new(preset: Preset, data: DataSource, device: String) -> Self {
        Self {
            format: FORMAT,
            host_version: env!("CARGO_PKG_VERSION").into(),
            device,
            precision: Precision::default(),
            data,
            pixels: PixelStats::usual(preset.model.channels),
            model: preset.model,
            train: preset.train,
            checkpoints: CheckpointPolicy::default(),
            imported: None,
        }
    }

    /// Model and recipe.
    #[must_use]
    pub fn preset(&self) -> Preset {
        Preset { description: String::new(), model: self.model.clone(), train: self.train.clone(), paper: None }
    }

    /// The description of the encoder, with the pooling that an imported one is read with. `hash`: of its parameters.
    #[must_use]
    pub fn encoder_spec(&self, hash: ModelHash) -> EncoderSpec {
        let mut spec = self.model.encoder_spec(self.pixels, hash);
        spec.pooling = self.imported.as_ref().and_then(|origin| origin.pooling).unwrap_or(spec.pooling);
        spec
    }

    /// The images.
    ///
    /// # Errors
    /// If the folder is missing, empty or damaged, or the embedded generator lacks the channels.
    pub fn open_data(&self) -> Result<Dataset, DatasetError> {
        let model = &self.model;
        match &self.data {
            DataSource::Folder(folder) => Dataset::folder(folder, model.channels),
            DataSource::Shards(paths) => Dataset::shards(paths, model.channels),
            DataSource::Synthetic if model.channels == 3 => {
                let train = &self.train;
                Ok(Dataset::synthetic(train.seed, train.synthetic_images, model.image_height, model.image_width))
            }
            DataSource::Synthetic => Err(DatasetError::OnlyRgb),
        }
    }

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
    folder: TrainingFolder,
}

impl RunFolder {
    /// Makes a new run folder for this process to train in, and writes `run.toml`.
    ///
    /// # Errors
    /// If the folder holds a run with a checkpoint already, another process trains in it, or it cannot be written.
    pub fn create(path: &Path, config: &RunConfig) -> anyhow::Result<Self> {
        Ok(Self { folder: TrainingFolder::create(path, &KIND, config)? })
    }

    /// Opens a run folder.
    ///
    /// # Errors
    /// If it is none, or one of another version.
    pub fn open(path: &Path) -> anyhow::Result<(Self, RunConfig)> {
        let (folder, config): (_, RunConfig) = TrainingFolder::open(path, &KIND)?;
        let impossible = || format!("{} describes an impossible model", path.join(KIND.file).display());
        config.model.validate().with_context(impossible)?;
        Ok((Self { folder }, config))
    }

    /// A run folder to go on in; what differs in `config` is recorded.
    ///
    /// # Errors
    /// If it is none, another process trains in it, or it cannot be written.
    pub fn reopen(path: &Path, config: &RunConfig) -> anyhow::Result<Self> {
        let (mut run, recorded) = Self::open(path)?;
        run.folder.go_on(&recorded, config)?;
        Ok(run)
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

    /// The folder of pictures.
    #[must_use]
    pub fn pictures(&self) -> PathBuf {
        self.path().join("pictures")
    }

    /// The newest whole checkpoint; a damaged newer one is passed over with a warning on standard error.
    ///
    /// # Errors
    /// If there is none.
    pub fn load(&self) -> anyhow::Result<Checkpoint> {
        let none = || format!("{} has no checkpoint yet: start again with `{}`", self.path().display(), KIND.begin);
        self.folder.newest()?.with_context(none)
    }

    /// The encoder of the newest checkpoint, with its description.
    ///
    /// # Errors
    /// If there is no whole checkpoint.
    pub fn load_encoder(&self, config: &RunConfig) -> anyhow::Result<(EncoderSpec, Tensors)> {
        let Checkpoint { model, .. } = self.load()?;
        let hash = encoder_hash_with(&model, config.model.position);
        Ok((config.encoder_spec(hash), model))
    }

    /// The head of an imported classifier, if this is one. `spec`: its encoder's.
    ///
    /// # Errors
    /// If it is damaged, or belongs to another encoder.
    pub fn head(&self, spec: &EncoderSpec) -> anyhow::Result<Option<HeadFile>> {
        let path = self.path().join(FILE_NAME);
        if path.exists() { Ok(Some(HeadFile::open(&path, spec)?)) } else { Ok(None) }
    }

    /// Writes the head of an imported classifier.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_head(&self, head: &HeadFile) -> anyhow::Result<()> {
        let path = self.path().join(FILE_NAME);
        files::write_file(&path, &head.to_bytes()?).with_context(|| format!("cannot write {}", path.display()))
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
    if path.join(finetune::FILE).exists() {
        let (folder, config) = finetune::FinetuneFolder::open(path)?;
        let finetuned = folder.finetuned(&config)?;
        return Ok((finetuned.spec, finetuned.encoder));
    }
    if !path.join("run.toml").exists() {
        return Err(console::misuse(format!(
            "{} is neither a run folder (run.toml) nor a model folder (model.toml)",
            path.display()
        )));
    }
    let (run, config) = RunFolder::open(path)?;
    run.load_encoder(&config)
}
