//! Five steps of AdamW on the batch (`adamw_5_steps.safetensors`).

use super::{
    Check, Parity, Setup, Worst,
    files::{device, tensor},
};
use crate::{
    model::{ops::Ops, weights},
    objective::loss_as_trained,
    tensors::{NamedTensor, Tensors},
    train::optimizer::{AdamWHyper, Optimizer},
};
use ::safetensors::{Dtype, SafeTensors};
use anyhow::{Context as _, ensure};
use std::{fs, ops::Range};

/// Of the five steps.
const LR: f64 = 1e-3;

/// An element whose first gradient is a smaller share of its parameter's largest is not compared by itself: rounding
/// of the sums behind it (5e-7 of the largest) is a twentieth of it or more, and Adam divides by its size. Of the 87
/// 696 elements of `mae-32` these are 41, in one of which the official f32 numbers are themselves off by more than
/// the bound (`bench/adamw_rounding.py`, `docs/fidelity.md`); 160 others are biases of keys.
const SMALL_GRADIENT: f64 = 1e-5;

/// The losses of five steps, the parameters after them, and the way they went.
///
/// # Errors
/// If the file is missing or damaged, or the device fails.
pub fn check(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (official, losses) = read(parity)?;
    let (device, masks, bounds) = (device(setup, true), parity.masks()?, setup.arithmetic().tolerance());
    let mut model = parity.model(true, setup, true)?;
    let hyper = AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: 0.05 };
    // Parameters are f32 in every precision, and so the fused AdamW applies to bf16, too.
    let ops = if setup.ops == Ops::Plain { Ops::Plain } else { Ops::Fused };
    let mut optimizer = Optimizer::new(hyper).with_ops(ops);
    let mut worst_loss = Worst::default();
    for (step, expected) in (1..).zip(&losses) {
        let loss = loss_as_trained(&model, parity.patches(&device)?, &masks);
        let gradients = loss.backward();
        model = optimizer.step(model, gradients, LR);
        let loss: f32 = loss.inner().try_into_scalar().map_err(|e| anyhow::anyhow!("{e}")).context("the loss")?;
        worst_loss.add(&format!("step {step}"), (f64::from(loss) - expected).abs());
    }
    let first = parity.tensors("gradients.safetensors")?;
    let (mut parameters, mut off, mut way) = (Worst::default(), 0.0_f64, 0.0_f64);
    let (mut compared, mut all) = (0, 0);
    for (name, found) in weights::to_tensors(&model, parity.grid())? {
        let (after, before) = (tensor(&official, &name)?, tensor(&parity.checkpoint, &name)?);
        let gradient = tensor(&first, &name)?;
        let lengths = [after, before, gradient].map(|tensor| tensor.data.len());
        ensure!(lengths == [found.data.len(); 3], "the parity files disagree about `{name}`");
        let (scale, least) = (largest(after), SMALL_GRADIENT * largest(gradient));
        let keys = keys(&name, &found);
        for (i, (a, b)) in found.data.iter().zip(&after.data).enumerate().filter(|(i, _)| !keys.contains(i)) {
            let difference = f64::from(*a) - f64::from(*b);
            off += difference.powi(2);
            way += (f64::from(*b) - f64::from(before.data[i])).powi(2);
            if f64::from(gradient.data[i].abs()) >= least {
                parameters.add(&name, difference.abs() / scale);
                compared += 1;
            }
        }
        all += found.data.len();
    }
    ensure!(compared * 400 > all * 399, "only {compared} of {all} elements have a gradient worth comparing");
    let mut checks = vec![Check::worst("AdamW, losses of 5 steps", worst_loss, bounds.step_losses)];
    if let Some(bound) = bounds.parameters {
        checks.push(Check::worst("AdamW, parameters (relative)", parameters, bound));
    }
    let share = (off / way).sqrt();
    checks.push(Check::new("AdamW, way of all parameters (relative)", share, bounds.way));
    Ok(checks)
}

fn largest(tensor: &NamedTensor) -> f64 {
    tensor.data.iter().fold(0.0, |largest, value| f64::from(value.abs()).max(largest))
}

/// Where a parameter holds biases of keys.
///
/// A key's bias moves all scores of a query alike, which softmax takes out again: its gradient is nothing but
/// rounding, of which Adam makes whole steps in any direction.
fn keys(name: &str, tensor: &NamedTensor) -> Range<usize> {
    let third = tensor.data.len() / 3;
    if name.ends_with("qkv.bias") { third..2 * third } else { 0..0 }
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
