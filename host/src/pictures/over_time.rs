//! The same images, with the same masks, reconstructed at several moments of a training.

use super::{fill::fill, hide, samples, whole};
use crate::{
    data::dataset::Dataset,
    files,
    model::MaskBatch,
    objective::{Learner, target::FittedTarget},
    run::RunConfig,
};
use anyhow::Context as _;
use burn::module::Module as _;
use common::{mask, patch::PatchGrid};
use image::{RgbaImage, imageops};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Sides of a tile in the picture, pixels: smaller images are enlarged, larger ones shrunk.
const TILE: usize = 96;
/// Clear pixels between tiles.
const GAP: usize = 4;
/// The picture of the images themselves, in a run's `pictures/`.
pub const ORIGINALS: &str = "original.png";
/// The picture of the visible patches.
pub const VISIBLE: &str = "visible.png";

/// The picture after `epoch` epochs.
#[must_use]
pub fn path(pictures: &Path, epoch: usize) -> PathBuf {
    pictures.join(format!("epoch-{epoch:04}.png"))
}

/// The pictures that are there, by epoch.
///
/// # Errors
/// If the folder is there and cannot be read.
pub fn list(pictures: &Path) -> anyhow::Result<Vec<(usize, PathBuf)>> {
    if !pictures.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read {}", pictures.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(pictures).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let epoch = name.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".png"));
        if let Some(epoch) = epoch.and_then(|digits| digits.parse().ok()) {
            found.push((epoch, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the pictures of epochs after `epoch`.
///
/// # Errors
/// Those of the file system.
pub fn forget_after(pictures: &Path, epoch: usize) -> anyhow::Result<()> {
    for (_, path) in list(pictures)?.into_iter().filter(|(drawn, _)| *drawn > epoch) {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Images side by side.
#[derive(Debug, Clone)]
pub struct Strip(RgbaImage);

impl Strip {
    /// Height and width, pixels.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.0.height() as usize, self.0.width() as usize)
    }

    /// The picture as PNG bytes.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn to_png(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        self.0.write_to(&mut bytes, image::ImageFormat::Png).context("encoding the picture")?;
        Ok(bytes.into_inner())
    }

    /// Writes a PNG.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        files::write_file(path, &self.to_png()?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn of(views: &[Vec<u8>], grid: &PatchGrid) -> anyhow::Result<Self> {
        let (height, width, side) = (grid.height(), grid.width(), grid.height().max(grid.width()));
        let scaled = |length: usize| match side {
            // Whole factors keep pixels square.
            side if side <= TILE => length * TILE.div_ceil(side),
            side => (length * TILE / side).max(1),
        };
        let (tile_height, tile_width) = (scaled(height), scaled(width));
        let total = views.len() * (tile_width + GAP) - GAP;
        let mut strip = RgbaImage::new(total as u32, tile_height as u32);
        let filter = if side <= TILE { imageops::FilterType::Nearest } else { imageops::FilterType::Triangle };
        for (place, view) in views.iter().enumerate() {
            let rgba = super::tile(view, grid).rgb.chunks_exact(3).flat_map(|c| [c[0], c[1], c[2], 255]).collect();
            let tile = RgbaImage::from_raw(width as u32, height as u32, rgba).context("the image has no area")?;
            let tile = imageops::resize(&tile, tile_width as u32, tile_height as u32, filter);
            imageops::replace(&mut strip, &tile, (place * (tile_width + GAP)) as i64, 0);
        }
        Ok(Self(strip))
    }
}

/// A few images of a data set with their masks, prepared once.
#[derive(Debug)]
pub struct FixedImages {
    grid: PatchGrid,
    /// `[H, W, C]` each.
    views: Vec<Vec<u8>>,
    masks: MaskBatch,
    target: FittedTarget,
}

impl FixedImages {
    /// Up to `count` images spread over `dataset`, masked as the run of `config` masks; `None` if none is readable.
    ///
    /// # Errors
    /// If the model's geometry is impossible.
    pub fn new(
        dataset: &Dataset,
        config: &RunConfig,
        target: FittedTarget,
        count: usize,
    ) -> anyhow::Result<Option<Self>> {
        let (grid, train) = (config.model.grid()?, &config.train);
        let views: Vec<Vec<u8>> =
            samples(dataset, count).iter().map(|image| whole(image, &grid)).collect::<Result<_, _>>()?;
        if views.is_empty() {
            return Ok(None);
        }
        let kept = mask::len_keep(grid.patches(), train.mask_ratio);
        let masks = MaskBatch::draw(train.mask, &grid, kept, train.seed, 0, views.len());
        Ok(Some(Self { grid, views, masks, target }))
    }

    /// Writes the images and their visible patches into `pictures`. Pictures of other images that are there, of a run
    /// that goes on with other data, are removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, pictures: &Path) -> anyhow::Result<(Strip, Strip)> {
        let originals = Strip::of(&self.views, &self.grid)?;
        let masks = self.views.iter().zip(self.masks.masks());
        let hidden: Vec<_> =
            masks.map(|(view, mask)| hide(view, &mask.removed(), &self.grid)).collect::<Result<_, _>>()?;
        let visible = Strip::of(&hidden, &self.grid)?;
        let path = pictures.join(ORIGINALS);
        if fs::read(&path).is_ok_and(|before| originals.to_png().is_ok_and(|png| png != before)) {
            forget_after(pictures, 0)?;
        }
        originals.write(&path)?;
        visible.write(&pictures.join(VISIBLE))?;
        Ok((originals, visible))
    }

    /// The images with their removed patches as `model` predicts them.
    ///
    /// # Errors
    /// If the device cannot give the prediction back.
    pub fn reconstruction(&self, config: &RunConfig, model: &Learner) -> anyhow::Result<Strip> {
        let model = model.valid();
        let shown = fill(&model, (config, &self.target), &self.views, &self.masks)?;
        Strip::of(&shown, &self.grid)
    }
}
