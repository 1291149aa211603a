//! Why a checkpoint cannot become a model.

use super::finding::{Heads, Provenance};
use crate::{preset::PresetError, tensors::mismatch::MismatchError};
use common::{model::SpecError, patch::PatchError};

/// Why a checkpoint is no masked autoencoder that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A parameter is missing or misshapen.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// A parameter of a kind that is not read.
    #[error("the tensor `{name}` {reason}")]
    Unread {
        /// Its name in the file.
        name: String,
        /// What it is, as the end of a sentence.
        reason: String,
    },
    /// A tensor that is not a parameter of a masked autoencoder.
    #[error("the tensor `{0}` has no place in a masked autoencoder: the file is of another kind of model")]
    Unknown(String),
    /// No file tells the number of heads, and the paper has no model of this width.
    #[error("nothing tells the number of {heads}, and the width {dim} is no multiple of {}", heads.paper_width())]
    Heads {
        /// Those of the encoder or of the decoder.
        heads: Heads,
        /// Values of a token.
        dim: usize,
    },
    /// Heads that do not divide the width of a token.
    #[error("{count} {heads} ({origin}) do not divide the width {dim}")]
    Indivisible {
        /// Those of the encoder or of the decoder.
        heads: Heads,
        /// How many there should be.
        count: usize,
        /// Values of a token.
        dim: usize,
        /// Who says that there are so many.
        origin: Provenance,
    },
    /// A table of positions that belongs to no known grid.
    #[error("the tensor `pos_embed` has {0} patches, which is no square, and no file tells height and width")]
    NotSquare(usize),
    /// Another calculation with parameters of the same shapes.
    #[error("the model has {what} ({origin}); this program computes with {known}")]
    Operation {
        /// The operation or constant that differs: `activation relu`.
        what: String,
        /// Who says that the model has it.
        origin: Provenance,
        /// What this program has in its place.
        known: String,
    },
    /// The image size that was asked for cannot be cut into the model's patches.
    #[error("images of {side}x{side} pixels: {reason}")]
    ImageSize {
        /// Height and width that were asked for, pixels.
        side: usize,
        /// What does not fit.
        reason: PatchError,
    },
    /// Numbers that contradict each other.
    #[error("the model is impossible: {0}")]
    Spec(#[from] SpecError),
    /// The preset with the paper's numbers, which is part of the program, cannot be read.
    #[error(transparent)]
    Preset(#[from] PresetError),
}
