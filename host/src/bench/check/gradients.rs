//! Every parameter's gradient (`gradients.safetensors`).

use super::{
    Check, Parity, Setup, Worst,
    files::{device, tensor},
    relative_difference,
};
use crate::{model::weights, objective::loss_as_trained};
use anyhow::{Context as _, ensure};

/// All gradients, each as a share of the parameter's largest, both through the whole loss and through that of
/// training, which predicts removed patches alone.
///
/// # Errors
/// If a parameter has no gradient, or the file lacks one.
pub fn check(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (device, masks) = (device(setup, true), parity.masks()?);
    let official = parity.tensors("gradients.safetensors")?;
    let wanted: Vec<&String> = official.keys().filter(|name| !name.contains("pos_embed")).collect();
    let model = parity.model(true, setup, true)?;
    let patches = parity.patches(&device)?;
    let mut checks = Vec::new();
    for (name, loss) in [
        ("gradients (relative)", model.forward(patches.clone(), &masks).loss),
        ("gradients, as trained (relative)", loss_as_trained(&model, patches.clone(), &masks)),
    ] {
        let found = weights::gradients_to_tensors(&model, &loss.backward(), parity.grid())?;
        let missing = wanted.iter().find(|name| !found.contains_key(**name));
        ensure!(missing.is_none(), "`{}` has no gradient", missing.map_or("", |name| name));
        let mut worst = Worst::default();
        for (name, found) in &found {
            let expected = &tensor(&official, name)?.data;
            worst.add(name, relative_difference(&found.data, expected).with_context(|| name.clone())?);
        }
        checks.push(Check::worst(name, worst, setup.arithmetic().tolerance().gradients));
    }
    Ok(checks)
}
