//! What a sweep consists of: runs, and what each is asked.

use super::{
    cache::difference,
    error::SweepError,
    experiment::{Experiment, Setting, run_name},
    row::Row,
};
use crate::{
    bench::flops,
    device::{Chosen, precision::Precision},
    evaluate::linear::Method,
    preset::Preset,
    report::history,
    run::{DataSource, RunConfig, RunFolder, policy::CheckpointPolicy},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Class of the 20 nearest training images.
    Knn,
    /// A linear classifier on frozen features.
    Linear,
    /// The whole encoder trained with labels.
    Finetune,
    /// Borders of patches in reconstructions.
    Seam,
}

/// One thing that a run is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Evaluation {
    /// `k` nearest neighbours.
    Knn,
    /// A linear probe.
    Linear(Method),
    /// Fine-tuning of this many last blocks, of all parameters without it.
    Finetune(Option<f64>),
    Seam,
}

/// On which images, and how, runs are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judging {
    /// Training images, one folder a class.
    pub train: PathBuf,
    /// Test images.
    pub test: PathBuf,
    /// At most so many of each.
    pub limit: Option<usize>,
    /// Passes of fine-tuning.
    pub finetune_epochs: usize,
    /// Images a step of fine-tuning.
    pub finetune_batch: usize,
    /// Fine-tune without what a few epochs cannot make use of.
    pub finetune_plain: bool,
}

/// Images and classes that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Classes.
    pub classes: usize,
}

/// A pre-training.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    pub path: PathBuf,
    pub config: RunConfig,
}

/// One run for one setting. The settings of some experiments have a run in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Place of the setting.
    pub setting: usize,
    pub run: Run,
    /// What it is asked.
    pub evaluations: Vec<Evaluation>,
}

/// How far a pre-training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "epochs")]
pub enum State {
    /// Not begun.
    Waiting,
    /// So many epochs are done.
    Begun(usize),
    /// All are done.
    Trained,
}

impl Evaluation {
    /// Its name in the run's folder.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Knn => "knn".into(),
            Self::Linear(method) => format!("linear-{method}"),
            Self::Finetune(None) => "finetune".into(),
            Self::Finetune(Some(blocks)) => format!("finetune-blocks-{blocks}"),
            Self::Seam => "seam".into(),
        }
    }

    /// The names of its figures, the first the one that a figure shows.
    #[must_use]
    pub fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Knn => &["knn"],
            Self::Linear(_) => &["linear"],
            Self::Finetune(_) => &["finetune"],
            Self::Seam => &["seam", "rmse-near", "rmse-far", "rmse"],
        }
    }

    /// What its result depends on beside the run.
    #[must_use]
    pub fn settings(self, judging: &Judging) -> Value {
        let Judging { train, test, limit, finetune_epochs, finetune_batch, finetune_plain } = judging;
        match self {
            Self::Knn => json!({ "train": train, "test": test, "limit": limit }),
            Self::Linear(method) => json!({ "train": train, "test": test, "limit": limit, "method": method }),
            Self::Finetune(blocks) => json!({
                "train": train, "test": test, "limit": limit, "epochs": finetune_epochs, "batch_size": finetune_batch,
                "blocks": blocks, "plain": finetune_plain,
            }),
            Self::Seam => json!({ "test": test, "limit": limit }),
        }
    }

    /// Floating-point operations of its matrix products.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn flops(self, config: &RunConfig, judging: &Judging, counts: Counts) -> anyhow::Result<f64> {
        let model = &config.model;
        let (encoder, block) = (flops::encoder(model)? as f64, flops::encoder_block(model)?);
        let Counts { train, test, classes } = counts;
        let encoding = encoder * (train + test) as f64;
        let dim = model.dim as f64;
        Ok(match self {
            Self::Knn => encoding + 2.0 * (train * test) as f64 * dim,
            Self::Linear(method) => {
                let products = match method {
                    // The matrix of the features' products, once for the choice of the penalty and once for all.
                    Method::Closed => 4.0 * dim * dim,
                    Method::Lars => 90.0 * 4.0 * dim * classes as f64,
                    Method::Adamw => 30.0 * 4.0 * dim * classes as f64,
                };
                encoding + products * train as f64
            }
            Self::Finetune(blocks) => {
                // Backward passes only go through what is trained; the MLP is the larger half of a block.
                let trained = match blocks {
                    None => encoder,
                    Some(0.5) => block.mlp as f64,
                    Some(blocks) => blocks * block.all as f64,
                };
                let epochs = judging.finetune_epochs as f64;
                epochs * ((encoder + 2.0 * trained) * train as f64 + encoder * test as f64)
            }
            Self::Seam => flops::training(&config.preset())? as f64 / 3.0 * test as f64,
        })
    }
}

