//! Checkpoint files of other programs: which they are, and what they and the files beside them hold.

use super::pth::{self, Pth, PthError};
use crate::tensors::{
    Tensors,
    safetensors::{self, TensorFileError},
};
use serde_json::{Map, Value as Json};
use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read as _, Seek as _},
    path::{Path, PathBuf},
};

/// Files of weights that a folder may hold, the preferred first.
const WEIGHTS: [&str; 3] = ["model.safetensors", "pytorch_model.bin", "checkpoint.pth"];

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is there, or it must not be looked at.
    #[error("cannot read {}: {reason}", path.display())]
    Absent {
        /// The file or folder that was named.
        path: PathBuf,
        /// What the file system says.
        reason: io::Error,
    },
    /// A folder whose weights are spread over several files.
    #[error("{} has its weights in several files: save them in one, with max_shard_size", .0.display())]
    Sharded(PathBuf),
    /// A folder that this program made.
    #[error("{} is a run folder already: use it as it is", .0.display())]
    RunFolder(PathBuf),
    /// A folder without a file of weights.
    #[error("{} has no weights: {} is needed", .0.display(), WEIGHTS.join(" or "))]
    NoWeights(PathBuf),
    /// A file of neither format.
    #[error("{} is neither a PyTorch checkpoint (.pth) nor a safetensors file", .0.display())]
    Foreign(PathBuf),
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The weights, or a file beside them.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// A damaged PyTorch checkpoint, or one that is not read.
    #[error("cannot read {}", path.display())]
    Pth {
        /// The weights.
        path: PathBuf,
        /// What is wrong with them.
        source: PthError,
    },
    /// A damaged safetensors file, or one with other types of numbers.
    #[error(transparent)]
    Safetensors(#[from] TensorFileError),
    /// A file beside the weights that should be a JSON object.
    #[error("{} is no JSON object", path.display())]
    Json {
        /// The file beside the weights.
        path: PathBuf,
        /// Where it stops being one.
        source: serde_json::Error,
    },
}

/// Numbers that say what shapes cannot, with the place they were found in.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The place in words: `config.json`.
    pub origin: String,
    /// The numbers by the names they have there: `num_heads`.
    pub values: Map<String, Json>,
}

/// A checkpoint as it is in its file.
#[derive(Debug)]
pub struct Source {
    /// Where the parameters were read from; in a folder, the file that was chosen.
    pub file: PathBuf,
    /// Parameters by the file's own names.
    pub tensors: Tensors,
    /// What the file and those beside it say, the more trustworthy first.
    pub facts: Vec<Facts>,
}

/// Reads a file, or the weights in a folder; with `config.json` and `preprocessor_config.json` beside it.
///
/// # Errors
/// [`SourceError`]: there is nothing to read, or it is damaged or foreign.
pub fn open(path: &Path) -> Result<Source, SourceError> {
    let file = match fs::metadata(path) {
        Err(reason) => return Err(SourceError::Absent { path: path.into(), reason }),
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

fn weights_in(folder: &Path) -> Result<PathBuf, SourceError> {
    let has = |name: &str| folder.join(name).exists();
    if has("model.safetensors.index.json") || has("pytorch_model.bin.index.json") {
        return Err(SourceError::Sharded(folder.into()));
    }
    if has("run.toml") {
        return Err(SourceError::RunFolder(folder.into()));
    }
    let found = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| SourceError::NoWeights(folder.into()))
}

fn read(path: &Path) -> Result<(Tensors, Map<String, Json>), SourceError> {
    let cannot = |source| SourceError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(cannot)?;
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start).map_err(cannot)?;
    if start.starts_with(b"PK") || pth::is_legacy(&start) {
        file.rewind().map_err(cannot)?;
        let read = pth::read(BufReader::new(file));
        let Pth { tensors, arguments } = read.map_err(|source| SourceError::Pth { path: path.into(), source })?;
        return Ok((tensors, arguments));
    }
    // A safetensors file begins with the length of its header and the header's brace.
    if start.get(8) != Some(&b'{') {
        return Err(SourceError::Foreign(path.into()));
    }
    let (tensors, metadata) = safetensors::read(path)?;
    // `host export` puts the numbers there as JSON.
    let arguments = metadata.get("mae").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok((tensors, arguments))
}

fn json_beside(file: &Path, name: &str) -> Result<Option<Map<String, Json>>, SourceError> {
    let path = file.with_file_name(name);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Io { path, source }),
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|source| SourceError::Json { path, source }),
    }
}
