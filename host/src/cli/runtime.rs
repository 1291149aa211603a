//! What computes features.

use crate::device::{
    DeviceChoice, choose,
    precision::{Precision, PrecisionChoice},
};

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

/// Products in bf16 on the CPU, with a note if they are emulated.
///
/// # Errors
/// If the CPU backend has none.
pub fn bf16() -> anyhow::Result<Precision> {
    Ok(PrecisionChoice::Bf16.on(&choose(DeviceChoice::Cpu)?, None)?)
}
