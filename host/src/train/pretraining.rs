//! The task of pre-training: masks, an objective, a step of the optimizer.

use super::{
    engine::{Engine, Task},
    optimizer::{AdamWHyper, Optimizer},
    progress::Moment,
    schedule::Schedule,
};
use crate::{
    data::{
        dataset::Dataset,
        loader::{Batch, Loader},
    },
    model::{DecoderKind, MaskBatch, ops::Ops, weights},
    objective::{
        Learner, Objective,
        joint::{
            JointConfig, JointKind,
            config::JointPool,
            joint,
            spread::{self, Spread},
        },
        target::FittedTarget,
    },
    preset::{OptimizerKind, Preset},
    run::{RunConfig, RunFolder, TrainState},
    stream::Stream,
    tensors::{Tensors, is_encoder, is_projector},
};
use anyhow::{Context as _, bail};
use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Device, Tensor, TensorData},
};
use common::{mask, normalize::PixelStats, patch::PatchGrid};
use std::sync::Arc;

/// Why there is no model.
const MODEL_LOST: &str = "the model was lost in a step that failed";

/// The columns of `metrics.csv`; what follows them is only there with a joint term.
const COLUMNS: &str = "epoch,step,loss,lr,images_per_second";
const JOINT_COLUMNS: &str = "epoch,step,loss,lr,images_per_second,reconstruction,joint,feature_std,feature_rank";
/// Optimizer steps after which it is looked whether the features have collapsed.
const SPREAD_EVERY: usize = 100;

/// The parts of a step, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Drawing the masks and uploading the patches.
    Masks,
    /// Encoder, patch projection included.
    Encoder,
    /// Decoder, prediction included.
    Decoder,
    /// Target and loss.
    Loss,
    /// All gradients.
    Backward,
    /// The update of the parameters.
    Optimizer,
}

/// A model in pre-training.
pub struct Pretraining {
    preset: Preset,
    grid: PatchGrid,
    device: Device,
    /// There but while the optimizer has it, which updates it in place only if nothing else holds it.
    learner: Option<Learner>,
    optimizer: Optimizer,
    objective: Objective,
    images: Option<Images>,
    /// With a joint term, features and projections of the last batch's first views.
    latest: Option<[Tensor<2>; 2]>,
}

/// Where the batches come from.
struct Images {
    dataset: Arc<Dataset>,
    pixels: PixelStats,
    target: Arc<FittedTarget>,
    /// Of the epoch under way.
    loader: Option<Loader>,
}

