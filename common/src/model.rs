//! The description of an encoder: written by training, read by export, by every runtime and by firmware.
//!
//! [`EncoderSpec`] is the only carrier of these numbers. It is plain data without a heap, so that the same
//! value serialises to TOML in a model folder, to postcard in a native model's header and over the wire.

use crate::{
    normalize::PixelStats,
    patch::{PatchError, PatchGrid},
};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How patch positions enter the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(rename_all = "kebab-case")]
pub enum PositionKind {
    /// The fixed 2-D sine-cosine table of [`crate::position`] (MAE, appendix A.1).
    SinCos2d,
    /// A table that is one of the encoder's tensors: learned, or interpolated from another image size.
    Stored,
}

/// Which vector stands for the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The class token after the final norm.
    #[cfg_attr(feature = "clap", value(help = "The class token"))]
    Cls,
    /// The mean of the visible patch tokens after the final norm.
    #[cfg_attr(feature = "clap", value(help = "The mean of the visible patch tokens"))]
    Mean,
    /// The mean of the visible patch tokens before the final norm, then that norm, as the reference pools when it
    /// fine-tunes (`fc_norm`). Such a model has this mean in the place of the other.
    // Not asked for: `EncoderSpec::pooling_for` gives it to whoever asks such a model for a mean.
    #[cfg_attr(feature = "clap", value(skip))]
    MeanNorm,
}

/// First eight bytes of the SHA-256 over a model's parameters: names, shapes and little-endian f32 values.
///
/// Written as 16 hexadecimal digits where a person reads it, as eight bytes where not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ModelHash(pub [u8; 8]);

impl fmt::Display for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelHash({self})")
    }
}

impl Serialize for ModelHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for ModelHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl de::Visitor<'_> for Hex {
            type Value = ModelHash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 hexadecimal digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ModelHash, E> {
                let invalid = || E::invalid_value(de::Unexpected::Str(text), &self);
                if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(invalid());
                }
                let value = u64::from_str_radix(text, 16).map_err(|_| invalid())?;
                Ok(ModelHash(value.to_be_bytes()))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Hex)
        } else {
            <[u8; 8]>::deserialize(deserializer).map(ModelHash)
        }
    }
}

/// Everything that a runtime must know to turn an image into a feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Height of the input image, pixels.
    pub image_height: u32,
    /// Width of the input image, pixels.
    pub image_width: u32,
    /// Channels a pixel, 1 to 4.
    pub channels: u32,
    /// Side of a square patch, pixels.
    pub patch_size: u32,
    /// Width of a token (`D`).
    pub dim: u32,
    /// Transformer blocks.
    pub depth: u32,
    /// Attention heads; divides `dim`.
    pub heads: u32,
    /// Width of the MLP's hidden layer as a multiple of `dim`.
    pub mlp_ratio: f32,
    /// LayerNorm's epsilon.
    pub norm_eps: f32,
    /// How positions are encoded.
    pub position: PositionKind,
    /// The pooling that the model is meant to be read with.
    pub pooling: Pooling,
    /// Length of the feature vector; equals `dim`.
    pub feature_dim: u32,
    /// Mean and standard deviation of each channel, in units of pixel value / 255.
    pub pixels: PixelStats,
    /// Content hash of the parameters.
    pub hash: ModelHash,
}

/// Why an [`EncoderSpec`] describes no encoder.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The image cannot be cut into patches.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// Heads do not divide the width.
    #[error("{heads} attention heads do not divide the width {dim}")]
    Heads {
        /// Attention heads.
        heads: u32,
        /// Token width.
        dim: u32,
    },
    /// The sine-cosine table needs four equal parts.
    #[error("the width {0} is not a multiple of 4, which the sine-cosine position table needs")]
    Width(u32),
    /// A field is zero, negative, or not finite.
    #[error("{0} must be positive and finite")]
    NotPositive(&'static str),
    /// The blocks alone would have more parameters than any machine that this is for can hold.
    #[error("{depth} blocks of width {dim} have more than 2^32 parameters; is a digit too many?")]
    TooLarge {
        /// Blocks.
        depth: u32,
        /// Token width.
        dim: u32,
    },
    /// Feature length and width differ.
    #[error("feature_dim {feature_dim} differs from dim {dim}")]
    FeatureDim {
        /// Feature length.
        feature_dim: u32,
        /// Token width.
        dim: u32,
    },
}

impl EncoderSpec {
    /// The patch grid of one image.
    ///
    /// # Errors
    /// If the image cannot be cut into whole patches.
    pub fn grid(&self) -> Result<PatchGrid, PatchError> {
        PatchGrid::new(
            self.image_height as usize,
            self.image_width as usize,
            self.patch_size as usize,
            self.channels as usize,
        )
    }

    /// The pooling that this model has for one that was asked for: it has only one kind of mean.
    #[must_use]
    pub fn pooling_for(&self, asked: Option<Pooling>) -> Pooling {
        match (asked, self.pooling) {
            (Some(Pooling::Mean | Pooling::MeanNorm), Pooling::MeanNorm) => Pooling::MeanNorm,
            (Some(Pooling::Mean | Pooling::MeanNorm), Pooling::Cls | Pooling::Mean) => Pooling::Mean,
            (Some(Pooling::Cls), _) => Pooling::Cls,
            (None, own) => own,
        }
    }

    /// Width of one head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        (self.dim / self.heads.max(1)) as usize
    }

    /// Width of the MLP's hidden layer, `trunc(dim * mlp_ratio)`.
    #[must_use]
    pub fn mlp_dim(&self) -> usize {
        (f64::from(self.dim) * f64::from(self.mlp_ratio)) as usize
    }

    /// Checks that every number is usable and that they agree.
    ///
    /// # Errors
    /// Names the first field that is not.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.grid()?;
        for (name, value) in [("dim", self.dim), ("depth", self.depth), ("heads", self.heads)] {
            if value == 0 {
                return Err(SpecError::NotPositive(name));
            }
        }
        for (name, value) in [("mlp_ratio", self.mlp_ratio), ("norm_eps", self.norm_eps)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(SpecError::NotPositive(name));
            }
        }
        let channels = self.channels as usize;
        if !self.pixels.mean[..channels].iter().all(|m| m.is_finite()) {
            return Err(SpecError::NotPositive("pixels.mean"));
        }
        if !self.pixels.std[..channels].iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(SpecError::NotPositive("pixels.std"));
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(SpecError::Heads { heads: self.heads, dim: self.dim });
        }
        if self.position == PositionKind::SinCos2d && !self.dim.is_multiple_of(4) {
            return Err(SpecError::Width(self.dim));
        }
        let (dim, depth) = (f64::from(self.dim), f64::from(self.depth));
        if (4.0 + 2.0 * f64::from(self.mlp_ratio)) * dim * dim * depth > 4_294_967_296.0 {
            return Err(SpecError::TooLarge { depth: self.depth, dim: self.dim });
        }
        if self.feature_dim != self.dim {
            return Err(SpecError::FeatureDim { feature_dim: self.feature_dim, dim: self.dim });
        }
        Ok(())
    }
}