impl Run {
    /// How far it is, by what its folder says.
    ///
    /// # Errors
    /// If the folder holds a run with other options.
    pub fn state(&self) -> anyhow::Result<State> {
        if !self.path.join("run.toml").exists() {
            return Ok(State::Waiting);
        }
        let (folder, known) = RunFolder::open(&self.path)?;
        let (known, wanted) = (described(&known)?, described(&self.config)?);
        if let Some(difference) = difference(&known, &wanted) {
            return Err(SweepError::Different { path: self.path.clone(), difference }.into());
        }
        let epochs = history::read_epochs(&self.path)?.last().map_or(0, |epoch| epoch.epoch);
        Ok(match epochs {
            _ if !folder.training().has_checkpoint()? => State::Waiting,
            epochs if epochs >= self.config.train.epochs => State::Trained,
            epochs => State::Begun(epochs),
        })
    }

    /// Images of all its steps, `images` being there.
    #[must_use]
    pub fn images(&self, images: usize) -> usize {
        let train = &self.config.train;
        images / train.images_a_step() * train.images_a_step() * train.epochs
    }
}

/// What makes a run what it is: all but the program's version, the device and when it is saved.
fn described(config: &RunConfig) -> anyhow::Result<Value> {
    let RunConfig { data, pixels, precision, model, train, .. } = config;
    let value = json!({ "data": data, "pixels": pixels, "precision": precision, "model": model, "train": train });
    Ok(value)
}

/// A whole sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What is varied.
    pub experiment: Experiment,
    pub settings: Vec<Setting>,
    /// One a setting and seed, in the order in which they are done: all settings of the first seed first.
    pub jobs: Vec<Job>,
    /// On which images.
    pub judging: Judging,
    /// How many there are.
    pub counts: Counts,
    /// Images of pre-training.
    pub images: usize,
    /// Results of other seeds, had elsewhere.
    pub joined: Vec<Row>,
}

impl Sweep {
    /// Whether the sweep itself does the run that `row` is of; it may be joined otherwise.
    #[must_use]
    pub fn runs(&self, row: &Row) -> bool {
        self.jobs.iter().any(|job| job.setting == row.place && job.run.config.train.seed == row.seed)
    }
}

/// What all runs have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// The preset of which settings change something.
    pub base: Preset,
    /// Folder of the runs.
    pub runs: PathBuf,
    /// Images of pre-training.
    pub data: DataSource,
    /// Arithmetic.
    pub precision: Precision,
    /// Longest time between checkpoints, seconds.
    pub checkpoint_seconds: u64,
    /// Random choices come from these.
    pub seeds: Vec<u64>,
    /// What runs are asked.
    pub metrics: Vec<Metric>,
    /// How linear probes are trained.
    pub method: Method,
}

