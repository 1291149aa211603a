//! Checkpoints in several files: transformers and timm write an index that says which tensor is in which.

use super::{
    source_error::{ShardError, SourceError},
    weights::{Weights, read},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Whether a file is an index by its name.
#[must_use]
pub(super) fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// How many parts there are, if a file is one of several by its name: `model-00001-of-00003.safetensors`.
#[must_use]
pub(super) fn part_of(path: &Path) -> Option<u32> {
    let (start, count) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (_, number) = start.rsplit_once('-')?;
    let (number, count) = (number.parse::<u32>().ok()?, count.parse::<u32>().ok()?);
    (number >= 1 && number <= count && count > 1).then_some(count)
}

/// The index that a part belongs to: `model.safetensors.index.json`.
#[must_use]
pub(super) fn index_of(part: &Path) -> Option<PathBuf> {
    let (start, _) = part.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (name, _) = start.rsplit_once('-')?;
    Some(part.with_file_name(format!("{name}.{}.index.json", part.extension()?.to_str()?)))
}

/// Reads every tensor of every part.
///
/// # Errors
/// If the index is none, a part is not there or not readable, or a tensor is in none or in two of them.
pub(super) fn read_all(index: &Path) -> Result<Weights, SourceError> {
    let wrong = |reason| SourceError::Shards { path: index.into(), reason };
    let text = fs::read(index).map_err(|source| SourceError::Io { path: index.into(), source })?;
    let parsed = serde_json::from_slice(&text).map_err(|error| wrong(ShardError::NoIndex(error.to_string())))?;
    let Index { weight_map } = parsed;
    let files: BTreeSet<&String> = weight_map.values().collect();
    let is_name = |file: &str| {
        let mut parts = Path::new(file).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == file)
    };
    for file in &files {
        if !is_name(file) {
            return Err(wrong(ShardError::Outside((*file).clone())));
        }
        if !index.with_file_name(file).is_file() {
            return Err(wrong(ShardError::Absent((*file).clone())));
        }
    }
    let mut all = Weights::default();
    for file in files {
        let part = read(&index.with_file_name(file), None)?;
        if let Some((name, _)) = weight_map.iter().find(|(name, place)| *place == file && !part.read.has(name)) {
            return Err(wrong(ShardError::Missing { name: name.clone(), file: file.clone() }));
        }
        let mut names = part.read.tensors.keys().chain(part.read.unreadable.keys());
        if let Some(name) = names.find(|name| all.read.has(name)) {
            return Err(wrong(ShardError::Twice { name: name.clone(), file: file.clone() }));
        }
        all.read.extend(part.read);
        all.facts.extend(part.facts.into_iter().filter(|facts| !facts.values.is_empty()));
    }
    Ok(all)
}
