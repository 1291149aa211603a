//! A folder with all that another program needs to do the very same optimizer steps, and our losses.
//!
//! The format is written down in `docs/benchmarks.md`.

use super::step::{Stepper, read_loss};
use crate::objective::target::{FittedTarget, Target};
use crate::{
    bench::{parts::Feed, pretrain::Setup},
    data::dataset::Dataset,
    files,
    model::{MaskBatch, weights},
    tensors::{NamedTensor, Tensors, safetensors},
    train::schedule::Schedule,
};
use anyhow::Context as _;
use console::misuse;
use serde_json::json;
use std::{fs, path::Path, sync::Arc};

/// The version of the folder's format.
pub const FORMAT: u32 = 1;
/// Says that a folder is an exchange, and is written last.
const LOSSES: &str = "losses.json";

/// Does `steps` optimizer steps from fresh weights on augmented images and writes them to `folder`, which appears
/// whole or not at all. The learning rate rises from `1 / steps` of the recipe's peak to the peak, so that the losses
/// show a wrong gradient or optimizer soon. Returns the losses.
///
/// # Errors
/// As misuse if something else lies at `folder`; if the device or the file system fails.
pub fn write(setup: &Setup, steps: usize, folder: &Path, stage: &dyn Fn(&str)) -> anyhow::Result<Vec<f32>> {
    let shown = folder.display();
    let empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if folder.exists() && !folder.join(LOSSES).exists() && !empty(folder) {
        return Err(misuse(format!("{shown} holds something else than an exchange: give another folder")));
    }
    let (model, train) = (&setup.preset.model, &setup.preset.train);
    let other_loss = train.target != Target::Pixels || !train.seam.is_off() || train.joint.is_on();
    let other_steps = train.accumulate != 1 || train.keep_range.is_some() || !train.optimizer.is_default();
    let other_parts = train.encoder_mask_tokens || !model.decoder.is_default() || train.predict_ratio != 1.0;
    if other_loss || other_steps || other_parts {
        return Err(misuse("an exchange is of the paper's loss and steps of one batch: give a preset with both"));
    }
    let grid = model.grid()?;
    let batch_size = train.batch_size;
    let dataset = match &setup.data {
        Some(path) => Dataset::open(path, model.channels)?,
        None => Dataset::synthetic(train.seed, batch_size * steps, model.image_height, model.image_width),
    };
    if dataset.len() < batch_size {
        return Err(misuse(format!("{} images are fewer than one batch of {batch_size}", dataset.len())));
    }
    let loader = train.loader();
    let mut feed = Feed::new(Arc::new(dataset), grid, setup.pixels, loader, &Arc::new(FittedTarget::Pixels));
    let peak = Schedule::scaled_lr(train.blr, batch_size);
    let lr: Vec<f64> = (1..=steps).map(|step| peak * step as f64 / steps as f64).collect();
    let mut losses = Vec::new();
    files::write_folder(folder, |staging| -> anyhow::Result<()> {
        let cannot = || format!("cannot write {shown}");
        let tensors = |name: &str, tensors: &Tensors| {
            safetensors::write(&staging.join(name), tensors, Default::default()).with_context(cannot)
        };
        let mut stepper = Stepper::new(&setup.preset, &setup.device, setup.plain_ops, setup.precision)?;
        tensors("weights.safetensors", &weights::to_tensors(stepper.task.learner()?, &grid)?)?;
        for (step, lr) in lr.iter().enumerate() {
            stage(&format!("step {} of {steps}", step + 1));
            let next = feed.next_batch()?;
            let shape = vec![batch_size, grid.patches(), grid.patch_dim()];
            let mut batch = mask_tensors(&stepper.task.masks(step, 0).0);
            batch.insert("patches".into(), NamedTensor { shape, data: next.patches.clone() });
            tensors(&format!("step-{step:03}.safetensors"), &batch)?;
            losses.push(read_loss(stepper.step(&mut || Ok(next.clone()), *lr)?)?);
        }
        tensors("weights_after.safetensors", &weights::to_tensors(stepper.task.learner()?, &grid)?)?;
        let config = json!({
            "format": FORMAT,
            "preset": setup.name,
            "model": model,
            "batch_size": batch_size,
            "mask_ratio": train.mask_ratio,
            "seed": train.seed,
            "weight_decay": train.weight_decay,
            "betas": [0.9, 0.95],
            "eps": 1e-8,
            "lr": lr,
        });
        for (name, value) in [("config.json", config), (LOSSES, json!({ "losses": losses }))] {
            let text = serde_json::to_string_pretty(&value).context("cannot write JSON")?;
            fs::write(staging.join(name), text + "\n").with_context(cannot)?;
        }
        Ok(())
    })?;
    Ok(losses)
}

/// `ids_keep` `[B, V]` and `ids_restore` `[B, L]`; whole numbers in f32, exact up to 2^24.
fn mask_tensors(masks: &MaskBatch) -> Tensors {
    let flat = |ids: fn(&common::mask::Mask) -> &[u32], length: usize| NamedTensor {
        shape: vec![masks.batch(), length],
        data: masks.masks().iter().flat_map(ids).map(|id| *id as f32).collect(),
    };
    Tensors::from([
        ("ids_keep".into(), flat(|mask| &mask.ids_keep, masks.visible())),
        ("ids_restore".into(), flat(|mask| &mask.ids_restore, masks.patches())),
    ])
}
