//! Pictures of what was learned.

pub mod canvas;
pub mod fill;
pub mod font;
pub mod matrix;
pub mod over_time;
pub mod side_by_side;

use crate::{
    data::dataset::Dataset,
    model::MaskBatch,
    run::{RunConfig, RunFolder},
};
use anyhow::Context as _;
use canvas::{Canvas, Column, Tile};
use common::{
    mask::{self, MaskKind},
    patch::PatchGrid,
};
use imaging::{Crop, Pixels, resize};
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
    let grid = config.model.grid()?;
    let (model, target) = fill::load(run, config)?;
    let kinds = only.map_or_else(|| KINDS.to_vec(), |kind| vec![(kind, kind.name())]);

    let views: Vec<Vec<u8>> = images.iter().map(|image| whole(image, &grid)).collect::<Result<_, _>>()?;
    let mut columns = vec![Column::new("original", views.iter().map(|view| tile(view, &grid)).collect())];
    for (kind, caption) in kinds {
        let kept = mask::len_keep(grid.patches(), mask_ratio);
        let masks = MaskBatch::draw(kind, &grid, kept, config.train.seed, 0, views.len());
        let filled = fill::fill(&model, (config, &target), &views, &masks)?;
        let hidden = views.iter().zip(masks.masks()).map(|(view, mask)| hide(view, &mask.removed(), &grid));
        let hidden = hidden.collect::<Result<Vec<_>, _>>()?;
        columns.push(Column::new(caption, hidden.iter().map(|view| tile(view, &grid)).collect()).starts_group());
        columns.push(Column::new("reconstruction", filled.iter().map(|view| tile(view, &grid)).collect()));
    }
    let png = Canvas::compose(&columns).to_png()?;
    crate::files::write_file(out, &png).with_context(|| format!("cannot write {}", out.display()))
}

fn whole(image: &Pixels, grid: &PatchGrid) -> anyhow::Result<Vec<u8>> {
    Ok(resize(image, Crop::whole(image), grid.height(), grid.width())?)
}

/// The view with removed patches gray.
fn hide(view: &[u8], removed: &[u8], grid: &PatchGrid) -> anyhow::Result<Vec<u8>> {
    let (mut hidden, gray) = (view.to_vec(), vec![GRAY; grid.patch_dim()]);
    for (index, _) in removed.iter().enumerate().filter(|(_, removed)| **removed == 1) {
        grid.insert(&mut hidden, index, &gray)?;
    }
    Ok(hidden)
}

fn tile(view: &[u8], grid: &PatchGrid) -> Tile {
    Tile { height: grid.height(), width: grid.width(), rgb: rgb(view, grid.channels()) }
}

/// RGB for the eye, `[H, W, 3]`. `view`: `[H, W, C]`; one and two channels become gray, the fourth is left out.
#[must_use]
pub fn rgb(view: &[u8], channels: usize) -> Vec<u8> {
    let pixels = view.chunks_exact(channels.max(1)).flat_map(|pixel| match pixel {
        [r, g, b, ..] => [*r, *g, *b],
        [gray, ..] => [*gray; 3],
        [] => [0; 3],
    });
    pixels.collect()
}
