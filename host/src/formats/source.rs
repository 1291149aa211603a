//! Checkpoint files of other programs: which they are, and what they and the files beside them hold.

use super::pth;
use crate::tensors::{Tensors, safetensors};
use anyhow::{Context as _, bail};
use console::misuse;
use serde_json::{Map, Value as Json};
use std::{
    fs::{self, File},
    io::{BufReader, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

/// Files of weights that a folder may hold, the preferred first.
const WEIGHTS: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "checkpoint.pth"];

/// Numbers that say what shapes cannot, with the place they were found in.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The place, for a person.
    pub origin: String,
    /// Names and values.
    pub values: Map<String, Json>,
}

/// A checkpoint as it is in its file.
#[derive(Debug)]
pub struct Source {
    /// The file of weights.
    pub file: PathBuf,
    /// Parameters by the file's own names.
    pub tensors: Tensors,
    /// What the file and those beside it say, the more trustworthy first.
    pub facts: Vec<Facts>,
}

/// Reads a file, or the weights in a folder; with `config.json` and `preprocessor_config.json` beside it.
///
/// # Errors
/// If there is nothing to read, or it is damaged or foreign.
pub fn open(path: &Path) -> anyhow::Result<Source> {
    let file = match fs::metadata(path) {
        Err(error) => return Err(misuse(format!("cannot read {}: {error}", path.display()))),
        Ok(metadata) if metadata.is_dir() => weights_in(path)?,
        Ok(_) => path.to_owned(),
    };
    let (tensors, arguments) = read(&file)?;
    let mut facts = vec![Facts { origin: "the file's arguments".into(), values: arguments }];
    for name in ["config.json", "preprocessor_config.json"] {
        if let Some(values) = json_beside(&file, name)? {
            facts.push(Facts { origin: name.into(), values });
        }
    }
    Ok(Source { file, tensors, facts })
}

fn weights_in(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.join("model.safetensors.index.json").exists() || folder.join("pytorch_model.bin.index.json").exists() {
        let shown = folder.display();
        return Err(misuse(format!(
            "{shown} has its weights in several files: save them in one, with max_shard_size"
        )));
    }
    if folder.join("run.toml").exists() {
        return Err(misuse(format!("{} is a run folder already: use it as it is", folder.display())));
    }
    let found = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| misuse(format!("{} has no weights: {} is needed", folder.display(), WEIGHTS.join(" or "))))
}

fn read(path: &Path) -> anyhow::Result<(Tensors, Map<String, Json>)> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start).with_context(cannot)?;
    if start.starts_with(b"PK") || pth::is_legacy(&start) {
        std::io::Seek::rewind(&mut file).with_context(cannot)?;
        let pth::Pth { tensors, arguments } = pth::read(BufReader::new(file)).with_context(cannot)?;
        return Ok((tensors, arguments));
    }
    // A safetensors file begins with the length of its header and the header's brace.
    if start.get(8) != Some(&b'{') {
        bail!("{} is neither a PyTorch checkpoint (.pth) nor a safetensors file", path.display());
    }
    let (tensors, metadata) = safetensors::read(path)?;
    // `host export` puts the numbers there as JSON.
    let arguments = metadata.get("mae").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok((tensors, arguments))
}

fn json_beside(file: &Path, name: &str) -> anyhow::Result<Option<Map<String, Json>>> {
    let path = file.with_file_name(name);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let json = serde_json::from_str(&text).with_context(|| format!("{} is no JSON object", path.display()))?;
    Ok(Some(json))
}
