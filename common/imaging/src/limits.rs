//! How large an image may be: a few bytes can declare one that no memory holds.

/// Pixels of the largest image: those at which Pillow, too, takes a file for an attack.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Why an image is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// More than [`MAX_PIXELS`].
    #[error("it is {width}x{height} pixels (width x height), more than the 178 million that are read")]
    Pixels {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Not enough memory for it.
    #[error("there is not enough memory for it")]
    Memory,
}

/// # Errors
/// If an image of this width and height is too large.
pub(crate) fn check(width: u64, height: u64) -> Result<(), TooLarge> {
    match width.checked_mul(height) {
        Some(..=MAX_PIXELS) => Ok(()),
        _ => Err(TooLarge::Pixels { width, height }),
    }
}

/// Bytes of the largest image as its format keeps it.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// # Errors
/// If pixels take more than [`MAX_BYTES`].
pub(crate) fn check_bytes(bytes: u64) -> Result<(), TooLarge> {
    if bytes > MAX_BYTES { Err(TooLarge::Memory) } else { Ok(()) }
}
