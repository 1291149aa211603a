//! What can be wrong with a native model or with what it is given.

use common::model::SpecError;

/// Why a native encoder cannot be read, made or run.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// The file does not begin as an `encoder.native` does.
    #[error("it is no native encoder (make one with `host export`)")]
    Magic,
    /// Another version of the format.
    #[error(
        "it is a native encoder of version {0:?}, this program reads version {version:?}: export the model again",
        version = super::prefix::VERSION as char
    )]
    Version(char),
    /// The file ends too early.
    #[error("it is cut off: {needed} bytes are needed, {found} are there; copy the model again")]
    Truncated {
        /// Bytes needed.
        needed: u64,
        /// Bytes found.
        found: u64,
    },
    /// Bytes follow the end.
    #[error("{0} bytes follow its end; copy the model again")]
    TrailingBytes(u64),
    /// A checksum is wrong.
    #[error("its {0} is damaged: the checksum is wrong; copy the model again")]
    Checksum(Part),
    /// The header's checksum is right, but it is none that this version writes.
    #[error("its header is malformed; export the model again")]
    Header,
    /// The directory names other tensors, places or sizes than the encoder has.
    #[error("entry {0} of its directory is not what an encoder of this size has; export the model again")]
    Directory(u32),
    /// A weight or parameter has a value that no export writes.
    #[error("a value of {0} is out of range; export the model again")]
    Value(&'static str),
    /// The encoder is impossible.
    #[error("it describes no encoder: {0}")]
    Spec(#[from] SpecError),
    /// The encoder is larger than this machine or the format can hold.
    #[error("the encoder is too large: {0}")]
    TooLarge(&'static str),
    /// The bytes do not lie where 32-bit numbers may lie.
    #[error("the model must lie at an address that is a multiple of 4")]
    Misaligned,
    /// A buffer has the wrong length.
    #[error("{what} holds {found} values where {expected} are needed")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A patch value is infinite, no number, or far from any pixel.
    #[error("patch value {0} is not a normalised pixel: it is infinite, no number, or above 1e6 in magnitude")]
    PatchValue(usize),
    /// Threads cannot be started.
    #[error("{0} threads cannot be started; ask for fewer")]
    Threads(usize),
    /// A patch number lies outside the grid.
    #[error("patch {index} lies outside {patches} patches")]
    Index {
        /// The patch asked for.
        index: u32,
        /// Patches of the image.
        patches: u32,
    },
    /// None or more patches are visible than the encoder was made for.
    #[error("{found} patches are visible; this encoder takes 1 to {most}")]
    Visible {
        /// Visible patches.
        found: usize,
        /// The most that there may be.
        most: usize,
    },
}

/// A part of the file with a checksum of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Part {
    /// Description, hash and directory.
    Header,
    /// Weights and parameters.
    Data,
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Data => "data",
        })
    }
}
