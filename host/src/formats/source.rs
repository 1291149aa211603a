//! Checkpoint files of other programs: which they are, and what they and the files beside them hold.

use super::{
    choice::{Choice, choose},
    pth::{self, Archive, Loaded, PthError},
    shards::{self, ShardError},
};
use crate::tensors::{
    Tensors,
    safetensors::{self, TensorFileError, Unreadable},
};
use serde_json::{Map, Value as Json};
use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read as _, Seek as _},
    path::{Path, PathBuf},
};

/// Files of weights that a folder may hold, the preferred first.
const WEIGHTS: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "checkpoint.pth",
];

/// Where a file's own numbers come from.
const ARGUMENTS: &str = "the file's arguments";

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
    /// One of several files that belong together.
    #[error(
        "{} is one of {count} parts of a checkpoint: name its folder, or {} in it",
        path.display(),
        index.display()
    )]
    Part {
        /// The part that was named.
        path: PathBuf,
        /// How many there are.
        count: u32,
        /// The file that lists them.
        index: PathBuf,
    },
    /// Several files without the one that lists them.
    #[error("{} has its weights in several files, but not their index {}: download it too", folder.display(),
        index.display())]
    NoIndex {
        /// The folder.
        folder: PathBuf,
        /// The file that would list them.
        index: PathBuf,
    },
    /// A list of several files that do not belong together.
    #[error("cannot read {}", path.display())]
    Shards {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        #[source]
        reason: ShardError,
    },
    /// A dictionary was asked for that the file does not have.
    #[error("{} has no tensors at `{key}`; it has them {}", path.display(), places(.present))]
    Key {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        key: String,
        /// The paths of the dictionaries that hold tensors.
        present: Vec<String>,
    },
    /// A folder that this program made.
    #[error("{} is a run folder already: use it as it is", .0.display())]
    RunFolder(PathBuf),
    /// A folder without a file of weights.
    #[error("{} has no weights: {} is needed", .0.display(), WEIGHTS.join(" or "))]
    NoWeights(PathBuf),
    /// A file of neither format.
    #[error("{} is neither a PyTorch checkpoint (.pth) nor a safetensors file", .0.display())]
    Foreign(PathBuf),
    /// A file of another format that is known.
    #[error("{} is {kind}", path.display())]
    Known {
        /// The file.
        path: PathBuf,
        /// What it is and what to do about it.
        kind: &'static str,
    },
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
    /// Why other tensors beside them are not read, by their names: the end of a sentence.
    pub unreadable: Unreadable,
    /// Where in the file they are: keys joined by dots; empty if they are not in an inner dictionary.
    pub group: String,
    /// Other places in the file with an encoder.
    pub others: Vec<String>,
    /// What the file and those beside it say, the more trustworthy first.
    pub facts: Vec<Facts>,
}

impl Source {
    /// The name in the file of the tensor that is missed as `name`, and why it is not read, if that is so.
    #[must_use]
    pub fn unread(&self, name: &str) -> Option<(&str, &str)> {
        unread(&self.unreadable, name)
    }
}

/// As [`Source::unread`].
#[must_use]
pub fn unread<'a>(unreadable: &'a Unreadable, name: &str) -> Option<(&'a str, &'a str)> {
    let is_it = |full: &str| full.strip_suffix(name).is_some_and(|start| start.is_empty() || start.ends_with('.'));
    unreadable.iter().find(|(full, _)| is_it(full)).map(|(full, reason)| (full.as_str(), reason.as_str()))
}

/// What one file of weights holds.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub(super) tensors: Tensors,
    pub(super) unreadable: Unreadable,
    pub(super) group: String,
    pub(super) others: Vec<String>,
    pub(super) facts: Vec<Facts>,
}

/// Reads a file, or the weights in a folder; with `config.json` and `preprocessor_config.json` beside it. `key` names
/// the dictionary in the file that holds the tensors; without it the most likely one is taken.
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
    let Weights { tensors, unreadable, group, others, mut facts } = read;
    if let Some(key) = key.filter(|key| *key != group) {
        return Err(SourceError::Key { path: file, key: key.into(), present: vec![group] });
    }
    for name in ["config.json", "preprocessor_config.json"] {
        if let Some(values) = json_beside(&file, name)? {
            facts.push(Facts { origin: name.into(), values });
        }
    }
    Ok(Source { file, tensors, unreadable, group, others, facts })
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
    let (tensors, metadata, unreadable) = safetensors::read_some(path)?;
    // `host export` puts the numbers there as JSON.
    let values = metadata.get("mae").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let facts = vec![Facts { origin: ARGUMENTS.into(), values }];
    Ok(Weights { tensors, unreadable, facts, ..Weights::default() })
}

fn read_pth(file: File, path: &Path, key: Option<&str>) -> Result<Weights, SourceError> {
    let wrong = |source| SourceError::Pth { path: path.into(), source };
    let mut archive = Archive::open(BufReader::new(file)).map_err(wrong)?;
    let groups = archive.groups();
    let Some(Choice { path: group, others }) = choose(&groups, key) else {
        let present = groups.into_iter().map(|group| group.path).collect();
        return Err(SourceError::Key { path: path.into(), key: key.unwrap_or_default().into(), present });
    };
    let Loaded { tensors, unreadable } = archive.read(&group).map_err(wrong)?;
    let facts = archive.arguments().into_iter().map(|(name, values)| {
        let origin = if name == "args" { ARGUMENTS.into() } else { format!("the file's `{name}`") };
        Facts { origin, values }
    });
    Ok(Weights { tensors, unreadable, group, others, facts: facts.collect() })
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

/// Paths of dictionaries in words.
fn places(paths: &[String]) -> String {
    let shown = |path: &String| if path.is_empty() { "at its top".to_owned() } else { format!("at `{path}`") };
    paths.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn json_beside(file: &Path, name: &str) -> Result<Option<Map<String, Json>>, SourceError> {
    let path = file.with_file_name(name);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Io { path, source }),
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|source| SourceError::Json { path, source }),
    }
}
