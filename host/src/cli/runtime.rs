//! What computes features.

use crate::device::{
    DeviceChoice, choose,
    precision::{Precision, PrecisionChoice},
};
use console::misuse;
use edge::model_folder::Precision as Form;

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

/// `--precision` of one encoder: burn has the first two, a model folder all but bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionArg {
    /// 32-bit floating point.
    F32,
    /// Products in bf16 and sums in f32, in burn.
    Bf16,
    /// Weights in 8 bits.
    W8,
    /// Weights and activations in 8 bits.
    Int8,
}

impl PrecisionArg {
    /// In burn, with a note if it is emulated.
    ///
    /// # Errors
    /// As misuse, if burn has it not.
    pub fn arithmetic(self) -> anyhow::Result<Precision> {
        match self {
            Self::F32 => Ok(Precision::Fp32),
            Self::Bf16 => Ok(PrecisionChoice::Bf16.on(&choose(DeviceChoice::Cpu)?, None)?),
            Self::W8 | Self::Int8 => Err(not_burns()),
        }
    }

    /// As a form of a model folder.
    ///
    /// # Errors
    /// As misuse, if it is none.
    pub fn form(self) -> anyhow::Result<Form> {
        match self {
            Self::F32 => Ok(Form::F32),
            Self::W8 => Ok(Form::W8),
            Self::Int8 => Ok(Form::Int8),
            Self::Bf16 => Err(misuse("--precision bf16 is for --runtime burn")),
        }
    }
}

/// Burn computes in no such precision.
pub fn not_burns() -> anyhow::Error {
    misuse("--precision in 8 bits is for --runtime tract; burn computes in f32 or bf16")
}
