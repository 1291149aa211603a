//! Features of many images, by the very steps that a board takes: the same preparation, the same patches.

use crate::model::{BurnEncoder, encode::Features};
use common::{
    model::{EncoderSpec, Pooling},
    patch::PatchGrid,
};
use edge::{
    pipeline::visible_patches,
    runtime::ImageEncoder,
    select::{Select, choose},
};
use rayon::prelude::*;

/// Images that burn encodes at once.
const BATCH: usize = 256;

/// Which patches are encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// How patches are chosen.
    pub select: Select,
    /// Share of patches.
    pub keep: f64,
    /// Random choices come from this, one stream an image.
    pub seed: u64,
}

impl Choice {
    /// Every patch.
    pub const ALL: Self = Self { select: Select::All, keep: 1.0, seed: 0 };

    /// The choice of a command line: all patches at 1, random ones below, unless `select` says otherwise.
    ///
    /// # Errors
    /// If `keep` lies outside (0, 1] or contradicts `select`.
    pub fn new(select: Option<Select>, keep: f64, seed: u64) -> anyhow::Result<Self> {
        let select = edge::options::strategy(select, keep)?;
        Ok(Self { select, keep, seed })
    }
}

/// Visible patches of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Visible {
    /// `[V]`, ascending.
    pub ids_keep: Vec<u32>,
    /// `[V, P]`, normalised.
    pub patches: Vec<f32>,
}

/// The visible patches of image number `frame`. `pixels`: `[H, W, C]`.
///
/// # Errors
/// If the pixels do not fit the encoder.
pub fn visible(spec: &EncoderSpec, pixels: &[u8], choice: Choice, frame: u64) -> anyhow::Result<Visible> {
    let grid = spec.grid()?;
    let ids_keep = visible_ids(&grid, choice, frame);
    let mut patches = vec![0.0; ids_keep.len() * grid.patch_dim()];
    visible_patches(spec, &grid, pixels, &ids_keep, &mut vec![0; grid.patch_dim()], &mut patches)?;
    Ok(Visible { ids_keep, patches })
}

/// Numbers of the visible patches of image number `frame`, ascending.
fn visible_ids(grid: &PatchGrid, choice: Choice, frame: u64) -> Vec<u32> {
    let (mut noise, mut ids_keep) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
    let count = choose(choice.select, grid, choice.keep, (choice.seed, frame), &mut noise, &mut ids_keep);
    ids_keep.truncate(count);
    ids_keep
}

/// Encodes images in burn. `images`: `[H, W, C]` each; `tick` is called with the number done.
///
/// # Errors
/// If an image does not fit the encoder.
pub fn with_burn(
    encoder: &BurnEncoder,
    spec: &EncoderSpec,
    images: &[Vec<u8>],
    choice: Choice,
    mut tick: impl FnMut(usize),
) -> anyhow::Result<Vec<Features>> {
    let mut features = Vec::with_capacity(images.len());
    for (chunk, first) in images.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let seen = chunk.par_iter().enumerate().map(|(i, pixels)| visible(spec, pixels, choice, first + i as u64));
        let seen: Vec<Visible> = seen.collect::<anyhow::Result<_>>()?;
        let count = seen.first().map_or(0, |visible| visible.ids_keep.len());
        let ids: Vec<u32> = seen.iter().flat_map(|visible| visible.ids_keep.iter().copied()).collect();
        let patches: Vec<f32> = seen.into_iter().flat_map(|visible| visible.patches).collect();
        features.extend(encoder.encode(&patches, &ids, count)?);
        tick(features.len());
    }
    Ok(features)
}

/// Encodes images one by one in a board's runtime. `first` is the number of the first image, from which its random
/// patches come.
///
/// # Errors
/// If an image does not fit the encoder, or the runtime fails.
pub fn with_board(
    encoder: &mut ImageEncoder<'_>,
    images: &[Vec<u8>],
    (choice, first): (Choice, u64),
    mut tick: impl FnMut(usize),
) -> anyhow::Result<Vec<Features>> {
    let grid = encoder.spec().grid()?;
    let mut features = Vec::with_capacity(images.len());
    for (pixels, frame) in images.iter().zip(first..) {
        let found = encoder.encode(pixels, &visible_ids(&grid, choice, frame))?;
        features.push(Features { cls: found.cls.to_vec(), mean: found.mean.to_vec() });
        tick(features.len());
    }
    Ok(features)
}

/// The pooled feature.
#[must_use]
pub fn pooled(features: Features, pooling: Pooling) -> Vec<f32> {
    match pooling {
        Pooling::Cls => features.cls,
        Pooling::Mean | Pooling::MeanNorm => features.mean,
    }
}