impl Pretraining {
    /// A freshly initialised model without images: for [`Self::step_on`]. `ops`: of the model and of the optimizer.
    ///
    /// # Errors
    /// If the model is impossible.
    pub fn new(preset: &Preset, device: &Device, ops: (Ops, Ops)) -> anyhow::Result<Self> {
        let (device, grid, train) = (device.clone().autodiff(), preset.model.grid()?, &preset.train);
        let learner = Learner::new(&preset.model, train.encoder_mask_tokens, &train.joint, train.seed, &device)?;
        let hyper = AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: train.weight_decay as f32 };
        Ok(Self {
            objective: Objective::new(preset.model.norm_pix_loss, train.seam, grid),
            optimizer: Optimizer::new(hyper).with_ops(ops.1).with_muon(train.optimizer == OptimizerKind::Muon),
            learner: Some(learner.with_ops(ops.0)),
            preset: preset.clone(),
            latest: None,
            grid,
            device,
            images: None,
        })
    }

    /// How many values of the encoder and of the decoder are trained.
    ///
    /// # Errors
    /// If the device cannot give them back.
    pub fn parameters(&self) -> anyhow::Result<(usize, usize)> {
        let (tensors, _) = self.tensors()?;
        let count = |encoder: bool| {
            let fits =
                |name: &str| is_encoder(name) == encoder && !is_projector(name) && !name.ends_with("pos_embed");
            let wanted = tensors.iter().filter(|(name, _)| fits(name));
            wanted.map(|(_, tensor)| tensor.data.len()).sum()
        };
        Ok((count(true), count(false)))
    }

    /// The training of a run from the start, or from its newest checkpoint with `resume`.
    ///
    /// # Errors
    /// If the model is impossible, no patch would be kept or removed, there are fewer images than one optimizer step
    /// takes, or all checkpoints are damaged.
    pub fn open(
        run: &RunFolder,
        config: &RunConfig,
        dataset: Arc<Dataset>,
        device: &Device,
        resume: bool,
    ) -> anyhow::Result<Engine<Self>> {
        let threads = (*device == Device::flex()).then(rayon::current_num_threads);
        let (folder, train, grid) = (run.training(), &config.train, config.model.grid()?);
        if dataset.len() < train.images_a_step() {
            bail!("{} images are fewer than the {} of one optimizer step", dataset.len(), train.images_a_step());
        }
        let mut task = Self::new(&config.preset(), device, (config.precision.ops(device), Ops::default()))?;
        let mut state = TrainState::default();
        if resume && folder.has_checkpoint()? {
            let checkpoint = run.load()?;
            let learner = weights::load_tensors(task.take()?, &checkpoint.model, &grid);
            task.learner = Some(learner.map_err(|error| config.explain(error))?);
            task.optimizer.load_tensors(&checkpoint.optimizer, &task.device)?;
            state = checkpoint.state;
            folder.set_aside_after(state.step)?;
            state.warn_of_change(dataset.len(), threads);
        } else if resume {
            console::note!("warning: the run has no checkpoint yet: it begins anew");
        }
        let target = match resume && state.step > 0 {
            true => FittedTarget::load(train.target, run.path(), &grid)?,
            false => FittedTarget::fit(train.target, &dataset, &grid, config.pixels, train.seed)?,
        };
        target.save(run.path())?;
        if resume {
            folder.forget_metrics_after(state.epoch)?;
        }
        (state.images, state.threads) = (Some(dataset.len()), threads);
        task.images = Some(Images { dataset, pixels: config.pixels, target: Arc::new(target), loader: None });
        let plan = (Schedule::of(train), train.epochs);
        Ok(Engine::new(task, folder.clone(), config.checkpoints, plan, state))
    }

    /// Takes up the weights of another run. Without a decoder of this one's kind among them it stays as it is; so does
    /// the projector where that run had none, or one of another shape.
    ///
    /// # Errors
    /// Names the first parameter of the autoencoder that is missing or has another shape.
    pub fn start_from(&mut self, tensors: &Tensors) -> anyhow::Result<()> {
        let (mut learner, grid) = (self.learner()?.clone(), &self.grid);
        if DecoderKind::of(tensors) == Some(self.preset.model.decoder) {
            // What is beside the autoencoder stays as it is where it does not fit.
            match weights::load_tensors(learner.clone(), tensors, grid) {
                Ok(whole) => learner = whole,
                Err(_) => learner.mae = weights::load_tensors(learner.mae, tensors, grid)?,
            }
        } else {
            learner.mae.encoder = weights::load_tensors(learner.mae.encoder, tensors, grid)?;
        }
        self.learner = Some(learner);
        Ok(())
    }

    /// What is trained, as it is now.
    ///
    /// # Errors
    /// If it was lost in a step that failed.
    pub fn learner(&self) -> anyhow::Result<&Learner> {
        self.learner.as_ref().context(MODEL_LOST)
    }

    fn take(&mut self) -> anyhow::Result<Learner> {
        self.learner.take().context(MODEL_LOST)
    }

    /// The number of the first sample of batch `part` of optimizer step number `step`, both counted from 0.
    fn sample(&self, step: usize, part: usize) -> u64 {
        let train = &self.preset.train;
        ((step * train.accumulate + part) * train.batch_size) as u64
    }

    /// The masks of that batch: of the first views of all images, and with a joint term of their second ones, their
    /// third ones, and so on.
    #[must_use]
    pub fn masks(&self, step: usize, part: usize) -> (MaskBatch, Option<MaskBatch>) {
        let (train, sample, patches) = (&self.preset.train, self.sample(step, part), self.grid.patches());
        let draw = |kept, seed| MaskBatch::draw(train.mask, &self.grid, kept, seed, sample, train.batch_size);
        let kept = train.visible(patches, step);
        let further = train.joint.view_keep.map_or(kept, |share| mask::len_visible(patches, share));
        let view = |view| draw(further, Stream::ViewMask.seed(train.seed).wrapping_add(view));
        (draw(kept, train.seed), (1..train.joint.views() as u64).map(view).reduce(MaskBatch::and))
    }

    /// Features of encoded patches for the joint term, `[N, D]`. `latent`: `[N * (1 + V), D]`.
    fn pooled(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let ([_, dim], visible) = (latent.dims(), masks.visible());
        let tokens = latent.reshape([masks.batch(), 1 + visible, dim]);
        match self.preset.train.joint.pool {
            JointPool::Mean => tokens.narrow(1, 1, visible).mean_dim(1).squeeze_dim(1),
            JointPool::Cls => tokens.narrow(1, 0, 1).squeeze_dim(1),
        }
    }

    /// How far features and projections of the last batch spread; `None` without a joint term.
    ///
    /// # Errors
    /// If the device cannot give them back.
    pub fn spread(&self) -> anyhow::Result<Option<[Spread; 2]>> {
        let Some(latest) = &self.latest else { return Ok(None) };
        let read = |tensor: &Tensor<2>| {
            let values = tensor.clone().try_to_vec_as::<f32>().map_err(|error| anyhow::anyhow!("{error}"))?;
            anyhow::Ok((values, tensor.dims()[1]))
        };
        let [(features, dim), (projections, width)] = [read(&latest[0])?, read(&latest[1])?];
        let projections = match self.preset.train.joint.kind {
            JointKind::Sigreg => Spread::of_values(&projections, width),
            JointKind::Infonce | JointKind::None => Spread::of_directions(&projections, width),
        };
        Ok(Some([Spread::of_directions(&features, dim), projections]))
    }

    /// Ends a training whose features have collapsed: nothing brings them back.
    fn check_spread(&self, step: usize) -> anyhow::Result<Option<Spread>> {
        let Some([features, projections]) = self.spread()? else { return Ok(None) };
        if projections.collapsed() {
            bail!(
                "the features have collapsed at step {step}: all images have nearly the same (projections with a \
                 deviation of {:.3} of 1 in {:.1} directions); start again with a smaller blr{}",
                projections.std,
                projections.rank,
                match self.preset.train.joint.kind {
                    JointKind::Sigreg => ", a larger batch or a larger joint.sigreg_share",
                    _ => " or a larger batch",
                }
            );
        }
        Ok(Some(features))
    }

    /// Optimizer step number `step` on `accumulate` batches of `next`. `lap` is told the end of each part, which the
    /// device may not have reached. Returns the mean of the batches' losses, still on the device, `[1]`; with a joint
    /// term also that of its parts, `[1 + PARTS]`.
    ///
    /// Every image loses as many patches, so the mean of the batches' losses, and of their gradients, is that of one
    /// batch of all their images.
    ///
    /// # Errors
    /// Those of `next` and `lap`, or if the model was lost in a step that failed.
    pub fn step_on(
        &mut self,
        step: usize,
        lr: f64,
        next: &mut dyn FnMut() -> anyhow::Result<Batch>,
        lap: &mut dyn FnMut(Part) -> anyhow::Result<()>,
    ) -> anyhow::Result<Tensor<1>> {
        let train = &self.preset.train;
        let accumulate = train.accumulate;
        let (mut gradients, mut mean) = (GradientsAccumulator::new(), None);
        for part in 0..accumulate {
            let Batch { mut patches, target, .. } = next()?;
            let ((masks, further), sample) = (self.masks(step, part), self.sample(step, part));
            let (batch, views) = (masks.batch(), train.joint.views());
            if patches.len() != views * batch * self.grid.image_len() {
                bail!("a batch of {} values is not one of {views} views of {batch} images", patches.len());
            }
            let upload = |values: Vec<f32>| {
                let shape = [values.len() / self.grid.image_len(), self.grid.patches(), self.grid.patch_dim()];
                Tensor::<3>::from_data(TensorData::new(values, shape), &self.device)
            };
            let further = further.map(|masks| (upload(patches.split_off(batch * self.grid.image_len())), masks));
            let patches = upload(patches);
            let target = target.map_or_else(|| patches.clone(), upload);
            lap(Part::Masks)?;
            let learner = self.learner()?;
            let latent = learner.encode(patches, &masks);
            let features = further.map(|(patches, further)| {
                let others = learner.encode(patches, &further);
                Tensor::cat(vec![self.pooled(latent.clone(), &masks), self.pooled(others, &further)], 0)
            });
            lap(Part::Encoder)?;
            // The first view alone is reconstructed.
            let masks = masks.predicting(train.predict_ratio, Stream::Predicted.seed(train.seed), sample);
            let pred = train.joint.reconstructs().then(|| learner.predict_removed(latent, &masks));
            lap(Part::Decoder)?;
            let reconstruction = pred.map(|pred| self.objective.loss(pred, target, &masks));
            let projections = features.clone().and_then(|x| learner.project(x, views));
            let seed = Stream::Slices.seed(train.seed);
            let joint = projections.clone().and_then(|z| joint(&train.joint, z, seed, sample));
            let latest = features.zip(projections).map(|(features, projections)| {
                let first = |x: Tensor<2>| x.inner().narrow(0, 0, batch.min(spread::ROWS));
                [first(features), first(projections)]
            });
            let (loss, shown) = total(&train.joint, reconstruction, joint).context("the loss has no part")?;
            let loss = loss.div_scalar(accumulate as f64);
            lap(Part::Loss)?;
            gradients.accumulate(learner, GradientsParams::from_grads(loss.backward(), learner));
            lap(Part::Backward)?;
            let shown = shown.div_scalar(accumulate as f64);
            mean = Some(match mean {
                Some(mean) => mean + shown,
                None => shown,
            });
            self.latest = latest;
        }
        let learner = self.take()?;
        self.learner = Some(self.optimizer.step_by(learner, gradients.grads(), lr));
        lap(Part::Optimizer)?;
        mean.context("an optimizer step needs a batch")
    }
}

