//! The task of pre-training, stepped without a run folder, progress or checkpoints; whole or part by part.

use crate::{
    data::loader::Batch,
    device::precision::Precision,
    model::ops::Ops,
    preset::Preset,
    train::pretraining::{Part, Pretraining},
};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor};
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

/// The operations that a bench measures or checks.
#[must_use]
pub fn ops(device: &Device, plain_ops: bool, precision: Precision) -> Ops {
    let ops = precision.ops(device);
    if plain_ops { ops.plain() } else { ops }
}

/// A training that takes steps on batches it is given.
pub struct Stepper {
    /// What is trained.
    pub task: Pretraining,
    device: Device,
    steps: usize,
}

impl Stepper {
    /// A freshly initialised model of `preset`; all that a step depends on is the recipe's.
    ///
    /// # Errors
    /// If the model is impossible.
    pub fn new(preset: &Preset, device: &Device, plain_ops: bool, precision: Precision) -> anyhow::Result<Self> {
        let ops = ops(device, plain_ops, precision);
        // The parameters are f32 in every precision, and so the fused AdamW applies.
        let optimizer_ops = if plain_ops { Ops::Plain } else { Ops::Fused };
        let task = Pretraining::new(preset, device, (ops, optimizer_ops))?;
        Ok(Self { task, device: device.clone(), steps: 0 })
    }

    /// One whole step on batches of `next`. Returns the loss, still on the device, `[1]`.
    ///
    /// # Errors
    /// Those of `next`, or if the model was lost in a step that failed.
    pub fn step(&mut self, next: &mut dyn FnMut() -> anyhow::Result<Batch>, lr: f64) -> anyhow::Result<Tensor<1>> {
        let loss = self.task.step_on(self.steps, lr, next, &mut |_| Ok(()))?;
        self.steps += 1;
        Ok(loss)
    }

    /// One whole step, waiting for the device after each part.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step_in_parts(
        &mut self,
        next: &mut dyn FnMut() -> anyhow::Result<Batch>,
        lr: f64,
    ) -> anyhow::Result<StepParts> {
        let (device, mut parts, mut since) = (self.device.clone(), StepParts::default(), Instant::now());
        let mut lap = |part| -> anyhow::Result<()> {
            sync(&device)?;
            let seconds = match part {
                Part::Masks => &mut parts.masks,
                Part::Encoder => &mut parts.forward_encoder,
                Part::Decoder => &mut parts.forward_decoder,
                Part::Loss => &mut parts.loss,
                Part::Backward => &mut parts.backward,
                Part::Optimizer => &mut parts.optimizer,
            };
            *seconds += since.elapsed().as_secs_f64();
            since = Instant::now();
            Ok(())
        };
        self.task.step_on(self.steps, lr, next, &mut lap)?;
        self.steps += 1;
        Ok(parts)
    }
}

/// Waits until `device` has done all its work.
///
/// # Errors
/// If some of it failed.
pub fn sync(device: &Device) -> anyhow::Result<()> {
    device.sync().map_err(|error| anyhow::anyhow!("{error:?}")).context("the device failed")
}

/// The loss of a step, which may have its parts behind it, read from the device; a step whose loss is not finite
/// measures nothing.
///
/// # Errors
/// If it is not finite, or the device fails.
pub fn read_loss(loss: Tensor<1>) -> anyhow::Result<f32> {
    let loss: f32 =
        loss.narrow(0, 0, 1).try_into_scalar().map_err(|e| anyhow::anyhow!("{e}")).context("reading the loss")?;
    anyhow::ensure!(loss.is_finite(), "the loss is no longer finite");
    Ok(loss)
}