impl Common {
    /// The jobs of all settings and seeds.
    #[must_use]
    pub fn jobs(&self, settings: &[Setting], partial: bool, chosen: &Chosen) -> Vec<Job> {
        let evaluation = |metric: &Metric, setting: &Setting| match metric {
            Metric::Knn => Evaluation::Knn,
            Metric::Linear => Evaluation::Linear(self.method),
            Metric::Finetune => Evaluation::Finetune(setting.blocks),
            Metric::Seam => Evaluation::Seam,
        };
        let job = |seed: u64, place: usize, setting: &Setting| {
            let name = run_name(&self.base, &setting.preset, seed);
            let mut preset = setting.preset.clone();
            preset.train.seed = seed;
            let checkpoints = CheckpointPolicy { seconds: self.checkpoint_seconds, steps: None, keep: 1 };
            let config = RunConfig::new(preset, self.data.clone(), chosen.description.clone());
            let config = RunConfig { precision: self.precision, checkpoints, ..config };
            let run = Run { path: self.runs.join(&name), name, config };
            // Blocks matter to fine-tuning alone.
            let asked = self.metrics.iter().filter(|metric| !partial || **metric == Metric::Finetune);
            Job { setting: place, run, evaluations: asked.map(|metric| evaluation(metric, setting)).collect() }
        };
        let pairs = self.seeds.iter().flat_map(|seed| settings.iter().enumerate().map(move |pair| (*seed, pair)));
        pairs.map(|(seed, (place, setting))| job(seed, place, setting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{DeviceChoice, choose},
        preset::Recipe,
    };
    use std::{fs, path::Path};

    fn common(runs: &Path, seeds: Vec<u64>) -> Common {
        Common {
            base: Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper),
            runs: runs.into(),
            data: DataSource::Synthetic,
            precision: Precision::Fp32,
            checkpoint_seconds: 60,
            seeds,
            metrics: vec![Metric::Knn, Metric::Finetune],
            method: Method::Closed,
        }
    }

    #[test]
    fn all_settings_of_the_first_seed_come_first_and_settings_share_runs() {
        let chosen = choose(DeviceChoice::Cpu).expect("the CPU");
        let common = common("runs".as_ref(), vec![3, 4]);
        let values = ["0.5", "0.75"].map(String::from);
        let settings = Experiment::MaskRatio.settings(&common.base, &values, 2.0).expect("settings");
        let jobs = common.jobs(&settings, false, &chosen);
        let names: Vec<&str> = jobs.iter().map(|job| job.run.name.as_str()).collect();
        assert_eq!(names, ["mask-random-0.5-seed-3", "base-seed-3", "mask-random-0.5-seed-4", "base-seed-4"]);
        assert_eq!(jobs[2].run.config.train.seed, 4);
        assert_eq!(jobs[0].evaluations, [Evaluation::Knn, Evaluation::Finetune(None)]);

        let settings = Experiment::Partial.settings(&common.base, &[], 2.0).expect("settings");
        let jobs = common.jobs(&settings, true, &chosen);
        assert!(jobs.iter().all(|job| job.run.name.starts_with("base")));
        let keys: Vec<String> = jobs[..settings.len()].iter().map(|job| job.evaluations[0].key()).collect();
        assert_eq!(keys[..2], ["finetune-blocks-0", "finetune-blocks-0.5"]);
        assert_eq!(keys[5], "finetune");
    }

    #[test]
    fn a_run_with_other_options_is_refused_and_one_without_checkpoint_waits() -> anyhow::Result<()> {
        let (root, chosen) = (tempfile::tempdir()?, choose(DeviceChoice::Cpu)?);
        let common = common(root.path(), vec![0]);
        let settings = Experiment::MaskRatio.settings(&common.base, &["0.5".into()], 2.0)?;
        let run = common.jobs(&settings, false, &chosen)[0].run.clone();
        assert_eq!(run.state()?, State::Waiting);
        drop(RunFolder::create(&run.path, &run.config)?);
        assert_eq!(run.state()?, State::Waiting);
        fs::create_dir(run.path.join("checkpoints/step-00000009"))?;
        assert_eq!(run.state()?, State::Begun(0));
        fs::write(run.path.join("metrics.csv"), "epoch,step,loss,lr,images_per_second\n20,9,0.5,0.1,7\n")?;
        assert_eq!(run.state()?, State::Trained);
        let mut longer = run.clone();
        longer.config.train.epochs = 30;
        let error = longer.state().expect_err("other options").to_string();
        assert!(error.contains("train.epochs was 20 and is 30 now"), "{error}");
        Ok(())
    }

    #[test]
    fn operations_grow_with_what_is_trained() -> anyhow::Result<()> {
        let chosen = choose(DeviceChoice::Cpu)?;
        let common = common("runs".as_ref(), vec![0]);
        let settings = Experiment::MaskRatio.settings(&common.base, &["0.75".into()], 2.0)?;
        let config = &common.jobs(&settings, false, &chosen)[0].run.config;
        let judging = Judging {
            train: "train".into(),
            test: "test".into(),
            limit: None,
            finetune_epochs: 10,
            finetune_batch: 64,
            finetune_plain: false,
        };
        let counts = Counts { train: 1000, test: 100, classes: 10 };
        let of = |blocks| Evaluation::Finetune(blocks).flops(config, &judging, counts).expect("flops");
        let all = [of(Some(0.0)), of(Some(0.5)), of(Some(1.0)), of(Some(6.0)), of(None)];
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        let images = flops::encoder(&config.model)? as f64 * 1100.0;
        assert!((all[0] / images - 10.0).abs() < 1e-9, "frozen blocks are passed once an epoch");
        Ok(())
    }
}