/// The loss, `[1]`, and what is shown of it: itself, and with a joint term its parts, `[1 + PARTS]`.
fn total(
    config: &JointConfig,
    reconstruction: Option<Tensor<1>>,
    joint: Option<Tensor<1>>,
) -> Option<(Tensor<1>, Tensor<1>)> {
    let Some(joint) = joint else { return reconstruction.map(|loss| (loss.clone(), loss.inner())) };
    let none = || Tensor::zeros([1], &joint.device());
    let shown = [reconstruction.clone().map_or_else(|| none().inner(), Tensor::inner), joint.clone().inner()];
    let joint = joint.mul_scalar(config.weight);
    let loss = match reconstruction {
        Some(reconstruction) => reconstruction.mul_scalar(config.reconstruction_weight) + joint,
        None => joint,
    };
    let [reconstruction, joint] = shown;
    let shown = Tensor::cat(vec![loss.clone().inner(), reconstruction, joint], 0);
    Some((loss, shown))
}

impl Images {
    /// The batches of the epoch that `at` is in, from its iteration on.
    fn loader(&self, preset: &Preset, grid: PatchGrid, at: &TrainState) -> anyhow::Result<Loader> {
        let (train, target) = (&preset.train, self.target.clone());
        let config = train.loader();
        let target = move |patches: &[f32]| target.apply(patches, &grid);
        let from = (at.epoch, at.iteration * train.accumulate);
        Loader::start_towards(target, self.dataset.clone(), grid, self.pixels, config, from)
    }
}

