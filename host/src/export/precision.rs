//! What a model folder may hold.

use edge::{model_folder::Precision, native::format::FILE_NAME};
use std::fmt;

/// A form of the encoder in a model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum EncoderPrecision {
    /// ONNX in 32-bit floating point.
    F32,
    /// ONNX with weights in 8 bits, arithmetic in floating point.
    W8,
    /// ONNX with weights and activations in 8 bits.
    Int8,
    /// For the native runtime: weights and activations in 8 bits.
    Native,
}

impl EncoderPrecision {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::F32, Self::W8, Self::Int8, Self::Native];

    /// The precision of an ONNX form; `None` for the native one.
    #[must_use]
    pub fn onnx(self) -> Option<Precision> {
        match self {
            Self::F32 => Some(Precision::F32),
            Self::W8 => Some(Precision::W8),
            Self::Int8 => Some(Precision::Int8),
            Self::Native => None,
        }
    }

    /// Its file in a model folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        self.onnx().map_or(FILE_NAME, Precision::file_name)
    }
}

impl fmt::Display for EncoderPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.onnx() {
            Some(precision) => precision.fmt(f),
            None => f.write_str("native"),
        }
    }
}
