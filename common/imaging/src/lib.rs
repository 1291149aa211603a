//! Image files, and the one way in which an image becomes an encoder's input. `docs/images.md` says what is read, and
//! how it differs from what Python's libraries make of it.

mod channels;
mod decode;
mod find;
mod jpeg;
mod kinds;
mod limits;
mod orientation;
mod resize;
mod tiff;

pub use decode::{decode, open};
pub use find::{LeftOut, Listing, find, is_hidden, is_image};
pub use kinds::EXTENSIONS;
pub use limits::MAX_PIXELS;
pub use resize::{Crop, prepare, resize};

use std::{io, path::PathBuf};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The path does not exist, or may not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder holds no image.
    #[error("{path} holds no image ({}, also in sub-folders){}", EXTENSIONS.join(", "), found(left_out))]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What it holds instead.
        left_out: LeftOut,
    },
    /// A tar archive, or a pattern of several, where images are wanted.
    #[error("{} names a tar archive, which pre-training alone reads as it is: unpack it into a folder", .0.display())]
    Archive(PathBuf),
    /// The file is no image, of a kind that is not read, or damaged.
    #[error("cannot decode {path}: {reason}")]
    Decode {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The pixels cannot be resized.
    #[error("cannot resize the image: {0}")]
    Resize(String),
}

fn found(left_out: &LeftOut) -> String {
    if left_out.is_empty() { String::new() } else { format!("; in it: {left_out}") }
}

/// Interleaved 8-bit pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels, 1 to 4.
    pub channels: usize,
    /// `[H, W, C]`.
    pub data: Vec<u8>,
}