impl Task for Pretraining {
    fn steps_an_epoch(&self) -> usize {
        self.images.as_ref().map_or(0, |images| images.dataset.len() / self.images_a_step())
    }

    fn images_a_step(&self) -> usize {
        self.preset.train.images_a_step()
    }

    fn begin_epoch(&mut self, at: &TrainState) -> anyhow::Result<()> {
        if let Some(images) = &mut self.images {
            images.loader = Some(images.loader(&self.preset, self.grid, at)?);
        }
        Ok(())
    }

    fn step(&mut self, at: &TrainState, lr: f64) -> anyhow::Result<Tensor<1>> {
        let loader = self.images.as_mut().and_then(|images| images.loader.take());
        let mut loader = loader.context("the epoch has not begun")?;
        let loss = self.step_on(at.step, lr, &mut || loader.next_batch(), &mut |_| Ok(()));
        if loss.is_ok() && (at.step + 1).is_multiple_of(SPREAD_EVERY) {
            self.check_spread(at.step + 1)?;
        }
        if let Some(images) = &mut self.images {
            images.loader = Some(loader);
        }
        loss
    }

    fn columns(&self) -> &'static str {
        if self.preset.train.joint.is_on() { JOINT_COLUMNS } else { COLUMNS }
    }

    fn warnings(&self) -> Vec<String> {
        let loader = self.images.as_ref().and_then(|images| images.loader.as_ref());
        loader.map(Loader::warnings).unwrap_or_default()
    }

    fn end_epoch(&mut self, at: &TrainState, moment: &Moment, _: &dyn Fn(&str)) -> anyhow::Result<String> {
        let (Moment { epoch, loss, lr, images_per_second, .. }, step) = (moment, at.step);
        let line = format!("{epoch},{step},{loss:.6},{lr:.6e},{images_per_second:.1}");
        let Some(Spread { std, rank }) = self.check_spread(step)? else { return Ok(line) };
        let [reconstruction, joint] = moment.parts;
        Ok(format!("{line},{reconstruction:.6},{joint:.6},{std:.4},{rank:.2}"))
    }

    fn tensors(&self) -> anyhow::Result<(Tensors, Tensors)> {
        Ok((weights::to_tensors(self.learner()?, &self.grid)?, self.optimizer.to_tensors()?))
    }
}
