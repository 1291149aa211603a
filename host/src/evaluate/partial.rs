//! Fine-tuning of the last blocks, the rest frozen (paper section 4.3): a run for each number of blocks.

use crate::{
    device::Chosen,
    run::{
        finetune::{FILE, FinetuneFolder},
        folder::FolderError,
        policy::{CheckpointPolicy, PolicyError},
        recipe::{FinetuneConfig, FinetuneError, Part, Recipe},
    },
    tensors::Tensors,
    train::{
        engine::Outcome,
        finetune::tuning::{Folders, Found, Images, Run, configure},
    },
};
use common::model::EncoderSpec;
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// Last blocks to train, unless told (figure 9 of the paper).
const USUAL: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];

/// What is trained.
pub struct Request<'a> {
    /// Model and images.
    pub folders: Folders,
    /// The recipe for an encoder of which this part is trained.
    pub recipe: &'a dyn Fn(&EncoderSpec, Part) -> Result<Recipe, FinetuneError>,
    /// When runs are saved, by the policy that they had.
    pub checkpoints: &'a dyn Fn(CheckpointPolicy) -> Result<CheckpointPolicy, PolicyError>,
    /// How many last blocks to train, a run each; those of 0, 0.5, 1, 2 and 4 that the model has without it.
    pub blocks: Option<Vec<f64>>,
    /// The folder for the runs; those that are there already are continued.
    pub out: PathBuf,
}

/// Runs that are possible.
pub struct Partial<'a> {
    request: Request<'a>,
    device: &'a Chosen,
    blocks: Vec<f64>,
    /// The configuration of the run that trains the head alone.
    pub config: FinetuneConfig,
    /// Training and test images.
    pub images: (usize, usize),
}

/// What the runs came to.
#[derive(Debug)]
pub struct Trained {
    /// Blocks that were trained, and what they came to.
    pub done: Vec<(f64, Found)>,
    /// The checkpoint of the run that was stopped, if one was.
    pub stopped: Option<PathBuf>,
}

impl<'a> Partial<'a> {
    /// Sees to it that what is impossible is said before the first of many trainings, not between them.
    ///
    /// # Errors
    /// If a recipe is impossible, a folder unusable, or a run is there that differs.
    pub fn plan(request: Request<'a>, device: &'a Chosen) -> anyhow::Result<Self> {
        let (config, images, _) = configured(&request, 0.0, device)?;
        let depth = f64::from(config.encoder.depth);
        let usual = || USUAL.into_iter().filter(|blocks| *blocks <= depth).collect();
        let blocks: Vec<f64> = request.blocks.clone().unwrap_or_else(usual);
        for blocks in &blocks {
            let recipe = Recipe { blocks: Some(*blocks), ..config.recipe.clone() };
            let config = FinetuneConfig { recipe, ..config.clone() };
            config.recipe.validate(&config.encoder)?;
            begun(&run_path(&request.out, *blocks), &config)?;
        }
        let images = (images.train.len(), images.test.len());
        Ok(Self { request, device, blocks, config, images })
    }

    /// Trains one after the other, to the end or until `stop`; the finished classifier of the first is judged.
    /// `begin` sees each run before it is trained.
    ///
    /// # Errors
    /// As `Run::train`.
    pub fn train(&self, stop: &AtomicBool, mut begin: impl FnMut(&Run)) -> anyhow::Result<Trained> {
        let mut done: Vec<(f64, Found)> = Vec::new();
        for blocks in self.blocks.iter().copied() {
            let (mut config, images, encoder) = configured(&self.request, blocks, self.device)?;
            let path = run_path(&self.request.out, blocks);
            let folder = match begun(&path, &config)? {
                Some(known) => {
                    config.checkpoints = (self.request.checkpoints)(known.checkpoints)?;
                    FinetuneFolder::reopen(&path, &config)?
                }
                None => FinetuneFolder::create(&path, &config)?,
            };
            let run = Run { folder, config, images, encoder };
            begin(&run);
            let found = run.train(self.device, stop, done.is_empty())?;
            if let Outcome::Stopped(checkpoint) = found.outcome {
                return Ok(Trained { done, stopped: Some(checkpoint) });
            }
            done.push((blocks, found));
        }
        Ok(Trained { done, stopped: None })
    }
}

fn configured(
    request: &Request<'_>,
    blocks: f64,
    device: &Chosen,
) -> anyhow::Result<(FinetuneConfig, Images, Option<Tensors>)> {
    let part = Part { blocks: Some(blocks), positions: false };
    let checkpoints = (request.checkpoints)(CheckpointPolicy::default())?;
    configure(request.folders.clone(), |spec| Ok((request.recipe)(spec, part)?), checkpoints, device)
}

fn run_path(out: &Path, blocks: f64) -> PathBuf {
    out.join(format!("blocks-{blocks}"))
}

/// The configuration of a run that was begun before, and of which `config` is a repetition.
fn begun(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Option<FinetuneConfig>> {
    if !path.join(FILE).exists() {
        return Ok(None);
    }
    let known = FinetuneFolder::open(path)?.1;
    let same = known.recipe == config.recipe && known.encoder == config.encoder && known.classes == config.classes;
    if same { Ok(Some(known)) } else { Err(FolderError::Different(path.into()).into()) }
}
