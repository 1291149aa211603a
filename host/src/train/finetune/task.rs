//! The task of fine-tuning: a classifier on labelled images, tested after every epoch.

use super::groups::finetuning_groups;
use crate::stream::Stream;
use crate::{
    data::labelled::{Labelled, LabelledBatch, LabelledConfig, LabelledLoader},
    model::{
        Classifier,
        classifier::{HeadPool, accuracy, argmax, drop_path},
        weights,
    },
    run::{
        TrainState,
        finetune::{FinetuneFolder, Metrics},
        recipe::FinetuneConfig,
    },
    tensors::{NamedTensor, Tensors},
    train::{
        engine::{Engine, Task},
        optimizer::{AdamWHyper, Optimizer},
        progress::Moment,
        schedule::Schedule,
    },
};
use anyhow::{Context as _, bail};
use burn::{
    module::Module as _,
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use common::{
    mask::{self, Mask, MaskKind},
    model::PositionKind,
    patch::PatchGrid,
    position::sincos_2d_table,
};
use edge::select::{Select, choose};

/// What a classifier says about test images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdicts {
    /// True class of each image.
    pub labels: Vec<usize>,
    /// Its likeliest class.
    pub predictions: Vec<usize>,
}

impl Verdicts {
    /// Share of the images that are recognised.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        accuracy(&self.predictions, &self.labels)
    }
}

/// A classifier in fine-tuning.
pub struct Finetuning {
    config: FinetuneConfig,
    train: Labelled,
    test: Labelled,
    grid: PatchGrid,
    device: Device,
    /// There but while the optimizer has it, which updates it in place only if nothing else holds it.
    model: Option<Classifier>,
    optimizer: Optimizer,
    /// Of the epoch under way.
    loader: Option<LabelledLoader>,
    /// Of the last epoch's test, if this process did it.
    verdicts: Option<Verdicts>,
}

impl Finetuning {
    /// A fine-tuning from the newest checkpoint of `folder`, else of `encoder`'s parameters, else from random
    /// weights.
    ///
    /// # Errors
    /// If the encoder is unusable, there are not as many blocks as are to be trained, or the checkpoint is damaged.
    pub fn open(
        folder: &FinetuneFolder,
        config: FinetuneConfig,
        (train, test): (Labelled, Labelled),
        encoder: Option<&Tensors>,
        device: &Device,
    ) -> anyhow::Result<Engine<Self>> {
        let threads = (*device == Device::flex()).then(rayon::current_num_threads);
        let (device, geometry, recipe) = (device.clone().autodiff(), config.geometry(), &config.recipe);
        let (grid, depth) = (geometry.grid()?, geometry.depth);
        let mut model = Classifier::new(&geometry, config.classes.len(), recipe.pool, recipe.seed, &device)?;
        let hyper = AdamWHyper { beta1: 0.9, beta2: 0.999, weight_decay: recipe.weight_decay as f32 };
        let mut optimizer = Optimizer::new(hyper).with_groups(finetuning_groups(depth, recipe.layer_decay));
        let mut state = TrainState::default();
        let checkpoint = folder.training().newest()?;
        match (&checkpoint, encoder) {
            (Some(checkpoint), _) => {
                model = weights::load_tensors(model, &checkpoint.model, &grid)?;
                optimizer.load_tensors(&checkpoint.optimizer, &device)?;
                state = checkpoint.state;
                folder.training().set_aside_after(state.step)?;
                state.warn_of_change(train.len(), threads);
            }
            (None, Some(encoder)) => {
                let mut encoder = encoder.clone();
                if geometry.position == PositionKind::Stored && config.encoder.position == PositionKind::SinCos2d {
                    let table = sincos_2d_table(&grid, geometry.dim, true);
                    let shape = vec![1, 1 + grid.patches(), geometry.dim];
                    encoder.insert("pos_embed".into(), NamedTensor { shape, data: table });
                }
                model.encoder = weights::load_tensors(model.encoder, &encoder, &grid)?;
                // The mean of tokens that were never normed has another scale than what the norm has learned.
                if recipe.pool == HeadPool::Mean {
                    model = model.with_fresh_norm();
                }
            }
            (None, None) => {}
        }
        folder.training().forget_metrics_after(state.epoch)?;
        (state.images, state.threads) = (Some(train.len()), threads);
        let trained = recipe.trained(depth).context("there are not so many blocks to train")?;
        let mut model = model.with_trained(trained);
        if recipe.positions_trained() {
            model = model.with_trained_positions();
        }
        let plan = (Schedule::of_finetuning(recipe), recipe.epochs);
        let (kept, policy, model) = (folder.training().clone(), config.checkpoints, Some(model));
        let task = Self { config, train, test, grid, device, model, optimizer, loader: None, verdicts: None };
        Ok(Engine::new(task, kept, policy, plan, state))
    }

