//! What is trained: the autoencoder, and what an objective adds to it: a projector for a joint term, or a mask token
//! in the encoder. The latter is the worse and slower variant of the paper's table 1c: mask tokens pass through the
//! encoder, too, instead of joining in the decoder. The encoder that is kept has the same parameters.

use super::joint::{JointConfig, projector::Projector};
use crate::model::{
    Mae, MaeConfig, MaskBatch, cross::DecoderBlocks, init::Init, layers::prepend_cls, mae::random_masking, ops::Ops,
};
use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use common::patch::PatchError;

/// The autoencoder with what its objective adds.
#[derive(Module, Debug)]
pub struct Learner {
    /// The autoencoder.
    pub mae: Mae,
    /// Stands for every removed patch already in the encoder, `[1, 1, D]`.
    encoder_mask_token: Option<Param<Tensor<3>>>,
    /// Maps features to where the views of an image are compared; only with a joint term, and only in pre-training.
    projector: Option<Projector>,
}

impl From<Mae> for Learner {
    /// Nothing is added: the paper's.
    fn from(mae: Mae) -> Self {
        Self { mae, encoder_mask_token: None, projector: None }
    }
}

impl Learner {
    /// A freshly initialised model; with `encoder_mask_tokens` mask tokens pass through the encoder, with a `joint`
    /// term there is a projector. The same `seed` gives the same weights on every device.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn new(
        config: &MaeConfig,
        encoder_mask_tokens: bool,
        joint: &JointConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, PatchError> {
        let init = &mut Init::beside(seed);
        let token = encoder_mask_tokens.then(|| init.token(config.dim, device));
        let projector = joint.is_on().then(|| Projector::new(joint, config.dim, init, device));
        Ok(Self { mae: Mae::new(config, seed, device)?, encoder_mask_token: token, projector })
    }

    /// The same model with other operations.
    #[must_use]
    pub fn with_ops(self, ops: Ops) -> Self {
        let projector = self.projector.map(|projector| projector.with_ops(ops));
        Self { mae: self.mae.with_ops(ops), projector, ..self }
    }

    /// Encodes the visible patches, `[B * (1 + V), D]`; with mask tokens in the encoder all tokens in their places,
    /// `[B * (1 + L), D]`. `patches`: `[B, L, P]`.
    pub fn encode(&self, patches: Tensor<3>, masks: &MaskBatch) -> Tensor<2> {
        let Some(token) = &self.encoder_mask_token else { return self.mae.forward_encoder(patches, masks) };
        let encoder = &self.mae.encoder;
        let ((visible, _), batch) = (random_masking(patches, masks), masks.batch());
        let x = encoder.patch_embed.proj.forward(visible);
        let x = prepend_cls(x, encoder.cls_token.val(), batch);
        let ([_, dim], device) = (x.dims(), x.device());
        let rows = masks.restore_rows(&device);
        let x = Tensor::cat(vec![x, token.val().reshape([1, dim])], 0).select(0, rows);
        let length = 1 + masks.patches();
        let x = (x.reshape([batch, length, dim]) + encoder.positions()).reshape([batch * length, dim]);
        encoder.norm.forward(encoder.blocks.iter().fold(x, |x, block| block.forward(x, batch)))
    }

    /// The projections of `features`, `[views * B, D]`, the first views of all images first: `[views * B, K]`; `None`
    /// without a joint term.
    pub fn project(&self, features: Tensor<2>, views: usize) -> Option<Tensor<2>> {
        self.projector.as_ref().map(|projector| projector.forward(features, views))
    }

    /// The decoder up to its last block on tokens in all places, `[B * (1 + L), E]`. `latent`: as of
    /// [`Self::encode`].
    fn decode(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let x = self.mae.decoder_embed.forward(latent);
        let x = if self.encoder_mask_token.is_some() { x } else { self.mae.unshuffle(x, masks) };
        self.mae.decode(x, masks.batch())
    }

    /// The prediction for every patch, `[B, L, P]`.
    pub fn predict(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<3> {
        if self.encoder_mask_token.is_none() {
            return self.mae.forward_decoder(latent, masks);
        }
        let x = self.mae.predict(self.decode(latent, masks));
        let (batch, length, values) = (masks.batch(), masks.patches(), x.dims()[1]);
        x.reshape([batch, 1 + length, values]).narrow(1, 1, length)
    }

    /// The prediction for the removed patches alone, or for those of them that `masks` predicts, `[B * K, P]`, which
    /// is all that a loss needs.
    pub fn predict_removed(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let (mae, device) = (&self.mae, latent.device());
        let paper = masks.predicts_all() && matches!(mae.decoder_blocks, DecoderBlocks::SelfAttention(_));
        let x = if paper || self.encoder_mask_token.is_some() {
            self.decode(latent, masks).select(0, masks.predicted_rows(1, &device))
        } else {
            mae.decode_wanted(latent, masks, masks.predicted_ids(&device))
        };
        mae.predict(x)
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
