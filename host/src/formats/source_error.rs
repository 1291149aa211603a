//! Why a checkpoint cannot be read.

use super::pth::PthError;
use crate::tensors::safetensors::TensorFileError;
use std::{io, path::PathBuf};

/// Files of weights that a folder may hold, the preferred first.
pub(super) const WEIGHTS: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "checkpoint.pth",
];

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

/// Why an index and its files do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Some other JSON file.
    #[error("it is no index of shards ({0}): name a file of weights, or the folder")]
    NoIndex(String),
    /// A path where a name is needed.
    #[error("it names the file `{0}`, which is not one in its folder")]
    Outside(String),
    /// A file that is not there.
    #[error("its part {0} is missing: download it too")]
    Absent(String),
    /// A file that lacks what it should hold.
    #[error("the tensor `{name}` is not in {file}, where it should be")]
    Missing {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
    },
    /// Two files hold the same.
    #[error("the tensor `{name}` is in {file} and in another part, too")]
    Twice {
        /// The tensor.
        name: String,
        /// The later file.
        file: String,
    },
}
