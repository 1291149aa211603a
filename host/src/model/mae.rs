//! The masked autoencoder (He et al. 2021, arXiv 2111.06377, §3), in the paper's order.
//!
//! `B` images, `L` patches each, `V` of them visible, `P` values a patch, `D` and `E` the widths of encoder and
//! decoder. Tokens travel flat, `[B * N, D]`, because one large matrix product beats `B` small ones.

use super::{MaeConfig, MaskBatch, init::Init, layers::*, ops::Ops};
use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use common::{
    model::PositionKind,
    normalize::NORM_PIX_EPS,
    patch::{PatchError, PatchGrid},
    position::sincos_2d_table,
};

/// The encoder: a ViT that sees only the visible patches.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Linear projection of a patch vector, `[P, D]`.
    pub patch_embed: PatchEmbed,
    /// The class token, `[1, 1, D]`.
    pub cls_token: Param<Tensor<3>>,
    /// Transformer blocks.
    pub blocks: Vec<Block>,
    /// Final norm.
    pub norm: LayerNorm,
    /// A stored table of positions, class token first, `[1, 1 + L, D]`; trained only with
    /// [`Self::with_trained_positions`].
    pos_embed: Option<Param<Tensor<3>>>,
    /// Fixed positions of the patches, `[L, D]`, where none is stored.
    sincos: Tensor<2>,
}

/// The projection of patches, named as in the reference.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// `[P, D]`.
    pub proj: Linear,
}

/// The whole autoencoder.
#[derive(Module, Debug)]
pub struct Mae {
    /// The part that is kept after pre-training.
    pub encoder: Encoder,
    /// From the encoder's width to the decoder's, `[D, E]`.
    pub decoder_embed: Linear,
    /// Stands for every removed patch, `[1, 1, E]`.
    pub mask_token: Param<Tensor<3>>,
    /// Transformer blocks.
    pub decoder_blocks: Vec<Block>,
    /// Final norm.
    pub decoder_norm: LayerNorm,
    /// From tokens to patch vectors, `[E, P]`.
    pub decoder_pred: Linear,
    /// A stored table of positions, class token first, `[1, 1 + L, E]`; never trained.
    decoder_pos_embed: Option<Param<Tensor<3>>>,
    /// Fixed positions with a leading zero row for the class token, `[1 + L, E]`, where none is stored.
    decoder_sincos: Tensor<2>,
    /// Stands for every removed patch already in the encoder, `[1, 1, D]`, in the variant of table 1c.
    encoder_mask_token: Option<Param<Tensor<3>>>,
    #[module(skip)]
    norm_pix_loss: bool,
}

/// What one pass yields.
#[derive(Debug, Clone)]
pub struct MaeOutput {
    /// Mean squared error over removed patches, `[1]`.
    pub loss: Tensor<1>,
    /// Prediction for every patch, `[B, L, P]`; in units of the normalised patch with `norm_pix_loss`.
    pub pred: Tensor<3>,
}

