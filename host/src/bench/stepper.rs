//! One optimizer step as the trainer does it, whole or part by part.

use crate::{
    device::precision::Precision,
    model::{Mae, MaskBatch, ops::Ops},
    train::{
        config::Preset,
        optimizer::{AdamWHyper, Optimizer},
    },
};
use anyhow::Context as _;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use common::{mask, patch::PatchGrid};
use std::time::Instant;

/// Seconds of each part of one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepParts {
    /// Drawing the masks and uploading the patches.
    pub masks: f64,
    /// Encoder, patch projection included.
    pub forward_encoder: f64,
    /// Decoder, prediction included.
    pub forward_decoder: f64,
    /// Target and loss.
    pub loss: f64,
    /// All gradients.
    pub backward: f64,
    /// AdamW.
    pub optimizer: f64,
}

/// A model under training without run folder, progress or checkpoints.
pub struct Stepper {
    /// There but while the optimizer has it, as in the trainer.
    model: Option<Mae>,
    optimizer: Optimizer,
    grid: PatchGrid,
    device: Device,
    preset: Preset,
    steps: u64,
}

/// Waits until `device` has done all its work.
///
/// # Errors
/// If some of it failed.
pub fn sync(device: &Device) -> anyhow::Result<()> {
    device.sync().map_err(|error| anyhow::anyhow!("{error:?}")).context("the device failed")
}

impl Stepper {
    /// A freshly initialised model; batch size, masks and seed are those of `preset.train`.
    ///
    /// # Errors
    /// If the model is impossible.
    pub fn new(preset: &Preset, device: &Device, plain_ops: bool, precision: Precision) -> anyhow::Result<Self> {
        let device = device.clone().autodiff();
        let ops = match precision.ops() {
            Ops::Fused if plain_ops => Ops::Plain,
            ops => ops,
        };
        let train = &preset.train;
        let model = Mae::new(&preset.model, train.seed, &device)?;
        let model = model.with_mask_tokens_in_encoder(train.encoder_mask_tokens, train.seed).with_ops(ops);
        // The parameters are f32 in every precision, and so the fused AdamW applies.
        let optimizer_ops = if plain_ops { Ops::Plain } else { Ops::Fused };
        let weight_decay = preset.train.weight_decay as f32;
        let optimizer = Optimizer::new(AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay }).with_ops(optimizer_ops);
        Ok(Self {
            model: Some(model),
            optimizer,
            grid: preset.model.grid()?,
            device,
            preset: preset.clone(),
            steps: 0,
        })
    }

    /// The model as it is now.
    ///
    /// # Errors
    /// If it was lost in a step that failed.
    pub fn model(&self) -> anyhow::Result<&Mae> {
        self.model.as_ref().context("the model was lost in a step that failed")
    }

    fn update(&mut self, gradients: Gradients, lr: f64) {
        self.model = self.model.take().map(|model| self.optimizer.step(model, gradients, lr));
        self.steps += 1;
    }

    /// The masks of the next step, the same as the trainer's of the same number.
    #[must_use]
    pub fn masks(&self) -> MaskBatch {
        let train = &self.preset.train;
        let kept = mask::len_keep(self.grid.patches(), train.mask_ratio);
        let sample = self.steps * train.batch_size as u64;
        MaskBatch::draw(train.mask, &self.grid, kept, train.seed, sample, train.batch_size)
    }

    /// One whole step. `patches`: `[B, L, P]`. Returns the loss, still on the device, `[1]`.
    ///
    /// # Errors
    /// If the model was lost in a step that failed.
    pub fn step(&mut self, patches: Vec<f32>, lr: f64) -> anyhow::Result<Tensor<1>> {
        let masks = self.masks();
        let patches = self.upload(patches);
        let loss = self.model()?.loss(patches, &masks);
        let gradients = loss.backward();
        self.update(gradients, lr);
        Ok(loss.inner())
    }

    /// One whole step, waiting for the device after each part. `patches`: `[B, L, P]`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step_in_parts(&mut self, patches: Vec<f32>, lr: f64) -> anyhow::Result<StepParts> {
        let device = self.device.clone();
        let mut since = Instant::now();
        let mut lap = || -> anyhow::Result<f64> {
            sync(&device)?;
            let seconds = since.elapsed().as_secs_f64();
            since = Instant::now();
            Ok(seconds)
        };
        let mut parts = StepParts::default();
        let masks = self.masks();
        let patches = self.upload(patches);
        parts.masks = lap()?;
        let latent = self.model()?.forward_encoder(patches.clone(), &masks);
        parts.forward_encoder = lap()?;
        let pred = self.model()?.predict_removed(latent, &masks);
        parts.forward_decoder = lap()?;
        let loss = self.model()?.removed_loss(patches, pred, &masks);
        parts.loss = lap()?;
        let gradients = loss.backward();
        parts.backward = lap()?;
        self.update(gradients, lr);
        parts.optimizer = lap()?;
        Ok(parts)
    }

    fn upload(&self, patches: Vec<f32>) -> Tensor<3> {
        let shape = [self.preset.train.batch_size, self.grid.patches(), self.grid.patch_dim()];
        Tensor::from_data(TensorData::new(patches, shape), &self.device)
    }
}

/// A loss read from the device; a step whose loss is not finite measures nothing.
///
/// # Errors
/// If it is not finite, or the device fails.
pub fn read_loss(loss: Tensor<1>) -> anyhow::Result<f32> {
    let loss: f32 = loss.try_into_scalar().map_err(|e| anyhow::anyhow!("{e}")).context("reading the loss")?;
    anyhow::ensure!(loss.is_finite(), "the loss is no longer finite");
    Ok(loss)
}
