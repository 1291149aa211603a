//! Speed of fine-tuning steps, by the part that is trained. Patches are in memory: no augmentation, no loader.

use super::{
    processor,
    step::{read_loss, sync},
    timing::{Rounds, Speed, time_steps},
};
use crate::{
    model::{
        Classifier, MaeConfig,
        classifier::{HeadPool, Trained, drop_path},
        ops::Ops,
    },
    train::{
        finetune::{groups::finetuning_groups, task::cross_entropy},
        optimizer::{AdamWHyper, Optimizer},
    },
};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor, TensorData};
use common::{
    mask::{generator, uniform},
    model::PositionKind,
};
use serde::Serialize;

/// Of the head.
const CLASSES: usize = 10;
/// Small, because nothing is to be learned from noise.
const LR: f64 = 1e-5;
/// The recipe's.
const DROP_PATH: f64 = 0.1;
const LAYER_DECAY: f64 = 0.75;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Name of the preset, for the report.
    pub name: String,
    /// Geometry.
    pub model: MaeConfig,
    /// Images a step.
    pub batch_size: usize,
    /// Where to compute.
    pub device: Device,
    /// One line about the device.
    pub device_description: String,
    /// Processors and threads, as [`super::threads::bound`] set them.
    pub threads: usize,
    /// How many steps.
    pub rounds: Rounds,
    /// burn's own operations instead of the fused ones.
    pub plain_ops: bool,
    /// All random choices come from it.
    pub seed: u64,
}

/// The steps of one part.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What is trained.
    pub trained: &'static str,
    /// By the clock.
    #[serde(flatten)]
    pub speed: Speed,
    /// By the processor time of the whole process; nothing where the system does not tell, or for less than a tenth
    /// of a second.
    pub images_per_cpu_second: Option<f64>,
}

/// The report, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `host`.
    pub program: &'static str,
    /// Of this program.
    pub version: &'static str,
    /// `fused` or `plain`.
    pub mode: &'static str,
    /// One line about the device.
    pub device: String,
    /// Name of the preset.
    pub preset: String,
    /// Images a step.
    pub batch_size: usize,
    /// Processors and threads.
    pub threads: usize,
    /// All random choices come from it.
    pub seed: u64,
    /// From all parameters to the head alone.
    pub rows: Vec<Row>,
}

/// Measures. `stage` is told what comes next.
///
/// # Errors
/// If the model is impossible, or the device fails.
pub fn run(setup: &Setup, stage: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let parts = [
        ("all", Trained::All, true),
        ("all but positions", Trained::All, false),
        ("last block", Trained::Blocks(1), false),
        ("last block's MLP", Trained::HalfBlock, false),
        ("head", Trained::Head, false),
    ];
    let mut rows = Vec::new();
    for (name, trained, positions) in parts {
        stage(name);
        rows.push(row(setup, name, trained, positions)?);
    }
    Ok(Report {
        program: "host",
        version: env!("CARGO_PKG_VERSION"),
        mode: if setup.plain_ops { "plain" } else { "fused" },
        device: setup.device_description.clone(),
        preset: setup.name.clone(),
        batch_size: setup.batch_size,
        threads: setup.threads,
        seed: setup.seed,
        rows,
    })
}

fn row(setup: &Setup, name: &'static str, trained: Trained, positions: bool) -> anyhow::Result<Row> {
    let (device, batch) = (setup.device.clone().autodiff(), setup.batch_size);
    let position = if positions { PositionKind::Stored } else { setup.model.position };
    let config = MaeConfig { position, ..setup.model.clone() };
    let (grid, depth, ops) = (config.grid()?, config.depth, if setup.plain_ops { Ops::Plain } else { Ops::Fused });
    let model = Classifier::new(&config, CLASSES, HeadPool::Mean, setup.seed, &device)?.with_ops(ops);
    let mut model = model.with_trained(trained);
    if positions {
        model = model.with_trained_positions();
    }
    let hyper = AdamWHyper { beta1: 0.9, beta2: 0.999, weight_decay: 0.05 };
    let mut optimizer = Optimizer::new(hyper).with_ops(ops).with_groups(finetuning_groups(depth, LAYER_DECAY));
    let rng = &mut generator(setup.seed, 0);
    let pixels: Vec<f32> = (0..batch * grid.image_len()).map(|_| 4.0 * uniform(rng) - 2.0).collect();
    let ids: Vec<i32> = (0..batch).flat_map(|_| 0..grid.patches() as i32).collect();
    let targets: Vec<f32> =
        (0..batch * CLASSES).map(|i| f32::from(u8::from(i % CLASSES == i / CLASSES % CLASSES))).collect();
    let (rows, mut number, mut held) = (ids.len(), 0_u64, Some(model));
    let (mut before, warm_up) = (None, setup.rounds.warm_up as u64);
    let speed = time_steps(setup.rounds, batch, &mut |clock| {
        if number == warm_up {
            before = processor::seconds();
        }
        let (pixels, ids) = (pixels.clone(), ids.clone());
        clock.start();
        let visible = Tensor::from_data(TensorData::new(pixels, [rows, grid.patch_dim()]), &device);
        let places = Tensor::from_data(TensorData::new(ids, [rows]), &device);
        let factors = drop_path(depth, batch, DROP_PATH, setup.seed, number);
        let model = held.take().context("the model was lost in a step that failed")?;
        let logits = model.forward(visible, places, batch, &factors).logits;
        let targets = Tensor::from_data(TensorData::new(targets.clone(), [batch, CLASSES]), &device);
        let loss = cross_entropy(logits, targets);
        let gradients = loss.backward();
        held = Some(optimizer.step(model, gradients, LR));
        sync(&setup.device)?;
        clock.stop();
        number += 1;
        read_loss(loss.inner()).map(drop)
    })?;
    let spent = processor::seconds().zip(before).map(|(after, before)| after - before);
    let images = ((number - warm_up) * batch as u64) as f64;
    // The clock of processor time ticks a hundred times a second.
    let images_per_cpu_second = spent.filter(|spent| *spent >= 0.1).map(|spent| images / spent);
    Ok(Row { trained: name, speed, images_per_cpu_second })
}
