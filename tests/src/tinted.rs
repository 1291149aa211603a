//! Labelled images that a small encoder learns in seconds.

use anyhow::Context as _;
use std::{fs, path::Path};

/// Classes, by their colours.
const CLASSES: [(&str, [u8; 3]); 4] =
    [("blue", [30, 60, 220]), ("green", [40, 200, 60]), ("red", [220, 50, 40]), ("yellow", [210, 200, 30])];

/// Writes `count` generated images of 32 pixels, each tinted with the colour of its class, in folders by class.
///
/// # Errors
/// If they cannot be written.
pub fn write(folder: &Path, count: usize) -> anyhow::Result<()> {
    for index in 0..count {
        let (name, tint) = CLASSES[index % CLASSES.len()];
        let mut pixels = host::data::synthetic::image(7, index, 32, 32).data;
        pixels.iter_mut().zip(tint.iter().cycle()).for_each(|(v, tint)| *v = (*v / 2).saturating_add(tint / 2));
        let class = folder.join(name);
        fs::create_dir_all(&class)?;
        image::RgbImage::from_raw(32, 32, pixels).context("pixels")?.save(class.join(format!("{index:04}.png")))?;
    }
    Ok(())
}
