//! Reconstructions of several runs side by side.

use super::{
    canvas::{Canvas, Column},
    fill, hide, tile, whole,
};
use crate::{files, model::MaskBatch, run::RunFolder};
use anyhow::Context as _;
use common::mask;
use imaging::Pixels;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A run in the picture.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Above its columns.
    pub caption: String,
    pub run: PathBuf,
}

/// Draws a row an image: the original, then for each run the visible patches, unless they are those of the run before
/// it, and the reconstruction. Runs mask as they were trained, from one seed. Writes a PNG to `out`.
///
/// # Errors
/// If a run has no checkpoint, the runs have other image sizes, or the picture cannot be written.
pub fn draw(shown: &[Shown], images: &[Arc<Pixels>], out: &Path) -> anyhow::Result<()> {
    let mut columns: Vec<Column> = Vec::new();
    let mut before: Option<MaskBatch> = None;
    for Shown { caption, run } in shown {
        let (folder, config) = RunFolder::open(run)?;
        let (model, target) = fill::load(&folder, &config)?;
        let (grid, train) = (config.model.grid()?, &config.train);
        let views: Vec<Vec<u8>> = images.iter().map(|image| whole(image, &grid)).collect::<Result<_, _>>()?;
        let tiles = |views: &[Vec<u8>]| views.iter().map(|view| tile(view, &grid)).collect();
        if columns.is_empty() {
            columns.push(Column::new("original", tiles(&views)));
        }
        let kept = mask::len_keep(grid.patches(), train.mask_ratio);
        let masks = MaskBatch::draw(train.mask, &grid, kept, 0, 0, views.len());
        let filled = fill::fill(&model, (&config, &target), &views, &masks)?;
        if before.as_ref() == Some(&masks) {
            columns.push(Column::new(caption, tiles(&filled)));
        } else {
            let hidden = views.iter().zip(masks.masks()).map(|(view, mask)| hide(view, &mask.removed(), &grid));
            let hidden = hidden.collect::<Result<Vec<_>, _>>()?;
            columns.push(Column::new("visible", tiles(&hidden)).starts_group());
            columns.push(Column::new(caption, tiles(&filled)));
        }
        before = Some(masks);
    }
    let png = Canvas::compose(&columns).to_png()?;
    files::write_file(out, &png).with_context(|| format!("cannot write {}", out.display()))
}
