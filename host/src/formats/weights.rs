//! One file of weights: of which format it is, and what it holds.

use super::{
    choice::{Choice, choose},
    pth::{self, Archive, PthError},
    source_error::SourceError,
};
use crate::tensors::{readable::Readable, safetensors};
use serde_json::{Map, Value as Json};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _},
    path::Path,
};

/// Where a file's own numbers come from.
const ARGUMENTS: &str = "the file's arguments";

/// Numbers that say what shapes cannot, with the place they were found in.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The place in words: `config.json`.
    pub origin: String,
    /// The numbers by the names they have there: `num_heads`.
    pub values: Map<String, Json>,
}

/// What one file of weights holds.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub(super) read: Readable,
    pub(super) group: String,
    pub(super) others: Vec<String>,
    pub(super) facts: Vec<Facts>,
}

/// Reads one file of weights.
pub(super) fn read(path: &Path, key: Option<&str>) -> Result<Weights, SourceError> {
    let cannot = |source| SourceError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(cannot)?;
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(cannot)?;
    if start.starts_with(b"PK") || pth::is_legacy(&start) {
        file.rewind().map_err(cannot)?;
        return read_pth(file, path, key);
    }
    // A safetensors file begins with the length of its header and the header's brace.
    if start.get(8) != Some(&b'{') {
        return Err(foreign(path, &start));
    }
    let (read, metadata) = safetensors::read_some(path)?;
    // `host export` puts the numbers there as JSON.
    let values = metadata.get("mae").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let facts = vec![Facts { origin: ARGUMENTS.into(), values }];
    Ok(Weights { read, facts, ..Weights::default() })
}

fn read_pth(file: File, path: &Path, key: Option<&str>) -> Result<Weights, SourceError> {
    let wrong = |source| SourceError::Pth { path: path.into(), source };
    let mut archive = Archive::open(BufReader::new(file)).map_err(wrong)?;
    let groups = archive.groups();
    let chosen = choose(&groups, key).or_else(|| choose(&groups, None));
    let Choice { path: group, others } = chosen.ok_or_else(|| wrong(PthError::NoTensors))?;
    let read = archive.read(&group).map_err(wrong)?;
    let facts = archive.arguments().into_iter().map(|(name, values)| {
        let origin = if name == "args" { ARGUMENTS.into() } else { format!("the file's `{name}`") };
        Facts { origin, values }
    });
    Ok(Weights { read, group, others, facts: facts.collect() })
}

/// What a file of neither format is, if that can be seen.
fn foreign(path: &Path, start: &[u8]) -> SourceError {
    let text = String::from_utf8_lossy(start).trim_start().to_lowercase();
    let kind = if start.get(257..262) == Some(b"ustar") {
        "a tar archive, as PyTorch wrote before 0.2 (or a packed folder): unpack it, or in Python \
         `torch.save(torch.load(\"OLD.pth\", map_location=\"cpu\"), \"NEW.pth\")`"
    } else if start.starts_with(&[0x1f, 0x8b]) {
        "compressed with gzip: unpack it first"
    } else if text.starts_with("version https://git-lfs") {
        "a pointer of Git LFS instead of the file: run `git lfs pull` in its repository"
    } else if text.starts_with("<!doctype") || text.starts_with("<html") {
        "a web page: the download did not give the file"
    } else if start.starts_with(b"\x89HDF") {
        "an HDF5 file (Keras), which is not read"
    } else if start.len() > 2 && start[0] == 0x80 && (2..=5).contains(&start[1]) {
        "a pickle, but none of torch.save: load it in Python and save its tensors with torch.save"
    } else {
        return SourceError::Foreign(path.into());
    };
    SourceError::Known { path: path.into(), kind }
}
