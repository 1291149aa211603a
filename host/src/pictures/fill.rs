//! Images with their removed patches predicted.

use crate::{
    model::{MaskBatch, weights},
    objective::{Learner, joint::JointConfig, target::FittedTarget},
    run::{RunConfig, RunFolder},
    tensors::Tensors,
};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor, TensorData};
use common::{normalize::PatchStats, patch::PatchGrid};

/// A run whose decoder was never trained.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model was trained without reconstruction (reconstruction_weight 0), so there is no decoder to predict removed \
     patches with; evaluate, features and export do without one"
)]
pub struct NoDecoder;

/// The trained model of a run, on the CPU, and what it predicts.
///
/// # Errors
/// If the run has no checkpoint, or a damaged one, or its decoder was never trained ([`NoDecoder`]).
pub fn load(run: &RunFolder, config: &RunConfig) -> anyhow::Result<(Learner, FittedTarget)> {
    with_tensors(run, config, &run.load()?.model)
}

/// As [`load`], with the parameters of a checkpoint that was read already.
///
/// # Errors
/// If a parameter is missing, what was predicted cannot be read, or the decoder was never trained ([`NoDecoder`]).
pub fn with_tensors(
    run: &RunFolder,
    config: &RunConfig,
    tensors: &Tensors,
) -> anyhow::Result<(Learner, FittedTarget)> {
    if !config.train.joint.reconstructs() {
        return Err(NoDecoder.into());
    }
    let (device, grid) = (Device::flex(), config.model.grid()?);
    let model = Learner::new(&config.model, config.train.encoder_mask_tokens, &JointConfig::default(), 0, &device)?;
    let model = weights::load_tensors(model, tensors, &grid).map_err(|error| config.explain(error))?;
    Ok((model, FittedTarget::load(config.train.target, run.path(), &grid)?))
}

/// The views with the removed patches as `model` predicts them and the visible ones as they are. `views`: `[H, W, C]`
/// each, of the model's size; one mask each.
///
/// # Errors
/// If the device cannot give the prediction back.
pub fn fill(
    model: &Learner,
    (config, target): (&RunConfig, &FittedTarget),
    views: &[Vec<u8>],
    masks: &MaskBatch,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let (grid, device) = (config.model.grid()?, model.mae.mask_token.val().device());
    let patches = patchify(views, &grid, config)?;
    let shape = [views.len(), grid.patches(), grid.patch_dim()];
    let input = Tensor::<3>::from_data(TensorData::new(patches.clone(), shape), &device);
    let pred = model.predict(model.encode(input, masks), masks).try_into_vec_as::<f32>();
    let pred = pred.map_err(|e| anyhow::anyhow!("{e}")).context("reading the prediction")?;
    let images = views.iter().zip(patches.chunks_exact(grid.image_len()));
    let parts = images.zip(pred.chunks_exact(grid.image_len()).zip(masks.masks()));
    parts
        .map(|((view, patches), (pred, mask))| paste(view, patches, pred, &mask.removed(), (config, target)))
        .collect()
}

/// Normalised patches of all views, `[B, L, P]`.
///
/// # Errors
/// If a view does not fit the grid.
pub fn patchify(views: &[Vec<u8>], grid: &PatchGrid, config: &RunConfig) -> anyhow::Result<Vec<f32>> {
    let mut patches = vec![0.0; views.len() * grid.image_len()];
    let mut image = vec![0.0; grid.image_len()];
    for (view, patches) in views.iter().zip(patches.chunks_exact_mut(grid.image_len())) {
        config.pixels.normalize_image(view, grid.channels(), &mut image);
        grid.patchify(&image, patches)?;
    }
    Ok(patches)
}

/// The view with removed patches (`removed`: `[L]`, 1 removed) predicted. `view`: `[H, W, C]`; `patches`, `pred`:
/// `[L, P]`. A normalised prediction gets the patch's own mean and deviation back, and what the target leaves out of
/// the image comes from the original.
///
/// # Errors
/// If the view does not fit the grid.
pub fn paste(
    view: &[u8],
    patches: &[f32],
    pred: &[f32],
    removed: &[u8],
    (config, target): (&RunConfig, &FittedTarget),
) -> anyhow::Result<Vec<u8>> {
    let grid = config.model.grid()?;
    let aim = target.apply(patches, &grid);
    let (mut shown, mut pixels) = (view.to_vec(), vec![0; grid.patch_dim()]);
    for (index, _) in removed.iter().enumerate().filter(|(_, removed)| **removed == 1) {
        let range = index * grid.patch_dim()..(index + 1) * grid.patch_dim();
        let mut patch = pred[range.clone()].to_vec();
        if config.model.norm_pix_loss {
            PatchStats::of(&aim.as_deref().unwrap_or(patches)[range.clone()]).denormalize(&mut patch);
        }
        if let Some(aim) = &aim {
            let rest = patches[range.clone()].iter().zip(&aim[range]).map(|(value, aim)| value - aim);
            patch.iter_mut().zip(rest).for_each(|(value, rest)| *value += rest);
        }
        for (i, (pixel, value)) in pixels.iter_mut().zip(patch).enumerate() {
            *pixel = config.pixels.denormalize(value, i % grid.channels());
        }
        grid.insert(&mut shown, index, &pixels)?;
    }
    Ok(shown)
}
