//! The bench of pre-training: what is measured, in which order, and the report.

use super::{
    Spread, flops,
    memory::{self, Since},
    parts::{self, Feed},
    peak,
    step::{StepParts, Stepper, ops, read_loss, sync},
    timing::{Rounds, Speed, time_steps},
};
use crate::{
    data::{dataset::Dataset, loader::Batch},
    device::precision::Precision,
    objective::target::FittedTarget,
    preset::Preset,
};
use anyhow::Context as _;
use burn::tensor::Device;
use common::{
    mask::{generator, uniform},
    normalize::PixelStats,
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Steps before the timed ones.
const WARM_UP: usize = 3;
/// Different batches that the bare steps take in turn.
const BATCHES: usize = 4;
/// Generated images that a target other than pixels takes its components from.
const TARGET_IMAGES: usize = 256;
/// Small, so that the bare steps, which learn from noise, stay finite however many they are.
const LR: f64 = 1e-5;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Name of the preset, for the report.
    pub name: String,
    /// Model and recipe; batch size, masks and seed are those of `train`.
    pub preset: Preset,
    /// Where to compute.
    pub device: Device,
    /// One line about the device.
    pub device_description: String,
    /// Processors and threads, as [`super::threads::bound`] set them.
    pub threads: usize,
    /// At least this many timed steps...
    pub rounds: usize,
    /// ... for at least this long.
    pub seconds: Duration,
    /// Folder of images; the embedded generator without one.
    pub data: Option<PathBuf>,
    /// How pixels are normalised.
    pub pixels: PixelStats,
    /// burn's own operations instead of the fused ones.
    pub plain_ops: bool,
    /// Arithmetic; on a CUDA device no fused operation of the model is used in bf16.
    pub precision: Precision,
}

/// Median milliseconds of each part, measured alone and one after the other.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PartsMs {
    /// Decoding or generating a batch of images, one thread.
    pub load: f64,
    /// Crop, flip, normalise and patchify a batch, one thread.
    pub augment: f64,
    /// Drawing masks, uploading patches.
    pub masks: f64,
    /// Encoder.
    pub forward_encoder: f64,
    /// Decoder.
    pub forward_decoder: f64,
    /// Target and loss.
    pub loss: f64,
    /// All gradients.
    pub backward: f64,
    /// AdamW.
    pub optimizer: f64,
}

/// Arithmetic speed; see [`flops`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Arithmetic {
    /// Matrix operations of one step on the whole batch, 10^9.
    pub gflop_per_step: f64,
    /// By the median bare step, GFLOP/s.
    pub achieved: f64,
    /// The best large matrix product, GFLOP/s.
    pub matrix_peak: f64,
    /// `achieved / matrix_peak`.
    pub share: f64,
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
    /// `fp32` or `bf16`.
    pub precision: &'static str,
    /// All random choices come from it.
    pub seed: u64,
    /// Bare steps: patches are in memory; masks, forward, backward, optimizer.
    #[serde(flatten)]
    pub bare: Speed,
    /// Steps as `host pretrain` does them, with the loader at work.
    pub with_loading: Speed,
    /// `with_loading` over bare, by the medians.
    pub loading_ratio: f64,
    /// Each part alone.
    pub parts_ms: PartsMs,
    /// Arithmetic speed.
    pub gflops: Arithmetic,
    /// Peak resident memory of the bare steps, bytes; nothing where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Since when the peak counts.
    pub peak_memory_since: Since,
    /// Resident memory before the model was made, bytes.
    pub base_memory_bytes: Option<u64>,
    /// The last loss of the bare steps.
    pub loss: f32,
}

