//! What runs are asked: their encoders' features by kNN and linear probes, their reconstructions by the seam.

use super::sweep::{Counts, Evaluation, Judging, Run};
use crate::{
    data::folder,
    evaluate::{
        features::{Choice, pooled, with_burn},
        knn::{self, Labelled, Vote},
        linear::{self, Method, Recipe, TrainingSet},
        seam::{Masks, SeamFigures, measure},
        sets::Sets,
    },
    model::{BurnEncoder, classifier::accuracy},
    pictures::fill,
    progress::bar,
    run::RunFolder,
    tensors::Tensors,
};
use burn::tensor::Device;
use common::model::EncoderSpec;
use ndarray::Array2;

/// Neighbours, and the temperature of their votes.
const VOTE: Vote = Vote { k: 20, temperature: 0.07 };

/// Features of the training and of the test images.
#[derive(Debug)]
struct Features {
    run: String,
    train: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
}

/// The images, read once, and the features of the run that was asked last.
#[derive(Debug)]
pub struct Evaluator {
    judging: Judging,
    device: Device,
    sets: Option<Sets>,
    features: Option<Features>,
}

impl Evaluator {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(judging: Judging, device: Device) -> Self {
        Self { judging, device, sets: None, features: None }
    }

    /// Accuracy of kNN or of a linear probe.
    ///
    /// # Errors
    /// If images or checkpoint cannot be read, or features are not finite.
    pub fn accuracy(&mut self, run: &Run, method: Option<Method>) -> anyhow::Result<f64> {
        self.encode(run)?;
        let (Some(sets), Some(features)) = (&self.sets, &self.features) else {
            anyhow::bail!("no features were computed");
        };
        let found = match method {
            None => {
                let train = Labelled { rows: features.train.clone(), labels: sets.train_labels.clone() };
                let test = Labelled { rows: features.test.clone(), labels: sets.test_labels.clone() };
                knn::predict(&train, &test, &[VOTE])?.remove(0)
            }
            Some(method) => {
                let set = TrainingSet {
                    rows: matrix(&features.train)?,
                    labels: sets.train_labels.clone(),
                    classes: sets.classes.len(),
                };
                let recipe = Recipe::new(method, set.images(), None, run.config.train.seed);
                let bar = bar(recipe.epochs, "linear probe");
                let head = linear::train(&set, &recipe, |done| bar.set_position(done as u64));
                bar.finish_and_clear();
                head?.predict(matrix(&features.test)?.view())
            }
        };
        Ok(accuracy(&found, &sets.test_labels))
    }

    /// How visible the borders of patches are in reconstructions of the test images, with the run's own masks.
    ///
    /// # Errors
    /// If images or checkpoint cannot be read.
    pub fn seam(&mut self, run: &Run) -> anyhow::Result<SeamFigures> {
        let (folder, config) = RunFolder::open(&run.path)?;
        let spec = folder.load_encoder(&config)?.0;
        let model = fill::load(&folder, &config)?;
        // The same masks for every run.
        let masks = Masks { kind: config.train.mask, ratio: config.train.mask_ratio, seed: 0 };
        measure(&model, &config, &self.sets(&spec)?.test.images, masks)
    }

    /// The images; those of all runs have one size.
    fn sets(&mut self, spec: &EncoderSpec) -> anyhow::Result<&Sets> {
        if self.sets.is_none() {
            let Judging { train, test, limit, .. } = &self.judging;
            self.sets = Some(Sets::read(train, test, spec, *limit)?);
        }
        self.sets.as_ref().ok_or_else(|| anyhow::anyhow!("no images were read"))
    }

    fn encode(&mut self, run: &Run) -> anyhow::Result<()> {
        if self.features.as_ref().is_some_and(|features| features.run == run.name) {
            return Ok(());
        }
        let (folder, config) = RunFolder::open(&run.path)?;
        let (spec, tensors) = folder.load_encoder(&config)?;
        let device = self.device.clone();
        let sets = self.sets(&spec)?;
        let encode = |images| features(&spec, &tensors, images, &device);
        let (train, test) = (encode(&sets.train.images)?, encode(&sets.test.images)?);
        self.features = Some(Features { run: run.name.clone(), train, test });
        Ok(())
    }
}

/// Pooled features of all patches of each image, `[H, W, C]`.
///
/// # Errors
/// If a parameter is missing, or the device fails.
pub fn features(
    spec: &EncoderSpec,
    tensors: &Tensors,
    images: &[Vec<u8>],
    device: &Device,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let (encoder, bar) = (BurnEncoder::on(spec, tensors, device)?, bar(images.len(), "encoding"));
    let features = with_burn(&encoder, spec, images, Choice::ALL, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    Ok(features?.into_iter().map(|features| pooled(features, spec.pooling)).collect())
}

/// `[N, D]`.
fn matrix(rows: &[Vec<f32>]) -> anyhow::Result<Array2<f32>> {
    let dim = rows.first().map_or(0, Vec::len);
    Ok(Array2::from_shape_vec((rows.len(), dim), rows.concat())?)
}

/// Images and classes of the folders, as far as their names tell.
///
/// # Errors
/// As misuse, if a folder has no images.
pub fn counts(judging: &Judging) -> anyhow::Result<Counts> {
    let find = |folder| folder::find(folder).map_err(|error| console::misuse(error.to_string()));
    let (train, test) = (find(&judging.train)?, find(&judging.test)?);
    // As `prepared` spreads them.
    let used = |all: usize| all.div_ceil(judging.limit.map_or(1, |limit| all.div_ceil(limit.max(1))).max(1));
    let mut classes: Vec<_> = train.iter().filter_map(|file| file.parent()).collect();
    classes.dedup();
    Ok(Counts { train: used(train.len()), test: used(test.len()), classes: classes.len() })
}

/// Whether an evaluation uses the features of [`Evaluator::accuracy`], which those of one run share.
#[must_use]
pub fn uses_features(evaluation: Evaluation) -> bool {
    matches!(evaluation, Evaluation::Knn | Evaluation::Linear(_))
}
