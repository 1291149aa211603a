//! Labelled images of the embedded generator, for a sweep without images of its own.

use crate::{
    data::{synthetic, texture::PATTERNS},
    files,
    model::MaeConfig,
};
use anyhow::Context as _;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Training images.
pub const TRAIN: usize = 2000;
/// Test images.
pub const TEST: usize = 1000;
/// The generator's seed, which no pre-training has by chance: pre-training sees none of these images.
const SEED: u64 = 0x1abe_11ed;

/// Folders of training and test images in `out`, one folder a class.
#[must_use]
pub fn folders(out: &Path) -> (PathBuf, PathBuf) {
    (out.join("images/train"), out.join("images/test"))
}

/// Writes them, unless they are there.
///
/// # Errors
/// Those of the file system.
pub fn write(out: &Path, model: &MaeConfig) -> anyhow::Result<()> {
    let folder = out.join("images");
    if folder.exists() {
        return Ok(());
    }
    let (height, width) = (model.image_height, model.image_width);
    files::write_folder(&folder, |root| -> anyhow::Result<()> {
        (0..TRAIN + TEST).into_par_iter().try_for_each(|index| {
            let part = if index < TRAIN { "train" } else { "test" };
            let class = root.join(part).join(PATTERNS[index % PATTERNS.len()].1);
            std::fs::create_dir_all(&class)?;
            let pixels = synthetic::image(SEED, index, height, width);
            let image = image::RgbImage::from_raw(width as u32, height as u32, pixels.data);
            image.context("the image has no area")?.save(class.join(format!("{index:05}.png")))?;
            Ok(())
        })
    })
    .with_context(|| format!("cannot write {}", folder.display()))
}
