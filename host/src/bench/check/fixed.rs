//! What is computed on the host alone, or only stored: position tables, schedule, masks, parameter layouts.

use super::{Check, Parity, Setup, Worst, files, largest_difference, tolerance};
use crate::{model::weights, train::schedule::Schedule};
use anyhow::{Context as _, ensure};
use common::{mask::Mask, patch::PatchGrid, position::sincos_2d_table};
use serde::Deserialize;

/// The fixed position tables of several widths and grids (`position_tables.safetensors`), named `dWIDTH_gridSIDE`.
///
/// # Errors
/// If the file is missing, damaged or empty.
pub fn position_tables(parity: &Parity) -> anyhow::Result<Vec<Check>> {
    let tables = parity.tensors("position_tables.safetensors")?;
    ensure!(!tables.is_empty(), "position_tables.safetensors holds no table");
    let mut worst = Worst::default();
    for (name, table) in &tables {
        let numbers = name.strip_prefix('d').and_then(|name| name.split_once("_grid"));
        let numbers = numbers.and_then(|(dim, side)| Some((dim.parse().ok()?, side.parse().ok()?)));
        let (dim, side): (usize, usize) = numbers.with_context(|| format!("`{name}` is no table's name"))?;
        let found = sincos_2d_table(&PatchGrid::new(side, side, 1, 1)?, dim, true);
        worst.add(name, largest_difference(&found, &table.data).with_context(|| name.clone())?);
    }
    Ok(vec![Check::worst("position tables", worst, tolerance::POSITIONS)])
}

/// The learning rate at fractional epochs (`lr_schedule.json`), as a share of the peak.
///
/// # Errors
/// If the file is missing, damaged or empty.
pub fn schedule(parity: &Parity) -> anyhow::Result<Vec<Check>> {
    #[derive(Deserialize)]
    struct Case {
        lr: f64,
        min_lr: f64,
        warmup_epochs: f64,
        epochs: f64,
        points: Vec<(f64, f64)>,
    }
    let cases: Vec<Case> = parity.json("lr_schedule.json")?;
    ensure!(!cases.is_empty() && cases.iter().all(|case| case.points.len() > 5), "lr_schedule.json is too short");
    let mut worst = Worst::default();
    for Case { lr, min_lr, warmup_epochs, epochs, points } in cases {
        let schedule = Schedule { lr, min_lr, warmup_epochs, epochs };
        for (epoch, expected) in points {
            worst.add(&format!("epoch {epoch} of {epochs}"), (schedule.at(epoch) - expected).abs() / lr);
        }
    }
    Ok(vec![Check::worst("learning-rate schedule (relative)", worst, tolerance::SCHEDULE)])
}

/// `ids_keep`, `ids_restore` and the 0/1 mask that the noise gives: equal.
///
/// # Errors
/// If a tensor is missing or has another length.
pub fn masks(parity: &Parity) -> anyhow::Result<Vec<Check>> {
    let masks = parity.masks()?;
    let flat = |f: fn(&Mask) -> Vec<f32>| masks.masks().iter().flat_map(f).collect::<Vec<_>>();
    let ids_keep = flat(|mask| mask.ids_keep.iter().map(|i| *i as f32).collect());
    let ids_restore = flat(|mask| mask.ids_restore.iter().map(|i| *i as f32).collect());
    let removed = flat(|mask| mask.removed().iter().map(|i| f32::from(*i)).collect());
    let mut worst = Worst::default();
    for (name, found) in [("ids_keep", ids_keep), ("ids_restore", ids_restore), ("mask", removed)] {
        let expected = &parity.of_forward(name)?.data;
        worst.add(name, largest_difference(&found, expected).with_context(|| name.to_owned())?);
    }
    Ok(vec![Check::worst("masks", worst, tolerance::EQUAL)])
}

/// Parameters through the device and back in the official layouts: equal.
///
/// # Errors
/// If a parameter is missing, or one is lost or added.
pub fn round_trip(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let found = weights::to_tensors(&parity.model(true, setup, false)?, parity.grid())?;
    let mut worst = Worst::default();
    for (name, tensor) in &found {
        let expected = files::tensor(&parity.checkpoint, name)?;
        ensure!(tensor.shape == expected.shape, "`{name}` is {:?}, not {:?}", tensor.shape, expected.shape);
        worst.add(name, largest_difference(&tensor.data, &expected.data)?);
    }
    let wanted = parity.checkpoint.keys().filter(|name| !name.contains("pos_embed")).count();
    ensure!(found.len() == wanted, "{} of {wanted} parameters came back", found.len());
    Ok(vec![Check::worst("parameters, there and back", worst, tolerance::EQUAL)])
}
