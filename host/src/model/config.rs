//! The geometry of an autoencoder.

use super::DecoderKind;
use common::{
    model::{EncoderSpec, ModelHash, Pooling, PositionKind, SpecError},
    normalize::PixelStats,
    patch::{PatchError, PatchGrid},
};
use serde::{Deserialize, Serialize};

/// Everything that fixes an MAE's parameter shapes, and its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaeConfig {
    /// Image height, pixels.
    pub image_height: usize,
    /// Image width, pixels.
    pub image_width: usize,
    /// Channels, 1 to 4.
    #[serde(default = "three")]
    pub channels: usize,
    /// Patch side, pixels.
    pub patch_size: usize,
    /// Encoder width (`D`).
    pub dim: usize,
    /// Encoder blocks.
    pub depth: usize,
    /// Encoder heads.
    pub heads: usize,
    /// Decoder width (`E`).
    pub decoder_dim: usize,
    /// Decoder blocks.
    pub decoder_depth: usize,
    /// Decoder heads.
    pub decoder_heads: usize,
    /// What the decoder's tokens attend to.
    #[serde(default, skip_serializing_if = "DecoderKind::is_default")]
    pub decoder: DecoderKind,
    /// Hidden width of the MLPs as a multiple of the width.
    #[serde(default = "four")]
    pub mlp_ratio: f64,
    /// Whether the target is each patch normalised by its own mean and deviation (§4.1).
    #[serde(default = "yes")]
    pub norm_pix_loss: bool,
    /// How positions enter encoder and decoder; a stored table has a row for the class token too.
    #[serde(default = "sincos")]
    pub position: PositionKind,
}

fn three() -> usize {
    3
}

fn four() -> f64 {
    4.0
}

fn yes() -> bool {
    true
}

fn sincos() -> PositionKind {
    PositionKind::SinCos2d
}

impl MaeConfig {
    /// The patch grid.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn grid(&self) -> Result<PatchGrid, PatchError> {
        PatchGrid::new(self.image_height, self.image_width, self.patch_size, self.channels)
    }

    /// The description of the encoder half.
    #[must_use]
    pub fn encoder_spec(&self, pixels: PixelStats, hash: ModelHash) -> EncoderSpec {
        EncoderSpec {
            image_height: self.image_height as u32,
            image_width: self.image_width as u32,
            channels: self.channels as u32,
            patch_size: self.patch_size as u32,
            dim: self.dim as u32,
            depth: self.depth as u32,
            heads: self.heads as u32,
            mlp_ratio: self.mlp_ratio as f32,
            norm_eps: super::layers::NORM_EPS as f32,
            position: self.position,
            pooling: Pooling::Mean,
            feature_dim: self.dim as u32,
            pixels,
            hash,
        }
    }

    /// An autoencoder around an exported encoder, for reading its weights; the decoder is minimal.
    #[must_use]
    pub fn for_encoder(spec: &EncoderSpec) -> Self {
        Self {
            image_height: spec.image_height as usize,
            image_width: spec.image_width as usize,
            channels: spec.channels as usize,
            patch_size: spec.patch_size as usize,
            dim: spec.dim as usize,
            depth: spec.depth as usize,
            heads: spec.heads as usize,
            decoder_dim: 4,
            decoder_depth: 1,
            decoder_heads: 1,
            decoder: DecoderKind::default(),
            mlp_ratio: f64::from(spec.mlp_ratio),
            norm_pix_loss: true,
            position: spec.position,
        }
    }

    /// Checks that encoder and decoder are possible.
    ///
    /// # Errors
    /// Names the first number that is not.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.encoder_spec(PixelStats::IMAGENET, ModelHash::default()).validate()?;
        let decoder =
            Self { dim: self.decoder_dim, depth: self.decoder_depth, heads: self.decoder_heads, ..self.clone() };
        decoder.encoder_spec(PixelStats::IMAGENET, ModelHash::default()).validate()
    }
}
