//! The paper's experiments, each a sweep of small trainings and their evaluations; `host ablate` on the command line.

pub mod cache;
pub mod draw;
pub mod error;
pub mod evaluator;
pub mod experiment;
pub mod images;
pub mod join;
pub mod plan;
pub mod row;
pub mod runner;
pub mod sweep;
pub mod table;
pub mod timing;
pub mod tune;

use crate::{
    data::{dataset::DatasetError, folder, shards::set::Shards, texture},
    device::{Chosen, precision::Precision},
    evaluate::linear::Method,
    preset::Preset,
    run::DataSource,
};
use anyhow::Context as _;
use error::SweepError;
use experiment::Experiment;
use std::{fs, path::PathBuf};
use sweep::{Common, Counts, Judging, Metric, Sweep};

/// A sweep as it is asked for, its numbers checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is varied.
    pub experiment: Experiment,
    /// Its values, instead of the paper's.
    pub values: Vec<String>,
    /// Model and recipe that are varied.
    pub base: Preset,
    /// Epochs of warm-up of the preset as it was, of which shorter trainings take a share.
    pub warmup: f64,
    /// Images of pre-training.
    pub data: DataSource,
    /// Training and test images of the evaluations; the embedded generator's without them.
    pub folders: Option<(PathBuf, PathBuf)>,
    /// The folder of the results.
    pub out: PathBuf,
    /// The folder of the runs.
    pub runs: PathBuf,
    /// How runs are judged; as usual if empty.
    pub metrics: Vec<Metric>,
    /// How linear probes are trained.
    pub method: Method,
    /// Passes of fine-tuning.
    pub finetune_epochs: usize,
    /// Images a step of fine-tuning; by the number of images without it.
    pub finetune_batch: Option<usize>,
    /// Fine-tune without regularisation.
    pub finetune_plain: bool,
    /// Most training and most test images of the evaluations.
    pub limit: Option<usize>,
    /// Arithmetic of pre-training.
    pub precision: Precision,
    /// Longest time between checkpoints, seconds.
    pub checkpoint_seconds: u64,
    /// Random choices come from these.
    pub seeds: Vec<u64>,
    /// Results of other sweeps.
    pub join: Vec<PathBuf>,
}

impl Request {
    /// The sweep: its runs, and what each is asked. Says which of the files to join have nothing new.
    ///
    /// # Errors
    /// If a value is impossible, the experiment cannot be judged so, or folders or files are unusable.
    pub fn sweep(self, chosen: &Chosen) -> anyhow::Result<Sweep> {
        let settings = self.experiment.settings(&self.base, &self.values, self.warmup)?;
        let partial = self.experiment == Experiment::Partial;
        let metrics = if self.metrics.is_empty() {
            let usual = [Metric::Knn, Metric::Linear, Metric::Finetune].into_iter();
            usual.chain((self.experiment == Experiment::Seam).then_some(Metric::Seam)).collect()
        } else {
            self.metrics
        };
        if partial && !metrics.contains(&Metric::Finetune) {
            return Err(SweepError::OnlyFinetune.into());
        }
        let common = Common {
            runs: self.runs,
            data: self.data,
            precision: self.precision,
            checkpoint_seconds: self.checkpoint_seconds,
            seeds: self.seeds,
            metrics,
            method: self.method,
            base: self.base,
        };
        let jobs = common.jobs(&settings, partial, chosen);
        let (train, test) = self.folders.clone().unwrap_or_else(|| images::folders(&self.out));
        let mut judging = Judging {
            train,
            test,
            limit: self.limit,
            finetune_epochs: self.finetune_epochs,
            finetune_batch: 1,
            finetune_plain: self.finetune_plain,
        };
        let counts = match &self.folders {
            Some(_) => evaluator::counts(&judging)?,
            None => {
                let of = |all: usize| self.limit.map_or(all, |limit| all.div_ceil(all.div_ceil(limit)));
                Counts { train: of(images::TRAIN), test: of(images::TEST), classes: texture::PATTERNS.len() }
            }
        };
        judging.finetune_batch =
            self.finetune_batch.unwrap_or_else(|| (1 << (counts.train / 8).max(1).ilog2()).min(256));
        let images = match &common.data {
            DataSource::Synthetic => common.base.train.synthetic_images,
            DataSource::Folder(folder) => folder::find(folder).map_err(DatasetError::Folder)?.len(),
            DataSource::Shards(paths) => Shards::open(paths).map_err(DatasetError::Shards)?.len(),
        };
        let mut sweep =
            Sweep { experiment: self.experiment, settings, jobs, judging, counts, images, joined: Vec::new() };
        for file in &self.join {
            if join::add(&mut sweep, file)? == 0 {
                console::note!("note: nothing of {} joins: it has no further seed at these settings", file.display());
            }
        }
        Ok(sweep)
    }
}

/// Claims the folder of a sweep for this process until it ends.
///
/// # Errors
/// If another process has it, or it cannot be written.
pub fn claim(out: &std::path::Path) -> anyhow::Result<fs::File> {
    let cannot = || format!("cannot write {}", out.display());
    fs::create_dir_all(out).with_context(cannot)?;
    let file = fs::File::options().create(true).append(true).open(out.join("ablate.lock")).with_context(cannot)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(SweepError::Busy(out.into()).into()),
        // Some network file systems have no locks.
        Err(fs::TryLockError::Error(error)) => {
            console::note!("warning: {} cannot be locked: {error}", out.display());
            Ok(file)
        }
        Ok(()) => Ok(file),
    }
}
