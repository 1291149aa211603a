//! Shards as webdataset writes them.

use anyhow::Context as _;
use std::{fs::File, io::Cursor, path::Path};
use tar::{Builder, Header};

/// A generated image as PNG.
///
/// # Errors
/// If the encoder fails.
pub fn png(index: usize) -> anyhow::Result<Vec<u8>> {
    let (height, width) = (20 + index % 3 * 4, 20 + index % 4 * 3);
    let pixels = host::data::synthetic::image(99, index, height, width);
    let image = image::RgbImage::from_raw(width as u32, height as u32, pixels.data).context("pixels")?;
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// Writes a shard of members with these names and contents.
///
/// # Errors
/// If it cannot be written.
pub fn write<'a>(path: &Path, members: impl IntoIterator<Item = (String, &'a [u8])>) -> anyhow::Result<()> {
    let mut tar = Builder::new(File::create(path)?);
    for (name, content) in members {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content)?;
    }
    tar.finish()?;
    Ok(())
}

/// Writes shards `train-000.tar` and on, of `each` samples, each an image and its class.
///
/// # Errors
/// If they cannot be written.
pub fn write_all(folder: &Path, shards: usize, each: usize) -> anyhow::Result<()> {
    for shard in 0..shards {
        let images: Vec<_> = (shard * each..(shard + 1) * each).map(png).collect::<anyhow::Result<_>>()?;
        let members = images.iter().enumerate().flat_map(|(place, image)| {
            let key = format!("{:06}", shard * each + place);
            [(format!("{key}.PNG"), &image[..]), (format!("{key}.cls"), &b"7"[..])]
        });
        write(&folder.join(format!("train-{shard:03}.tar")), members)?;
    }
    Ok(())
}
