//! One pass over the batch: latent, prediction, target, losses; and the encoder on every patch.

use super::{
    Check, Parity, Setup,
    files::{device, values},
    largest_difference,
};
use crate::{
    model::{BurnEncoder, mae::normalize_patches},
    objective::loss_as_trained,
};
use anyhow::{Context as _, ensure};
use common::normalize::PixelStats;

/// Latent, prediction, normalised target, and the loss on pixels, normalised and plain.
///
/// # Errors
/// If a tensor is missing or the device fails.
pub fn check(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (device, masks, bounds) = (device(setup, false), parity.masks()?, setup.arithmetic().tolerance());
    let (model, patches) = (parity.model(true, setup, false)?, parity.patches(&device)?);
    let latent = model.forward_encoder(patches.clone(), &masks);
    let pred = model.forward_decoder(latent.clone(), &masks);
    let (target, _) = normalize_patches(patches.clone());
    let mut checks = Vec::new();
    for (name, file, found, tolerance) in [
        ("latent", "latent", values(latent.clone())?, bounds.forward),
        ("prediction", "pred", values(pred.clone())?, bounds.forward),
        ("target, normalised", "target_norm_pix", values(target)?, super::tolerance::TARGET),
    ] {
        let difference = largest_difference(&found, &parity.of_forward(file)?.data).context(name)?;
        checks.push(Check::new(name, difference, tolerance));
    }
    for (name, file, norm_pix_loss) in
        [("loss, normalised pixels", "loss_norm_pix", true), ("loss, pixels", "loss_pixels", false)]
    {
        let model = parity.model(norm_pix_loss, setup, false)?;
        let expected = &parity.of_forward(file)?.data;
        let whole = values(model.forward_loss(patches.clone(), pred.clone(), &masks))?;
        checks.push(Check::new(name, largest_difference(&whole, expected)?, bounds.loss));
        // What training computes: the prediction of removed patches alone.
        let removed = values(loss_as_trained(&model, patches.clone(), &masks))?;
        let name = format!("{name}, as trained");
        checks.push(Check::new(name, largest_difference(&removed, expected)?, bounds.loss));
    }
    Ok(checks)
}

/// The class token and the mean of the patch tokens when every patch is visible, in f32 as features always are.
///
/// # Errors
/// If a tensor is missing or the device fails.
pub fn every_patch(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (config, patches) = (parity.config(true), parity.grid().patches());
    let spec = config.encoder_spec(PixelStats::IMAGENET, Default::default());
    let encoder = BurnEncoder::on(&spec, &parity.checkpoint, &device(setup, false))?;
    let batch = parity.masks()?.batch();
    let ids: Vec<u32> = (0..batch).flat_map(|_| 0..patches as u32).collect();
    let features = encoder.encode(&parity.of_forward("patches")?.data, &ids, patches)?;
    let latent = &parity.of_forward("latent_all_visible")?.data;
    let (dim, tokens) = (config.dim, 1 + patches);
    ensure!(latent.len() == batch * tokens * dim, "`latent_all_visible` does not fit the model");
    let (mut cls, mut mean) = (0.0_f64, 0.0_f64);
    for (found, expected) in features.iter().zip(latent.chunks_exact(tokens * dim)) {
        cls = cls.max(largest_difference(&found.cls, &expected[..dim])?);
        let sum = |d: usize| (1..tokens).map(|t| f64::from(expected[t * dim + d])).sum::<f64>();
        let means: Vec<f32> = (0..dim).map(|d| (sum(d) / patches as f64) as f32).collect();
        mean = mean.max(largest_difference(&found.mean, &means)?);
    }
    let tolerance = setup.arithmetic_of_f32().tolerance().forward;
    Ok(vec![
        Check::new("every patch visible, class token", cls, tolerance),
        Check::new("every patch visible, mean", mean, tolerance),
    ])
}
