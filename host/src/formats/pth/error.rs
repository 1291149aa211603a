//! Why a file is no PyTorch checkpoint that is read here.

use crate::formats::pickle::PickleError;
use std::io;
use zip::result::ZipError;

/// Why a file cannot be read as a PyTorch checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    /// A file of `torch.save` before 1.6.
    #[error(
        "it is in PyTorch's format before 1.6: convert it, in Python, by \
         `torch.save(torch.load(\"OLD.pth\", map_location=\"cpu\"), \"NEW.pth\")`"
    )]
    Legacy,
    /// No zip archive, or a damaged one.
    #[error("it is no whole PyTorch file: {0}")]
    Zip(#[from] ZipError),
    /// A read failed, or a checksum did not fit.
    #[error("it is damaged: {0}")]
    Io(#[from] io::Error),
    /// Some other archive.
    #[error("it is a zip archive without data.pkl, so no PyTorch checkpoint")]
    NoPickle,
    /// Bytes in the other order.
    #[error("its numbers are big-endian; only little-endian ones are read")]
    ByteOrder,
    /// A pickle that cannot be read.
    #[error("its data.pkl cannot be read: {0}")]
    Pickle(#[from] PickleError),
    /// Another thing was saved.
    #[error("it holds no dictionary of tensors (nor one under `model` or `state_dict`)")]
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
