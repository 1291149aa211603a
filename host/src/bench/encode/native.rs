//! The native encoder in this process, and where its time goes.

use super::{
    contender::{Contender, time},
    inputs::Input,
    report::{Part, Parts},
};
use crate::bench::Spread;
use anyhow::{Context as _, bail};
use common::model::EncoderSpec;
use edge::{
    model_folder::ModelFolder,
    native::{
        Encoder, Kernels, Patches, Product,
        pack::{PACKED_STEP, packed_len, packed_tile},
        profile::{Profile, Stage},
    },
    native_file::NativeFile,
    options::kernels,
};
use std::time::{Duration, Instant};

/// The native encoder on one thread.
#[derive(Debug)]
pub struct Native<'a> {
    encoder: Encoder<'a>,
    kernels: &'static str,
}

impl<'a> Native<'a> {
    /// An encoder for up to `most` visible patches.
    ///
    /// # Errors
    /// If the file is damaged, or this machine lacks the kernels.
    pub fn new(file: &'a NativeFile, folder: &ModelFolder, name: Option<&str>, most: usize) -> anyhow::Result<Self> {
        let kernels = kernels(name)?;
        Ok(Self { encoder: Encoder::allocate(file.model(folder)?, kernels, most, 1)?, kernels: kernels.name })
    }

    /// Name of the kernels.
    #[must_use]
    pub fn kernels(&self) -> &'static str {
        self.kernels
    }
}

impl Contender for Native<'_> {
    fn name(&self) -> &str {
        "native"
    }

    fn run(&mut self, input: &Input, repeat: usize) -> anyhow::Result<f64> {
        time(repeat, || Ok(self.encoder.encode(Patches::Pixels(&input.pixels), &input.ids_keep).map(drop)?))
    }

    fn feature(&mut self, input: &Input) -> anyhow::Result<Vec<f32>> {
        Ok(self.encoder.encode(Patches::Pixels(&input.pixels), &input.ids_keep)?.mean.to_vec())
    }
}

/// Where the time goes, for each input: medians over `rounds` encodings.
///
/// # Errors
/// As [`Native::new`].
pub fn parts(
    file: &NativeFile,
    folder: &ModelFolder,
    name: Option<&str>,
    inputs: &[Input],
    rounds: usize,
) -> anyhow::Result<Vec<Parts>> {
    let (model, own) = (file.model(folder)?, kernels(name)?);
    let peak = peak(own)?;
    let most = inputs.iter().map(|input| input.ids_keep.len()).max().unwrap_or(1);
    let mut encoder = Encoder::allocate(model, own, most, 1)?;
    let mut found = Vec::new();
    for input in inputs {
        let (mut totals, mut spent) = (Vec::new(), Vec::new());
        // The first warms up.
        for round in 0..=rounds.max(5) {
            let (profile, begun) = (Profile::start(), Instant::now());
            encoder.encode_with(Patches::Pixels(&input.pixels), &input.ids_keep, &profile)?;
            let total = begun.elapsed().as_secs_f64();
            if round > 0 {
                totals.push(total * 1e3);
                spent.push(profile.seconds());
            }
        }
        let median = |values: &[f64]| Spread::of(values).map_or(f64::NAN, |spread| spread.median);
        let (total_ms, visible) = (median(&totals), input.ids_keep.len());
        let part = |(i, stage): (usize, Stage)| {
            let ms = median(&spent.iter().map(|seconds| seconds[i] * 1e3).collect::<Vec<_>>());
            let gops = operations(model.spec(), stage, visible).map(|operations| operations / ms / 1e6);
            Part { name: stage.name(), ms, share: ms / total_ms, gops, of_peak: gops.map(|gops| gops / peak) }
        };
        let parts = Stage::ALL.into_iter().enumerate().map(part).collect();
        found.push(Parts { visible, total_ms, peak_gops: peak, parts });
    }
    Ok(found)
}

/// Integer multiplications and additions of a stage's products, from the geometry and without padding; `None` for
/// stages without products. Attention's second product counts twice: its weights have two digits.
fn operations(spec: &EncoderSpec, stage: Stage, visible: usize) -> Option<f64> {
    let values = f64::from(spec.patch_size) * f64::from(spec.patch_size) * f64::from(spec.channels);
    let (dim, mlp, depth) = (f64::from(spec.dim), spec.mlp_dim() as f64, f64::from(spec.depth));
    let (visible, tokens) = (visible as f64, visible as f64 + 1.0);
    match stage {
        Stage::Embedding => Some(2.0 * visible * dim * values),
        Stage::Product => Some(depth * 2.0 * tokens * dim * (4.0 * dim + 2.0 * mlp)),
        Stage::AttentionProduct => Some(depth * 2.0 * tokens * tokens * dim * 3.0),
        _ => None,
    }
}

/// The best of several products whose operands fit the first-level cache, multiplications and additions in thousand
/// millions a second.
fn peak(kernels: &Kernels) -> anyhow::Result<f64> {
    let mut best = 0.0_f64;
    for (m, n, k) in [(24, 32, 256), (48, 32, 256), (24, 64, 192), (24, 16, 512), (32, 64, 256)] {
        let (a, b) = (vec![1; m * k], vec![2; packed_len(n, k)]);
        let mut c = vec![0; m * n];
        let begun = Instant::now();
        let mut done = 0.0;
        while begun.elapsed() < Duration::from_millis(40) {
            let chunk = Instant::now();
            for _ in 0..32 {
                let (b_tile, b_step) = (packed_tile(k), PACKED_STEP);
                if !(kernels.product)(Product {
                    a: &a,
                    unsigned: false,
                    lda: k,
                    m,
                    b: &b,
                    b_tile,
                    b_step,
                    n,
                    k,
                    c: &mut c,
                    ldc: n,
                }) {
                    bail!("the product of the peak was refused");
                }
                std::hint::black_box(&mut c);
            }
            done = f64::max(done, 32.0 / chunk.elapsed().as_secs_f64());
        }
        best = best.max(done * 2.0 * (m * n * k) as f64 / 1e9);
    }
    (best > 0.0).then_some(best).context("the peak could not be measured")
}
