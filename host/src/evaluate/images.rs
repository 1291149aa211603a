//! Images of a folder as an encoder's input, with a progress bar and a word about broken ones.

use crate::{data::folder::find, progress::bar};
use common::model::EncoderSpec;
use imaging::prepare;
use std::path::Path;

/// Prepared images.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Paths within the folder.
    pub names: Vec<String>,
    /// `[H, W, C]` each.
    pub images: Vec<Vec<u8>>,
    /// Class of each image, by the name of the first sub-folder; empty if images lie in the folder itself.
    pub labels: Vec<String>,
}

/// Reads up to `limit` images, evenly spread; broken ones are named on standard error and left out.
///
/// # Errors
/// If the folder holds none, or none that can be decoded.
pub fn prepared(folder: &Path, spec: &EncoderSpec, limit: Option<usize>) -> anyhow::Result<Prepared> {
    let files = find(folder).map_err(|error| console::misuse(error.to_string()))?;
    let step = limit.map_or(1, |limit| files.len().div_ceil(limit.max(1)));
    let bar = bar(files.len().div_ceil(step), "reading images");
    let (mut out, mut broken) = (Prepared::default(), 0);
    for file in files.iter().step_by(step) {
        bar.inc(1);
        match imaging::open(file, spec.channels as usize).and_then(|image| prepare(image, spec)) {
            Ok(pixels) => {
                let name = file.strip_prefix(folder).ok().filter(|name| !name.as_os_str().is_empty());
                let name = name.or(file.file_name().map(Path::new)).unwrap_or(file);
                let mut parts = name.components();
                if let (Some(class), Some(_)) = (parts.next(), parts.next()) {
                    out.labels.push(class.as_os_str().to_string_lossy().into_owned());
                }
                out.names.push(name.display().to_string());
                out.images.push(pixels);
            }
            Err(error) => {
                broken += 1;
                if broken <= 10 {
                    bar.suspend(|| console::note!("warning: skipped {error}"));
                }
            }
        }
    }
    bar.finish_and_clear();
    if broken > 0 {
        console::note!("warning: {broken} images skipped in all");
    }
    anyhow::ensure!(
        !out.images.is_empty(),
        "none of the {broken} images in {} can be decoded; are they damaged?",
        folder.display()
    );
    Ok(out)
}