impl Encoder {
    /// A freshly initialised encoder on `device`.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn new(config: &MaeConfig, init: &mut Init, device: &Device) -> Result<Self, PatchError> {
        let grid = config.grid()?;
        let (dim, table) = (config.dim, sincos_2d_table(&grid, config.dim, false));
        Ok(Self {
            pos_embed: stored_table(config, &grid, dim, device),
            patch_embed: PatchEmbed { proj: init.patch_projection(grid.patch_dim(), dim, device) },
            cls_token: init.token(dim, device),
            blocks: init.blocks(config.depth, dim, config.heads, config.mlp_ratio, device),
            norm: LayerNorm::new(dim, device),
            sincos: constant(table, [grid.patches(), dim], device),
        })
    }

    /// The same encoder whose stored table of positions, if it has one, is trained.
    #[must_use]
    pub fn with_trained_positions(self) -> Self {
        Self { pos_embed: self.pos_embed.map(|table| table.set_require_grad(true)), ..self }
    }

    /// Encodes visible patches. `visible`: `[B * V, P]`; `positions`: their patch numbers, `[B * V]`.
    /// Returns the normed tokens `[B * (1 + V), D]`, the class token of each image first.
    pub fn forward(&self, visible: Tensor<2>, positions: Tensor<1, Int>, batch: usize) -> Tensor<2> {
        self.norm.forward(self.forward_blocks(visible, positions, batch))
    }

    /// As [`Self::forward`], before the final norm.
    pub fn forward_blocks(&self, visible: Tensor<2>, positions: Tensor<1, Int>, batch: usize) -> Tensor<2> {
        let x = self.embed(visible, positions, batch);
        self.blocks.iter().fold(x, |x, block| block.forward(x, batch))
    }

    /// The first block's input: projected patches with their positions, behind the class token.
    pub fn embed(&self, visible: Tensor<2>, positions: Tensor<1, Int>, batch: usize) -> Tensor<2> {
        let (mut cls, mut patches) = (self.cls_token.val(), self.sincos.clone());
        if let Some(table) = &self.pos_embed {
            let length = patches.dims()[0];
            cls = cls + table.val().narrow(1, 0, 1);
            patches = table.val().narrow(1, 1, length).squeeze_dim(0);
        }
        let x = self.patch_embed.proj.forward(visible) + patches.select(0, positions);
        prepend_cls(x, cls, batch)
    }

    /// The first block's input with a token for every patch, `mask_token` (`[1, 1, D]`) for removed ones:
    /// `[B * (1 + L), D]`. `visible`: `[B * V, P]`.
    fn embed_all(&self, visible: Tensor<2>, mask_token: Tensor<3>, masks: &MaskBatch) -> Tensor<2> {
        let (batch, length, device) = (masks.batch(), masks.patches(), visible.device());
        let x = prepend_cls(self.patch_embed.proj.forward(visible), self.cls_token.val(), batch);
        let dim = x.dims()[1];
        let x = Tensor::cat(vec![x, mask_token.reshape([1, dim])], 0).select(0, masks.restore_rows(&device));
        let positions: Tensor<3> = match &self.pos_embed {
            Some(table) => table.val(),
            None => Tensor::cat(vec![Tensor::zeros([1, dim], &device), self.sincos.clone()], 0).unsqueeze(),
        };
        (x.reshape([batch, 1 + length, dim]) + positions).reshape([batch * (1 + length), dim])
    }
}

