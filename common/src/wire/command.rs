//! What the host asks of a board.

use crate::model::Pooling;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Pixel values of an image in one frame; larger images are split.
pub const MAX_PIXELS: usize = 960;

/// An image to encode, or a part of one: parts of one image follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePart {
    /// Number of the image, as in the feature that answers it.
    pub frame: u32,
    /// Pixel values of the whole image, `H * W * C`.
    pub total: u32,
    /// Place of the first value of this part.
    pub offset: u32,
    /// The values of this part; the image is `[H, W, C]`.
    pub pixels: Vec<u8, MAX_PIXELS>,
}

/// How the next images are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Settings {
    /// Share of patches to encode, above 0 and at most 1.
    pub keep: f64,
    /// How patches are chosen.
    pub choice: Choice,
    /// Random choices come from this and the image's number.
    pub seed: u64,
    /// Which feature to send.
    pub pooling: Pooling,
}

/// How patches are chosen; `docs/edge.md` describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Choice {
    /// Uniformly random patches, others for each image.
    Random,
    /// A regular lattice.
    Grid,
    /// All but large rectangles.
    Block,
    /// Every patch; `keep` must be 1.
    #[cfg_attr(feature = "clap", value(help = "Every patch"))]
    All,
}