/// Measures. `stage` is told what comes next.
///
/// # Errors
/// If the model is impossible, images are too few or cannot be read, or the device fails.
pub fn run(setup: &Setup, stage: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let (model, train) = (&setup.preset.model, &setup.preset.train);
    let (grid, batch_size) = (model.grid()?, train.batch_size);
    let since = memory::reset_peak();
    let base_memory_bytes = memory::resident();

    stage("bare steps");
    let mut stepper = Stepper::new(&setup.preset, &setup.device, setup.plain_ops, setup.precision)?;
    let rng = &mut generator(train.seed, 0);
    let (views, first) = (train.joint.views(), batch_size * grid.image_len());
    let mut noise = || (0..views * first).map(|_| 4.0 * uniform(rng) - 2.0).collect::<Vec<f32>>();
    let batches: Vec<Vec<f32>> = (0..BATCHES).map(|_| noise()).collect();
    let sample = match &setup.data {
        Some(path) => Dataset::open(path, model.channels)?,
        None => Dataset::synthetic(train.seed, TARGET_IMAGES, model.image_height, model.image_width),
    };
    let target = Arc::new(FittedTarget::fit(train.target, &sample, &grid, setup.pixels, train.seed)?);
    let mut turn = batches.iter().cycle();
    // As many as a step takes, copied before the clock starts.
    let mut next = || -> anyhow::Result<VecDeque<Batch>> {
        let batch = |_| {
            let patches = turn.next().context("no batch")?.clone();
            Ok(Batch { target: target.apply(&patches[..first], &grid), patches, indices: Vec::new() })
        };
        (0..train.accumulate).map(batch).collect()
    };
    let take = |batches: &mut VecDeque<Batch>| batches.pop_front().context("no batch");
    let mut loss = 0.0;
    let bare = time_steps(rounds(setup, WARM_UP), train.images_a_step(), &mut |clock| {
        let mut batches = next()?;
        clock.start();
        let step = stepper.step(&mut || take(&mut batches), LR)?;
        sync(&setup.device)?;
        clock.stop();
        loss = read_loss(step)?;
        Ok(())
    })?;
    let peak_memory_bytes = memory::peak();

    stage("parts of a step");
    let (begun, mut laps) = (Instant::now(), Vec::new());
    while laps.len() < setup.rounds || begun.elapsed() < setup.seconds {
        let mut batches = next()?;
        laps.push(stepper.step_in_parts(&mut || take(&mut batches), LR)?);
    }

    stage("matrix peak");
    let matrix_peak = peak::matrix_peak(&setup.device, setup.precision)?;

    let config = train.loader();
    // The batches made ahead must be used up before a steady state is measured, and never run out while it is.
    let warm_up = WARM_UP + config.prefetch + 1;
    let timed = (setup.seconds.as_secs_f64() / (bare.ms.median / 1e3)).ceil() as usize;
    let wanted = (warm_up + timed.max(setup.rounds)) * train.accumulate + config.prefetch + 1;
    let open = || -> anyhow::Result<Dataset> {
        match &setup.data {
            Some(path) => Ok(Dataset::open(path, model.channels)?),
            None => {
                let count = parts::pool_size(wanted, batch_size, &grid);
                Ok(Dataset::synthetic(train.seed, count, model.image_height, model.image_width))
            }
        }
    };
    let dataset = Arc::new(open()?);
    if dataset.len() < batch_size {
        let count = dataset.len();
        return Err(console::misuse(format!("{count} images are fewer than one batch of {batch_size}")));
    }
    stage("loading");
    let load = parts::load(&open()?, batch_size);
    if setup.data.is_none() {
        stage("generating images");
        parts::prepare(&dataset);
    }
    stage("steps with loading");
    let mut feed = Feed::new(dataset.clone(), grid, setup.pixels, config, &target);
    let with_loading = time_steps(rounds(setup, warm_up), train.images_a_step(), &mut |clock| {
        clock.start();
        let step = stepper.step(&mut || feed.next_batch(), LR)?;
        sync(&setup.device)?;
        clock.stop();
        read_loss(step).map(drop)
    })?;
    drop(feed);
    stage("augmentation");
    let augment = parts::augment(&dataset, grid, setup.pixels, config, &target)?;

    let gflop_per_step = flops::training(&setup.preset)? as f64 * train.images_a_step() as f64 / 1e9;
    let achieved = gflop_per_step / (bare.ms.median / 1e3);
    let part = |pick: fn(&StepParts) -> f64| median_ms(&laps.iter().map(pick).collect::<Vec<_>>());
    Ok(Report {
        program: "host",
        version: env!("CARGO_PKG_VERSION"),
        mode: ops(&setup.device, setup.plain_ops, setup.precision).mode(),
        device: setup.device_description.clone(),
        preset: setup.name.clone(),
        batch_size,
        threads: setup.threads,
        precision: setup.precision.name(),
        seed: train.seed,
        loading_ratio: with_loading.images_per_second.median / bare.images_per_second.median,
        with_loading,
        parts_ms: PartsMs {
            load: median_ms(&load)?,
            augment: median_ms(&augment)?,
            masks: part(|p| p.masks)?,
            forward_encoder: part(|p| p.forward_encoder)?,
            forward_decoder: part(|p| p.forward_decoder)?,
            loss: part(|p| p.loss)?,
            backward: part(|p| p.backward)?,
            optimizer: part(|p| p.optimizer)?,
        },
        gflops: Arithmetic { gflop_per_step, achieved, matrix_peak, share: achieved / matrix_peak },
        bare,
        peak_memory_bytes,
        peak_memory_since: since,
        base_memory_bytes,
        loss,
    })
}

fn rounds(setup: &Setup, warm_up: usize) -> Rounds {
    Rounds { warm_up, least: setup.rounds, seconds: setup.seconds }
}

fn median_ms(seconds: &[f64]) -> anyhow::Result<f64> {
    Ok(Spread::of(seconds).context("a part was not timed")?.median * 1e3)
}
