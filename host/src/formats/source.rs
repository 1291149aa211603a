//! Checkpoint files of other programs: which they are, and what they and the files beside them hold.

use super::{
    shards,
    source_error::WEIGHTS,
    weights::{Weights, read},
};
pub use super::{
    source_error::{ShardError, SourceError},
    weights::Facts,
};
use crate::tensors::{
    Tensors,
    readable::{Readable, Unreadable},
};
use serde_json::{Map, Value as Json};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A checkpoint as it is in its file.
#[derive(Debug)]
pub struct Source {
    /// Where the parameters were read from; in a folder, the file that was chosen.
    pub file: PathBuf,
    /// Parameters by the file's own names.
    pub tensors: Tensors,
    /// Names of those whose numbers are whole ones.
    pub whole: BTreeSet<String>,
    /// Why other tensors beside them are not read, by their names: the end of a sentence.
    pub unreadable: Unreadable,
    /// Where in the file they are: keys joined by dots; empty if they are not in an inner dictionary.
    pub group: String,
    /// Other places in the file with an encoder.
    pub others: Vec<String>,
    /// What the file and those beside it say, the more trustworthy first.
    pub facts: Vec<Facts>,
}

/// Reads a file, or the weights in a folder; with `config.json` and `preprocessor_config.json` beside it. `key` names
/// the dictionary in the file that holds the tensors; if there is none of this name the most likely one is taken.
///
/// # Errors
/// [`SourceError`]: there is nothing to read, or it is damaged or foreign.
pub fn open(path: &Path, key: Option<&str>) -> Result<Source, SourceError> {
    let file = match fs::metadata(path) {
        Err(reason) => return Err(SourceError::Absent { path: path.into(), reason }),
        Ok(metadata) if metadata.is_dir() => weights_in(path)?,
        Ok(_) => path.to_owned(),
    };
    if let (Some(count), Some(index)) = (shards::part_of(&file), shards::index_of(&file)) {
        return Err(SourceError::Part { path: file, count, index });
    }
    let read = if shards::is_index(&file) { shards::read_all(&file) } else { read(&file, key) }?;
    let Weights { read: Readable { tensors, whole, unreadable }, group, others, mut facts } = read;
    for name in ["config.json", "preprocessor_config.json"] {
        if let Some(values) = json_beside(&file, name)? {
            facts.push(Facts { origin: name.into(), values });
        }
    }
    Ok(Source { file, tensors, whole, unreadable, group, others, facts })
}

fn weights_in(folder: &Path) -> Result<PathBuf, SourceError> {
    if folder.join("run.toml").exists() {
        return Err(SourceError::RunFolder(folder.into()));
    }
    let found = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let mut parts = files.filter(|path| shards::part_of(path).is_some());
        match parts.next().and_then(|part| shards::index_of(&part)) {
            Some(index) => SourceError::NoIndex { folder: folder.into(), index },
            None => SourceError::NoWeights(folder.into()),
        }
    })
}

fn json_beside(file: &Path, name: &str) -> Result<Option<Map<String, Json>>, SourceError> {
    let path = file.with_file_name(name);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Io { path, source }),
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|source| SourceError::Json { path, source }),
    }
}