    /// The classifier.
    ///
    /// # Errors
    /// If a step has failed.
    pub fn model(&self) -> anyhow::Result<&Classifier> {
        self.model.as_ref().context("the model was lost in a step that failed")
    }

    /// What the classifier says about the test images after the last epoch.
    ///
    /// # Errors
    /// If none can be read.
    pub fn verdicts(&mut self) -> anyhow::Result<Verdicts> {
        match self.verdicts.take() {
            Some(verdicts) => Ok(verdicts),
            None => self.test(|line| console::note!("{line}")),
        }
    }

    /// Classifies all test images; `warn` is told of those that cannot be read.
    ///
    /// # Errors
    /// If none can be read.
    pub fn test(&self, warn: impl Fn(&str)) -> anyhow::Result<Verdicts> {
        let (model, recipe) = (self.model()?.valid(), &self.config.recipe);
        let (device, mut verdicts) = (self.device.clone().inner(), Verdicts::default());
        let mut loader = LabelledLoader::test(self.test.clone(), self.loading(recipe.batch_size.max(64)))?;
        let (select, length) = (if recipe.keep < 1.0 { Select::Random } else { Select::All }, self.grid.patches());
        let (mut noise, mut ids) = (vec![0.0; length], vec![0; length]);
        while let Some(batch) = loader.next_batch()? {
            let mut kept = Vec::new();
            for place in &batch.places {
                let stream = (recipe.seed, *place as u64);
                let count = choose(select, &self.grid, recipe.keep, stream, &mut noise, &mut ids);
                kept.extend_from_slice(&ids[..count]);
            }
            if batch.labels.is_empty() {
                continue;
            }
            let (visible, positions) = self.visible(&batch, &kept, &device);
            let logits = model.forward(visible, positions, batch.labels.len(), &[]).logits;
            let logits: Vec<f32> = logits.try_into_vec_as().map_err(|e| anyhow::anyhow!("{e}"))?;
            verdicts
                .predictions
                .extend(logits.chunks_exact(self.config.classes.len()).map(|row| argmax(row.iter().copied())));
            verdicts.labels.extend(batch.labels);
        }
        loader.warnings().iter().for_each(|warning| warn(warning));
        if verdicts.labels.is_empty() {
            bail!("none of the test images in {} can be read", self.config.test.display());
        }
        Ok(verdicts)
    }

    /// The patches `kept` of each image, `[B * V, P]`, and their numbers, `[B * V]`.
    fn visible(&self, batch: &LabelledBatch, kept: &[u32], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let (length, values, count) = (self.grid.patches(), self.grid.patch_dim(), batch.labels.len());
        let visible = kept.len() / count;
        let patches = if visible == length && kept.iter().zip((0..length as u32).cycle()).all(|(id, i)| *id == i) {
            batch.patches.clone()
        } else {
            let rows = kept.iter().enumerate().map(|(row, id)| row / visible * length + *id as usize);
            rows.flat_map(|row| &batch.patches[row * values..(row + 1) * values]).copied().collect()
        };
        let ids: Vec<i32> = kept.iter().map(|id| *id as i32).collect();
        let rows = kept.len();
        (
            Tensor::from_data(TensorData::new(patches, [rows, values]), device),
            Tensor::from_data(TensorData::new(ids, [rows]), device),
        )
    }

    fn loading(&self, batch_size: usize) -> LabelledConfig {
        let pixels = self.config.encoder.pixels;
        LabelledConfig { grid: self.grid, pixels, batch_size, seed: self.config.recipe.seed }
    }
}

impl Task for Finetuning {
    fn steps_an_epoch(&self) -> usize {
        self.train.len() / self.config.recipe.batch_size
    }

    fn images_a_step(&self) -> usize {
        self.config.recipe.batch_size
    }

