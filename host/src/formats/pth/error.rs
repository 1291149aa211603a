//! Why a file is no PyTorch checkpoint that is read here.

use crate::formats::pickle::PickleError;
use std::io;
use zip::result::ZipError;

/// Why a file cannot be read as a PyTorch checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    /// No zip archive, or a damaged one.
    #[error("it is no whole PyTorch file: {0}")]
    Zip(#[from] ZipError),
    /// A read failed, or a checksum did not fit.
    #[error("it is damaged: {0}")]
    Io(#[from] io::Error),
    /// Some other archive.
    #[error("it is a zip archive without data.pkl, so no PyTorch checkpoint")]
    NoPickle,
    /// An archive of NumPy's, as JAX programs write them.
    #[error("it is an archive of NumPy arrays (.npz), no PyTorch checkpoint")]
    Arrays,
    /// Bytes in the other order.
    #[error("its numbers are big-endian; only little-endian ones are read")]
    ByteOrder,
    /// A pickle that cannot be read.
    #[error("its data.pkl cannot be read: {0}")]
    Pickle(#[from] PickleError),
    /// Storages of a file before 1.6 that are not where they should be.
    #[error("it is no whole file of PyTorch before 1.6: its storages do not end where the file does")]
    Storages,
    /// A storage of a file before 1.6 that hides where the next one begins.
    #[error("it is a file of PyTorch before 1.6 with values of an unknown type (storage {0})")]
    Storage(String),
    /// Another thing was saved.
    #[error("it holds no dictionary of tensors")]
    NoTensors,
    /// One tensor is not as it should be.
    #[error("the tensor `{name}` {reason}")]
    Tensor {
        /// The parameter's name in the file.
        name: String,
        /// What is wrong with it, as the end of a sentence.
        reason: String,
    },
}
