//! What computes features.

/// `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// The float encoder in batches.
    Burn,
    /// The exported encoder in tract, image by image.
    Tract,
    /// The native int8 encoder, image by image.
    Native,
}
