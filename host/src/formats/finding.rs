//! Numbers of a model that the shapes of its parameters do not tell, and where each comes from.

use std::fmt;

/// One number of a model, as `host import` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is counted or chosen, as `run.toml` names it: `heads`, `mask_ratio`.
    pub name: &'static str,
    /// The number as a person reads it.
    pub value: String,
    /// Where the number comes from.
    pub origin: Provenance,
}

/// Where a number comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// The caller gave it (see [`super::infer::Given`]).
    Given,
    /// A file said so, the shapes imply it, or it is the paper's: the place in words.
    Found(String),
}

impl From<String> for Provenance {
    fn from(place: String) -> Self {
        Self::Found(place)
    }
}

impl From<&str> for Provenance {
    fn from(place: &str) -> Self {
        Self::Found(place.into())
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Found(place) => place,
        })
    }
}

/// Something that nothing tells, so that it was guessed: a person should know, and can say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumption {
    /// What was guessed, as the [`Finding`] names it.
    pub name: &'static str,
    /// What was taken, and why, as a sentence without its end.
    pub taken: String,
    /// What else it could be; empty if nothing else is known.
    pub others: String,
}

/// Attention heads of one half of a model; shapes do not tell how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// Those of the encoder's blocks.
    Encoder,
    /// Those of the decoder's blocks.
    Decoder,
}

impl Heads {
    /// Their number's name in `run.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "heads",
            Self::Decoder => "decoder_heads",
        }
    }

    /// Their number's names in checkpoints and the files beside them, the reference's first.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Encoder => &["num_heads", "num_attention_heads", "heads", "n_heads", "encoder_num_heads"],
            Self::Decoder => &["decoder_num_heads", "decoder_num_attention_heads", "decoder_heads"],
        }
    }

    /// Values of a token that one of the paper's heads works on.
    #[must_use]
    pub fn paper_width(self) -> usize {
        match self {
            Self::Encoder => 64,
            Self::Decoder => 32,
        }
    }
}

impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