impl Mae {
    /// A freshly initialised autoencoder; the same `seed` gives the same weights on every device.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn new(config: &MaeConfig, seed: u64, device: &Device) -> Result<Self, PatchError> {
        let (grid, init) = (config.grid()?, &mut Init::new(seed));
        let (dim, table) = (config.decoder_dim, sincos_2d_table(&grid, config.decoder_dim, true));
        Ok(Self {
            encoder: Encoder::new(config, init, device)?,
            decoder_embed: init.linear(config.dim, dim, device),
            mask_token: init.token(dim, device),
            decoder_blocks: init.blocks(config.decoder_depth, dim, config.decoder_heads, config.mlp_ratio, device),
            decoder_norm: LayerNorm::new(dim, device),
            decoder_pred: init.linear(dim, grid.patch_dim(), device),
            decoder_pos_embed: stored_table(config, &grid, dim, device),
            decoder_sincos: constant(table, [1 + grid.patches(), dim], device),
            encoder_mask_token: None,
            norm_pix_loss: config.norm_pix_loss,
        })
    }

    /// The same model, with `yes` a variant that is worse and slower (table 1c): mask tokens pass through the encoder, too,
    /// instead of joining in the decoder. The encoder that is kept has the same parameters.
    #[must_use]
    pub fn with_mask_tokens_in_encoder(mut self, yes: bool, seed: u64) -> Self {
        let (dim, device) = (self.encoder.cls_token.val().dims()[2], self.encoder.cls_token.val().device());
        self.encoder_mask_token = yes.then(|| Init::beside(seed).token(dim, &device));
        self
    }

    /// The same model with other operations.
    #[must_use]
    pub fn with_ops(mut self, ops: Ops) -> Self {
        let blocks = self.encoder.blocks.iter_mut().chain(&mut self.decoder_blocks);
        blocks.for_each(|block| block.set_ops(ops));
        (self.encoder.norm.ops, self.decoder_norm.ops) = (ops, ops);
        (self.encoder.patch_embed.proj.ops, self.decoder_embed.ops, self.decoder_pred.ops) = (ops, ops, ops);
        self
    }

    /// One pass over a batch. `patches`: normalised pixels, `[B, L, P]`.
    pub fn forward(&self, patches: Tensor<3>, masks: &MaskBatch) -> MaeOutput {
        let latent = self.forward_encoder(patches.clone(), masks);
        let pred = self.forward_decoder(latent, masks);
        let loss = self.forward_loss(patches, pred.clone(), masks);
        MaeOutput { loss, pred }
    }

    /// Random masking and encoding (§3, "MAE encoder"). `patches`: `[B, L, P]`. Returns `[B * (1 + V), D]`; with mask
    /// tokens in the encoder all tokens in their places, `[B * (1 + L), D]`.
    ///
    /// The reference projects every patch and then drops the removed ones; to drop them first is the same and
    /// saves their projection.
    pub fn forward_encoder(&self, patches: Tensor<3>, masks: &MaskBatch) -> Tensor<2> {
        let (visible, positions) = keep_visible(patches, masks);
        if let Some(token) = &self.encoder_mask_token {
            let x = self.encoder.embed_all(visible, token.val(), masks);
            let blocks = &self.encoder.blocks;
            return self.encoder.norm.forward(blocks.iter().fold(x, |x, block| block.forward(x, masks.batch())));
        }
        self.encoder.forward(visible, positions, masks.batch())
    }

    /// Decoding (§3, "MAE decoder"): mask tokens join, all tokens return to their places. `latent`:
    /// `[B * (1 + V), D]`. Returns the prediction of every patch, `[B, L, P]`.
    pub fn forward_decoder(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<3> {
        let (batch, length) = (masks.batch(), masks.patches());
        let x = self.decoder_pred.forward(self.decoder_norm.forward(self.decoder_tokens(latent, masks)));
        let values = x.dims()[1];
        x.reshape([batch, 1 + length, values]).narrow(1, 1, length)
    }

    /// The decoder up to its last block, `[B * (1 + L), E]`.
    fn decoder_tokens(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let (batch, length) = (masks.batch(), masks.patches());
        let device = latent.device();
        let mut x = self.decoder_embed.forward(latent);
        let dim = x.dims()[1];
        if self.encoder_mask_token.is_none() {
            // One more row, the mask token; then every place names the row that belongs there, class tokens first.
            x = Tensor::cat(vec![x, self.mask_token.val().reshape([1, dim])], 0);
            x = x.select(0, masks.restore_rows(&device));
        }
        let positions = match &self.decoder_pos_embed {
            Some(table) => table.val(),
            None => self.decoder_sincos.clone().unsqueeze::<3>(),
        };
        let x = x.reshape([batch, 1 + length, dim]) + positions;
        let x = x.reshape([batch * (1 + length), dim]);
        self.decoder_blocks.iter().fold(x, |x, block| block.forward(x, batch))
    }

    /// The loss of [`Self::forward`] alone, `[1]`, for training: nothing is predicted for visible patches, which the
    /// loss leaves out. `patches`: `[B, L, P]`.
    pub fn loss(&self, patches: Tensor<3>, masks: &MaskBatch) -> Tensor<1> {
        self.loss_towards(patches.clone(), patches, masks)
    }

    /// As [`Self::loss`], predicting `target` instead of the pixels. `patches`, `target`: `[B, L, P]`.
    pub fn loss_towards(&self, patches: Tensor<3>, target: Tensor<3>, masks: &MaskBatch) -> Tensor<1> {
        let latent = self.forward_encoder(patches, masks);
        self.removed_loss(target, self.predict_removed(latent, masks), masks)
    }

    /// As [`Self::forward_decoder`], for removed patches alone, `[B * (L - V), P]`.
    pub fn predict_removed(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let rows = masks.removed_rows(1, &latent.device());
        let x = self.decoder_tokens(latent, masks).select(0, rows);
        self.decoder_pred.forward(self.decoder_norm.forward(x))
    }

    /// As [`Self::forward_loss`]. `patches`: what is predicted, `[B, L, P]`; `pred`: that of removed patches, `[B * (L - V), P]`.
    pub fn removed_loss(&self, patches: Tensor<3>, pred: Tensor<2>, masks: &MaskBatch) -> Tensor<1> {
        self.removed_error(patches, pred, masks).0.powi_scalar(2).mean()
    }

    /// Prediction minus target of the removed patches, `[B * (L - V), P]`, and with `norm_pix_loss` its unit in each
    /// patch, `[B * (L - V), 1]`: the patch's deviation. `patches`, `pred`: as for [`Self::removed_loss`].
    pub fn removed_error(
        &self,
        patches: Tensor<3>,
        pred: Tensor<2>,
        masks: &MaskBatch,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let [batch, length, values] = patches.dims();
        let rows = masks.removed_rows(0, &patches.device());
        let target = patches.reshape([batch * length, values]).select(0, rows);
        if !self.norm_pix_loss {
            return (pred - target, None);
        }
        let (normalized, deviation) = normalize_patches(target.unsqueeze());
        (pred - normalized.squeeze_dim(0), Some(deviation.squeeze_dim(0)))
    }

    /// Mean squared error on removed patches (§3, "Reconstruction target"), `[1]`: the mean over each patch
    /// vector, summed over removed patches, divided by their number. `patches`, `pred`: `[B, L, P]`.
    pub fn forward_loss(&self, patches: Tensor<3>, pred: Tensor<3>, masks: &MaskBatch) -> Tensor<1> {
        let target = if self.norm_pix_loss { normalize_patches(patches).0 } else { patches };
        let error = (pred - target).powi_scalar(2).mean_dim(2);
        let mask = masks.removed(&error.device());
        let removed = masks.removed_count() as f64;
        (error * mask).sum().div_scalar(removed)
    }
}