    fn begin_epoch(&mut self, at: &TrainState) -> anyhow::Result<()> {
        let recipe = &self.config.recipe;
        let (loading, augmentation) = (self.loading(recipe.batch_size), recipe.augmentation());
        let loader = LabelledLoader::train(self.train.clone(), loading, augmentation, at.epoch, at.iteration)?;
        self.loader = Some(loader);
        Ok(())
    }

    fn step(&mut self, at: &TrainState, lr: f64) -> anyhow::Result<Tensor<1>> {
        let loader = self.loader.as_mut().context("the epoch has not begun")?;
        let batch = loader.next_batch()?.context("the loader has ended early")?;
        let (recipe, count) = (&self.config.recipe, batch.labels.len());
        let first = (at.step * recipe.batch_size) as u64;
        let length = self.grid.patches();
        let kept: Vec<u32> = if recipe.keep < 1.0 {
            let len_keep = mask::len_visible(length, recipe.keep);
            let draw = |image| {
                let rng = &mut mask::generator(Stream::LabelledPatches.seed(recipe.seed), first + image);
                Mask::draw(MaskKind::Random, &self.grid, len_keep, rng).ids_keep
            };
            (0..count as u64).flat_map(draw).collect()
        } else {
            (0..count).flat_map(|_| 0..length as u32).collect()
        };
        let (visible, positions) = self.visible(&batch, &kept, &self.device);
        let depth = self.config.encoder.depth as usize;
        let factors = drop_path(depth, count, recipe.drop_path, recipe.seed, at.step as u64);
        let targets = TensorData::new(batch.targets, [count, self.config.classes.len()]);
        let model = self.model.take().context("the model was lost in a step that failed")?;
        let logits = model.forward(visible, positions, count, &factors).logits;
        let loss = cross_entropy(logits, Tensor::from_data(targets, &self.device));
        let gradients = loss.backward();
        self.model = Some(self.optimizer.step(model, gradients, lr));
        Ok(loss.inner())
    }

    fn columns(&self) -> &'static str {
        Metrics::COLUMNS
    }

    fn warnings(&self) -> Vec<String> {
        self.loader.as_ref().map(LabelledLoader::warnings).unwrap_or_default()
    }

    fn end_epoch(&mut self, at: &TrainState, moment: &Moment, say: &dyn Fn(&str)) -> anyhow::Result<String> {
        let verdicts = self.test(say)?;
        let test_accuracy = verdicts.accuracy();
        self.verdicts = Some(verdicts);
        say(&format!("test accuracy {:.2} %", test_accuracy * 100.0));
        let Moment { epoch, loss, lr, .. } = *moment;
        Ok(Metrics { epoch, step: at.step, train_loss: loss, test_accuracy, lr }.line())
    }

    fn tensors(&self) -> anyhow::Result<(Tensors, Tensors)> {
        Ok((weights::to_tensors(self.model()?, &self.grid)?, self.optimizer.to_tensors()?))
    }
}

/// Cross-entropy with target distributions, the mean over the batch, `[1]`. `logits`, `targets`: `[B, K]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (log_softmax(logits, 1) * targets).sum_dim(1).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_that_of_distributions() {
        let device = Device::flex();
        let upload = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [2, 3]), &device);
        let (logits, targets) = (vec![1.0, 2.0, 0.5, -1.0, 0.0, 3.0], vec![0.2, 0.7, 0.1, 0.0, 0.0, 1.0]);
        let expected: f64 = logits
            .chunks(3)
            .zip(targets.chunks(3))
            .map(|(logits, targets)| {
                let sum: f64 = logits.iter().map(|l: &f32| f64::from(*l).exp()).sum();
                logits.iter().zip(targets).map(|(l, t)| -f64::from(*t) * (f64::from(*l) - sum.ln())).sum::<f64>()
            })
            .sum::<f64>()
            / 2.0;
        let found: f32 = cross_entropy(upload(logits), upload(targets)).into_scalar();
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn the_likeliest_class_is_the_first_of_equals() {
        assert_eq!(argmax([0.0, 3.0, 3.0].into_iter()), 1);
        assert_eq!(argmax([5.0].into_iter()), 0);
        let verdicts = Verdicts { labels: vec![0, 1, 2, 2], predictions: vec![0, 1, 1, 2] };
        assert_eq!(verdicts.accuracy(), 0.75);
    }
}
