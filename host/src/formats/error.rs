//! Why a checkpoint cannot become a model.

use super::finding::{Heads, Provenance};
use crate::{preset::PresetError, tensors::mismatch::MismatchError};
use common::{model::SpecError, patch::PatchError};

/// `layer scale (`blocks.0.ls1.gamma`) and register tokens (`reg_token`)`.
fn listed(found: &[(&'static str, String)]) -> String {
    let each: Vec<String> = found.iter().map(|(what, name)| format!("{what} (`{name}`)")).collect();
    match each.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => each.concat(),
    }
}

fn prefixes(present: &[String]) -> String {
    let shown = |prefix: &String| {
        if prefix.is_empty() { "an encoder without a prefix".into() } else { format!("`{prefix}`") }
    };
    present.iter().map(shown).collect::<Vec<_>>().join(", ")
}

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
    /// Two tensors by the names of two libraries for one parameter.
    #[error("the tensors `{name}` and `{other}` would both be the same parameter")]
    Twice {
        /// One of them.
        name: String,
        /// The other one.
        other: String,
    },
    /// No encoder is among the names.
    #[error("no encoder of a vision transformer is in it; it holds {0}")]
    Nothing(String),
    /// Things that other models have and this program does not compute, each with the tensor that tells so.
    #[error("the model has {}, which this program does not compute", listed(.0))]
    Foreign(Vec<(&'static str, String)>),
    /// The decoder that only runs of this program have.
    #[error(
        "the decoder has cross-attention (`{0}`), which no other program's has: use the run folder itself, as \
         pretrain --init does, or export its encoder"
    )]
    CrossDecoder(String),
    /// An encoder was asked for that the file does not have.
    #[error("neither a dictionary nor an encoder's names are called `{key}`; there is {}", prefixes(.present))]
    Key {
        /// What was asked for.
        key: String,
        /// What stands in front of the names of those that are there.
        present: Vec<String>,
    },
    /// Models that put no class token before the patches.
    #[error("the model has no class token (`{0}`), which this program's encoder always has")]
    NoClassToken(String),
    /// What else is known about a file that is of no use.
    #[error("{error}; {origin} is `{kind}`")]
    OfType {
        /// What is wrong.
        error: Box<ImportError>,
        /// The type that the file beside it states.
        kind: String,
        /// The name of the statement and that file: `model_type in config.json`.
        origin: String,
    },
    /// More or fewer channels than a pixel has here.
    #[error("the model has {0} channels a pixel; 1 to 4 are computed")]
    Channels(usize),
    /// Another number of means or deviations than channels.
    #[error("{mean} means and {std} deviations were given for {channels} channels")]
    Pixels {
        /// Channels a pixel.
        channels: usize,
        /// How many means.
        mean: usize,
        /// How many deviations.
        std: usize,
    },
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
    #[error("the table of positions has {patches} rows for patches, which is no square, and {told}")]
    NotSquare {
        /// Rows beside the class token's.
        patches: usize,
        /// What files say about the size.
        told: String,
    },
    /// A fixed table that cannot be.
    #[error("there is no fixed table of positions for tokens {0} wide: the width must be a multiple of 4")]
    NoFixedTable(usize),
    /// Names of classes that are not as many as the head has.
    #[error("{names} names of classes were given for a head of {classes}")]
    Classes {
        /// How many names.
        names: usize,
        /// How many classes.
        classes: usize,
    },
    /// A head that cannot be used.
    #[error("the head cannot be used: {0}")]
    Head(String),
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
    #[error("images of {}x{} pixels: {reason}", size.0, size.1)]
    ImageSize {
        /// Height and width that were asked for, pixels.
        size: (usize, usize),
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
