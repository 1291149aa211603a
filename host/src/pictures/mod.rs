//! Pictures of what was learned.

pub mod canvas;
pub mod font;
pub mod matrix;
pub mod over_time;

use crate::{
    data::dataset::Dataset,
    model::{Mae, MaskBatch, weights},
    train::{
        run_folder::{RunConfig, RunFolder},
        target::FittedTarget,
    },
};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor, TensorData};
use canvas::{Canvas, Column, Tile};
use common::{
    mask::{self, MaskKind},
    normalize::PatchStats,
    patch::PatchGrid,
};
use edge::image_source::{Crop, Pixels, resize};
use std::{path::Path, sync::Arc};

/// Value of a removed patch in the picture of the mask.
const GRAY: u8 = 128;

/// The kinds of mask that a picture shows, with their captions.
const KINDS: [(MaskKind, &str); 3] =
    [(MaskKind::Random, "random"), (MaskKind::Block, "block"), (MaskKind::Grid, "grid")];

/// Up to `count` readable images, spread evenly over a data set.
#[must_use]
pub fn samples(dataset: &Dataset, count: usize) -> Vec<Arc<Pixels>> {
    // An odd step keeps the samples from falling into one class of a set that is ordered by class.
    let step = (dataset.len() / count.max(1)).max(1);
    let odd = step | 1;
    let step = if odd * count.saturating_sub(1) < dataset.len() { odd } else { (step - 1).max(1) };
    (0..dataset.len()).step_by(step).filter_map(|index| dataset.image(index).ok()).take(count).collect()
}

/// Draws the paper's figure 3 for each image, a row an image: the original, and for each kind of mask (or `only`)
/// the visible patches and the reconstruction with the visible patches pasted back. Writes a PNG to `out`.
///
/// # Errors
/// If the run has no checkpoint, or the picture cannot be written.
pub fn reconstruct(
    run: &RunFolder,
    config: &RunConfig,
    images: &[Arc<Pixels>],
    only: Option<MaskKind>,
    mask_ratio: f64,
    out: &Path,
) -> anyhow::Result<()> {
    let device = Device::flex();
    let grid = config.model.grid()?;
    let model = Mae::new(&config.model, 0, &device)?;
    let model = weights::load_tensors(model, &run.load()?.model, &grid).map_err(|error| config.explain(error))?;
    let target = FittedTarget::load(config.train.target, run.path(), &grid)?;
    let kinds = only.map_or_else(|| KINDS.to_vec(), |kind| vec![(kind, kind.name())]);

    let views: Vec<Vec<u8>> = images.iter().map(|image| whole(image, &grid)).collect::<Result<_, _>>()?;
    let patches = patchify(&views, &grid, config)?;
    let mut columns = vec![Column::new("original", views.iter().map(|view| tile(view, &grid)).collect())];
    for (kind, caption) in kinds {
        let kept = mask::len_keep(grid.patches(), mask_ratio);
        let masks = MaskBatch::draw(kind, &grid, kept, config.train.seed, 0, views.len());
        let shape = [views.len(), grid.patches(), grid.patch_dim()];
        let input = Tensor::<3>::from_data(TensorData::new(patches.clone(), shape), &device);
        let pred = model.forward(input, &masks).pred.try_into_vec_as::<f32>();
        let pred = pred.map_err(|e| anyhow::anyhow!("{e}")).context("reading the prediction")?;
        let (mut masked, mut filled) = (Vec::new(), Vec::new());
        let images = views.iter().zip(patches.chunks_exact(grid.image_len()));
        for ((view, patches), (pred, mask)) in images.zip(pred.chunks_exact(grid.image_len()).zip(masks.masks())) {
            let removed = mask.removed();
            let (hidden, shown) =
                (hide(view, &removed, &grid)?, paste(view, patches, pred, &removed, (config, &target))?);
            masked.push(tile(&hidden, &grid));
            filled.push(tile(&shown, &grid));
        }
        columns.push(Column::new(caption, masked).starts_group());
        columns.push(Column::new("reconstruction", filled));
    }
    let png = Canvas::compose(&columns).to_png()?;
    crate::checkpoint::atomic::write_file(out, &png).with_context(|| format!("cannot write {}", out.display()))
}

fn whole(image: &Pixels, grid: &PatchGrid) -> anyhow::Result<Vec<u8>> {
    Ok(resize(image, Crop::whole(image), grid.height(), grid.width())?)
}

/// Normalised patches of all views, `[B, L, P]`.
fn patchify(views: &[Vec<u8>], grid: &PatchGrid, config: &RunConfig) -> anyhow::Result<Vec<f32>> {
    let mut patches = vec![0.0; views.len() * grid.image_len()];
    let mut image = vec![0.0; grid.image_len()];
    for (view, patches) in views.iter().zip(patches.chunks_exact_mut(grid.image_len())) {
        config.pixels.normalize_image(view, grid.channels(), &mut image);
        grid.patchify(&image, patches)?;
    }
    Ok(patches)
}

/// The view with removed patches gray.
fn hide(view: &[u8], removed: &[u8], grid: &PatchGrid) -> anyhow::Result<Vec<u8>> {
    let (mut hidden, gray) = (view.to_vec(), vec![GRAY; grid.patch_dim()]);
    for (index, _) in removed.iter().enumerate().filter(|(_, removed)| **removed == 1) {
        grid.insert(&mut hidden, index, &gray)?;
    }
    Ok(hidden)
}

/// The view with removed patches predicted; a normalised prediction gets the patch's own mean and deviation back, and what
/// the target leaves out of the image comes from the original.
fn paste(
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

/// RGB for the eye: one and two channels become gray, the fourth is left out.
fn tile(view: &[u8], grid: &PatchGrid) -> Tile {
    let rgb = view.chunks_exact(grid.channels()).flat_map(|pixel| match pixel {
        [r, g, b, ..] => [*r, *g, *b],
        [gray, ..] => [*gray; 3],
        [] => [0; 3],
    });
    Tile { height: grid.height(), width: grid.width(), rgb: rgb.collect() }
}
