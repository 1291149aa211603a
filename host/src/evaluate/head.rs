//! Writing a trained head to its file, which `edge` reads.

use super::linear::LinearHead;
use crate::files;
use anyhow::Context as _;
use console::misuse;
use edge::head_file::{FILE_NAME, HeadDescription, HeadFile};
use std::path::{Path, PathBuf};

/// The file that `--out-head` means: a folder stands for the usual name in it.
///
/// # Errors
/// If it is neither a folder nor ends in .safetensors.
pub fn file_at(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.join(FILE_NAME));
    }
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(misuse(format!(
            "--out-head {}: name a folder that is there, or a file that ends in .safetensors",
            path.display()
        )));
    }
    Ok(path.into())
}

/// Writes a head, whole or not at all.
///
/// # Errors
/// If it does not fit its description, or the file cannot be written.
pub fn save(path: &Path, description: HeadDescription, head: &LinearHead) -> anyhow::Result<()> {
    let (weights, bias) = (head.weights.iter().copied().collect(), head.bias.to_vec());
    let file = HeadFile::new(description, weights, bias).map_err(anyhow::Error::msg).context("unusable head")?;
    files::write_file(path, &file.to_bytes()?).with_context(|| format!("cannot write {}", path.display()))
}