/// The visible patches, `[B * V, P]`, and their numbers, `[B * V]`. `patches`: `[B, L, P]`.
pub fn keep_visible(patches: Tensor<3>, masks: &MaskBatch) -> (Tensor<2>, Tensor<1, Int>) {
    let [batch, length, values] = patches.dims();
    let device = patches.device();
    let visible = patches.reshape([batch * length, values]).select(0, masks.keep_rows(&device));
    (visible, masks.positions(&device))
}

/// Each patch minus its mean, over its (unbiased) standard deviation, and the latter, `[B, L, 1]`. `patches`: `[B, L, P]`.
pub fn normalize_patches(patches: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let (var, mean) = patches.clone().var_mean(2);
    let deviation = (var + NORM_PIX_EPS).sqrt();
    ((patches - mean) / deviation.clone(), deviation)
}

/// Puts the class token in front of each image's tokens: `[B * V, D]` to `[B * (1 + V), D]`.
fn prepend_cls(x: Tensor<2>, cls_token: Tensor<3>, batch: usize) -> Tensor<2> {
    let [rows, dim] = x.dims();
    let visible = rows / batch;
    let cls = cls_token.expand([batch, 1, dim]);
    Tensor::cat(vec![cls, x.reshape([batch, visible, dim])], 1).reshape([batch * (1 + visible), dim])
}

/// The stored table, `[1, 1 + L, dim]`, if the model has one; until it is loaded it is the fixed one.
fn stored_table(config: &MaeConfig, grid: &PatchGrid, dim: usize, device: &Device) -> Option<Param<Tensor<3>>> {
    let table = || constant(sincos_2d_table(grid, dim, true), [1, 1 + grid.patches(), dim], device);
    (config.position == PositionKind::Stored).then(|| Param::from_tensor(table()).set_require_grad(false))
}

fn constant<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests;
