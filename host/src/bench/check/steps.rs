//! Five steps of AdamW on the batch (`adamw_5_steps.safetensors`).

use super::{
    Check, Parity, Setup, Worst,
    files::{device, tensor},
    largest_difference,
};
use crate::{
    checkpoint::{NamedTensor, Tensors},
    model::weights,
    train::optimizer::{AdamWHyper, Optimizer},
};
use ::safetensors::{Dtype, SafeTensors};
use anyhow::{Context as _, ensure};
use std::{fs, ops::Range};

/// Of the five steps.
const LR: f64 = 1e-3;

/// The losses of five steps, the parameters after them, and the way they went.
///
/// # Errors
/// If the file is missing or damaged, or the device fails.
pub fn check(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (official, losses) = read(parity)?;
    let (device, masks, bounds) = (device(setup, true), parity.masks()?, setup.arithmetic().tolerance());
    let mut model = parity.model(true, setup, true)?;
    let hyper = AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: 0.05 };
    let mut optimizer = Optimizer::new(hyper).with_ops(setup.ops);
    let mut worst_loss = Worst::default();
    for (step, expected) in (1..).zip(&losses) {
        let loss = model.loss(parity.patches(&device)?, &masks);
        let gradients = loss.backward();
        model = optimizer.step(model, gradients, LR);
        let loss: f32 = loss.inner().try_into_scalar().map_err(|e| anyhow::anyhow!("{e}")).context("the loss")?;
        worst_loss.add(&format!("step {step}"), (f64::from(loss) - expected).abs());
    }
    let found = weights::to_tensors(&model, parity.grid())?;
    let (mut parameters, mut off, mut way) = (Worst::default(), 0.0_f64, 0.0_f64);
    for (name, tensor_found) in &found {
        let (after, before) = (tensor(&official, name)?, tensor(&parity.checkpoint, name)?);
        let scale = after.data.iter().fold(0.0_f64, |largest, value| f64::from(value.abs()).max(largest));
        let (found, after) = (without_keys(name, tensor_found), without_keys(name, after));
        let before = without_keys(name, before);
        parameters.add(name, largest_difference(&found, &after).with_context(|| name.clone())? / scale);
        let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        (off, way) = (off + square(&found, &after), way + square(&after, &before));
    }
    let mut checks = vec![Check::worst("AdamW, losses of 5 steps", worst_loss, bounds.step_losses)];
    if let Some(bound) = bounds.parameters {
        checks.push(Check::worst("AdamW, parameters (relative)", parameters, bound));
    }
    let share = (off / way).sqrt();
    checks.push(Check::new("AdamW, way of all parameters (relative)", share, bounds.way));
    Ok(checks)
}

/// A parameter's values without the biases of keys.
///
/// A key's bias moves all scores of a query alike, which softmax takes out again: its gradient is nothing but rounding,
/// of which Adam makes whole steps in any direction.
fn without_keys(name: &str, tensor: &NamedTensor) -> Vec<f32> {
    let third = tensor.data.len() / 3;
    let keys: Range<usize> = if name.ends_with("qkv.bias") { third..2 * third } else { 0..0 };
    tensor.data.iter().enumerate().filter(|(i, _)| !keys.contains(i)).map(|(_, value)| *value).collect()
}

/// The parameters after five steps, and the five losses, which the file holds in f64.
fn read(parity: &Parity) -> anyhow::Result<(Tensors, Vec<f64>)> {
    let path = parity.path("adamw_5_steps.safetensors");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let damaged = || format!("{} is damaged", path.display());
    let file = SafeTensors::deserialize(&bytes).with_context(damaged)?;
    let (mut tensors, mut losses) = (Tensors::new(), Vec::new());
    for (name, view) in file.tensors() {
        match (name.as_str(), view.dtype()) {
            ("losses", Dtype::F64) => {
                losses = view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            }
            (_, Dtype::F32) => {
                let data = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                tensors.insert(name, NamedTensor { shape: view.shape().to_vec(), data });
            }
            (_, dtype) => anyhow::bail!("{}: `{name}` has type {dtype:?}", path.display()),
        }
    }
    ensure!(losses.len() == 5, "{} holds {} losses, not 5", path.display(), losses.len());
    Ok((tensors, losses))
}
