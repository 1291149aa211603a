//! One run of fine-tuning, from its images to what it came to: what `host evaluate finetune` and `partial` share.

use super::task::{Finetuning, Verdicts};
use crate::{
    data::{
        classes::{ClassError, ClassNumbers},
        dataset::{Dataset, DatasetError},
        labelled::Labelled,
    },
    device::Chosen,
    run::{
        finetune::{FinetuneFolder, Metrics},
        folder::FolderError,
        load_encoder,
        policy::CheckpointPolicy,
        recipe::{FORMAT, FinetuneConfig, FinetuneError, Recipe},
    },
    tensors::Tensors,
    train::engine::Outcome,
};
use anyhow::Context as _;
use common::model::EncoderSpec;
use console::misuse;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Where model and images lie.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The run or model folder.
    pub model: PathBuf,
    /// Training images, one folder a class.
    pub train: PathBuf,
    /// Test images, one folder a class.
    pub test: PathBuf,
}

/// What may be another when a run is continued.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Training images, if they have moved.
    pub train: Option<PathBuf>,
    /// Test images, if they have moved.
    pub test: Option<PathBuf>,
}

/// Training and test images with their classes' names.
pub struct Images {
    /// Training images.
    pub train: Labelled,
    /// Test images.
    pub test: Labelled,
    /// Names of the classes, in alphabetical order.
    pub classes: Vec<String>,
}

/// A run that is ready to train.
pub struct Run {
    /// Its folder, which this process holds.
    pub folder: FinetuneFolder,
    /// As the folder describes it.
    pub config: FinetuneConfig,
    /// Images.
    pub images: Images,
    /// The parameters to start from, unless they are random or a checkpoint's.
    pub encoder: Option<Tensors>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Found {
    /// How it ended.
    pub outcome: Outcome,
    /// The line of the best epoch, the first of equals; none before the first.
    pub best: Option<Metrics>,
    /// The line of the last epoch.
    pub last: Option<Metrics>,
    /// What the finished classifier says about the test images.
    pub verdicts: Option<Verdicts>,
}

/// The configuration of a new run, its images, and the encoder to start from, if any. `recipe`: that for the encoder.
///
/// # Errors
/// If the recipe is impossible, or a folder unusable.
pub fn configure(
    Folders { model, train, test }: Folders,
    recipe: impl FnOnce(&EncoderSpec) -> anyhow::Result<Recipe>,
    checkpoints: CheckpointPolicy,
    device: &Chosen,
) -> anyhow::Result<(FinetuneConfig, Images, Option<Tensors>)> {
    let (spec, tensors) = load_encoder(&model)?;
    let recipe = recipe(&spec)?;
    let images = images(&train, &test, &spec, &recipe)?;
    let encoder = (!recipe.from_scratch).then_some(tensors);
    let config = FinetuneConfig {
        format: FORMAT,
        host_version: env!("CARGO_PKG_VERSION").into(),
        device: device.description.clone(),
        model,
        train,
        test,
        classes: images.classes.clone(),
        recipe,
        checkpoints,
        encoder: spec,
    };
    Ok((config, images, encoder))
}

impl Run {
    /// The run in the folder `path`, from its newest checkpoint or, where it was stopped before the first, from the
    /// start. Its images may have moved. `checkpoints`: the policy for the one that it had.
    ///
    /// # Errors
    /// If a folder is unusable or has other classes, or the model to start from has changed.
    pub fn resume(
        path: &Path,
        changes: Changes,
        checkpoints: impl FnOnce(CheckpointPolicy) -> anyhow::Result<CheckpointPolicy>,
    ) -> anyhow::Result<Self> {
        let (folder, mut config) = FinetuneFolder::open(path)?;
        config.train = changes.train.unwrap_or(config.train);
        config.test = changes.test.unwrap_or(config.test);
        config.checkpoints = checkpoints(config.checkpoints)?;
        let images = images(&config.train, &config.test, &config.encoder, &config.recipe)?;
        if images.classes != config.classes {
            let (found, known) = (images.classes.join(", "), config.classes.join(", "));
            let folder = config.train.display();
            return Err(misuse(format!("{folder} has the classes {found}, but this run began with {known}")));
        }
        let begun = folder.training().has_checkpoint()?;
        let encoder = if begun || config.recipe.from_scratch {
            None
        } else {
            let (spec, tensors) = load_encoder(&config.model)?;
            if spec != config.encoder {
                return Err(FolderError::OtherModel { model: config.model, path: path.into() }.into());
            }
            Some(tensors)
        };
        let folder = FinetuneFolder::reopen(path, &config)?;
        if !begun {
            console::note!("warning: the run has no checkpoint yet: it begins anew");
        }
        Ok(Self { folder, config, images, encoder })
    }

    /// Trains to the end or until `stop`; with `judge` the finished classifier's verdicts are returned.
    ///
    /// # Errors
    /// As [`Engine::run`](crate::train::engine::Engine::run).
    pub fn train(self, device: &Chosen, stop: &AtomicBool, judge: bool) -> anyhow::Result<Found> {
        let Self { folder, config, images: Images { train, test, .. }, encoder } = self;
        let mut engine = Finetuning::open(&folder, config, (train, test), encoder.as_ref(), &device.device)?;
        let outcome = engine.run(None, stop)?;
        let metrics = folder.metrics()?;
        let better = |best: Option<Metrics>, line: &Metrics| match best {
            Some(best) if best.test_accuracy >= line.test_accuracy => Some(best),
            _ => Some(*line),
        };
        let best = metrics.iter().fold(None, better);
        let judged = (judge && outcome == Outcome::Finished).then(|| engine.task.verdicts());
        let found = Found { outcome, best, last: metrics.last().copied(), verdicts: judged.transpose()? };
        if found.outcome == Outcome::Finished {
            found.last.context("metrics.csv has lost its lines")?;
        }
        Ok(found)
    }
}

/// Reads the names of the images in both folders.
fn images(train: &Path, test: &Path, spec: &EncoderSpec, recipe: &Recipe) -> anyhow::Result<Images> {
    let channels = spec.channels as usize;
    let open = |folder: &Path| -> anyhow::Result<Arc<Dataset>> {
        let dataset = Dataset::folder(folder, channels).map_err(|error| match error {
            DatasetError::Folder(error) => ClassError::Folder(error).into(),
            other => anyhow::Error::from(other),
        })?;
        if dataset.classes().is_empty() {
            return Err(ClassError::Outside(folder.into()).into());
        }
        Ok(Arc::new(dataset))
    };
    let (train_set, test_set) = (open(train)?, open(test)?);
    let classes = train_set.classes().to_vec();
    let numbers = ClassNumbers::new(&classes, train, test);
    let train = Labelled::new(train_set.clone(), classes.len(), |class| numbers.of(class), recipe.limit)?;
    let test = Labelled::new(test_set, classes.len(), |class| numbers.of(class), recipe.test_limit)?;
    let (images, batch) = (train.len(), recipe.batch_size);
    if images < batch {
        return Err(FinetuneError::FewImages { images, batch }.into());
    }
    Ok(Images { train, test, classes })
}
