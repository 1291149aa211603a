//! A decoder of JPEG files whose pixels equal libjpeg-turbo's, bit by bit: baseline and progressive,
//! Huffman-coded, of 8 bits. What is cut off or damaged is an error, where libjpeg goes on with grey.

mod bits;
mod color;
mod component;
mod frame;
mod header;
mod huffman;
mod idct;
mod progressive;
mod rows;
mod scan;

use crate::{Pixels, limits};
use header::Header;
pub(crate) use header::exif;

/// Why a file cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JpegError {
    /// It ends before its image does.
    #[error("it is cut off")]
    Truncated,
    /// What it holds makes no sense.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Kinds of JPEG that this does not read.
    #[error("{0}; save it as a common JPEG or as PNG")]
    Unsupported(&'static str),
    /// See [`limits::check`].
    #[error(transparent)]
    Large(#[from] limits::TooLarge),
}

/// Decodes a file to grey (1 channel), RGB (3) or, inverted or not as the file says, CMYK (4).
///
/// # Errors
/// If it is damaged, cut off, of another kind, or too large.
pub(crate) fn decode(bytes: &[u8]) -> Result<Pixels, JpegError> {
    decode_as(bytes, false)
}

/// As [`decode`]; with `rgb`, three components are red, green and blue whatever the file says.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_as(bytes: &[u8], rgb: bool) -> Result<Pixels, JpegError> {
    Header::new(bytes, rgb)?.decode()
}
