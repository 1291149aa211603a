//! Writing a trained head to its file, which `edge` reads.

use super::linear::LinearHead;
use crate::files;
use anyhow::Context as _;
use edge::head_file::{HeadDescription, HeadFile};
use std::path::Path;

/// Writes a head, whole or not at all.
///
/// # Errors
/// If it does not fit its description, or the file cannot be written.
pub fn save(path: &Path, description: HeadDescription, head: &LinearHead) -> anyhow::Result<()> {
    let (weights, bias) = (head.weights.iter().copied().collect(), head.bias.to_vec());
    let file = HeadFile::new(description, weights, bias).map_err(anyhow::Error::msg).context("unusable head")?;
    files::write_file(path, &file.to_bytes()?).with_context(|| format!("cannot write {}", path.display()))
}
