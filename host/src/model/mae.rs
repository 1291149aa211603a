//! The masked autoencoder (He et al. 2021, arXiv 2111.06377, §3), in the paper's order.
//!
//! `B` images, `L` patches each, `V` of them visible, `P` values a patch, `D` and `E` the widths of encoder and
//! decoder. Tokens travel flat, `[B * N, D]`, because one large matrix product beats `B` small ones.

use super::{
    DecoderKind, MaeConfig, MaskBatch,
    cross::DecoderBlocks,
    init::{self, Init},
    layers::*,
};
use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor},
};
use common::{normalize::NORM_PIX_EPS, patch::PatchError, position::sincos_2d_table};

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
    /// Of what mask tokens attend to, with [`DecoderKind::Cross`] alone.
    pub decoder_embed_norm: Option<LayerNorm>,
    /// Stands for every removed patch, `[1, 1, E]`.
    pub mask_token: Param<Tensor<3>>,
    /// Transformer blocks.
    pub decoder_blocks: DecoderBlocks,
    /// Final norm.
    pub decoder_norm: LayerNorm,
    /// From tokens to patch vectors, `[E, P]`.
    pub decoder_pred: Linear,
    /// A stored table of positions, class token first, `[1, 1 + L, E]`; never trained.
    decoder_pos_embed: Option<Param<Tensor<3>>>,
    /// Fixed positions with a leading zero row for the class token, `[1 + L, E]`, where none is stored.
    decoder_sincos: Tensor<2>,
    /// Whether each patch is normalised by its own mean and deviation before it is predicted.
    #[module(skip)]
    pub norm_pix_loss: bool,
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
            pos_embed: init::stored_table(config, &grid, dim, device),
            patch_embed: PatchEmbed { proj: init.patch_projection(grid.patch_dim(), dim, device) },
            cls_token: init.token(dim, device),
            blocks: init.blocks(config.depth, dim, config.heads, config.mlp_ratio, device),
            norm: LayerNorm::new(dim, device),
            sincos: init::constant(table, [grid.patches(), dim], device),
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

    /// Positions of all tokens, the class token first, `[1, 1 + L, D]`.
    pub fn positions(&self) -> Tensor<3> {
        let cls = || Tensor::zeros([1, self.sincos.dims()[1]], &self.sincos.device());
        let fixed = || Tensor::cat(vec![cls(), self.sincos.clone()], 0).unsqueeze();
        self.pos_embed.as_ref().map_or_else(fixed, Param::val)
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
}

impl Mae {
    /// A freshly initialised autoencoder; the same `seed` gives the same weights on every device.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn new(config: &MaeConfig, seed: u64, device: &Device) -> Result<Self, PatchError> {
        let (grid, init) = (config.grid()?, &mut Init::new(seed));
        let (dim, table) = (config.decoder_dim, sincos_2d_table(&grid, config.decoder_dim, true));
        let (depth, heads, ratio) = (config.decoder_depth, config.decoder_heads, config.mlp_ratio);
        let cross = config.decoder == DecoderKind::Cross;
        Ok(Self {
            encoder: Encoder::new(config, init, device)?,
            decoder_embed: init.linear(config.dim, dim, device),
            decoder_embed_norm: cross.then(|| LayerNorm::new(dim, device)),
            mask_token: init.token(dim, device),
            decoder_blocks: match config.decoder {
                DecoderKind::SelfAttention => {
                    DecoderBlocks::SelfAttention(init.blocks(depth, dim, heads, ratio, device))
                }
                DecoderKind::Cross => DecoderBlocks::Cross(init.cross_blocks(depth, dim, heads, ratio, device)),
            },
            decoder_norm: LayerNorm::new(dim, device),
            decoder_pred: init.linear(dim, grid.patch_dim(), device),
            decoder_pos_embed: init::stored_table(config, &grid, dim, device),
            decoder_sincos: init::constant(table, [1 + grid.patches(), dim], device),
            norm_pix_loss: config.norm_pix_loss,
        })
    }

    /// One pass over a batch. `patches`: normalised pixels, `[B, L, P]`.
    pub fn forward(&self, patches: Tensor<3>, masks: &MaskBatch) -> MaeOutput {
        let latent = self.forward_encoder(patches.clone(), masks);
        let pred = self.forward_decoder(latent, masks);
        let loss = self.forward_loss(patches, pred.clone(), masks);
        MaeOutput { loss, pred }
    }

    /// Random masking and encoding (§3, "MAE encoder"). `patches`: `[B, L, P]`. Returns `[B * (1 + V), D]`.
    ///
    /// The reference projects every patch and then drops the removed ones; to drop them first is the same and
    /// saves their projection.
    pub fn forward_encoder(&self, patches: Tensor<3>, masks: &MaskBatch) -> Tensor<2> {
        let (visible, positions) = random_masking(patches, masks);
        self.encoder.forward(visible, positions, masks.batch())
    }

    /// Decoding (§3, "MAE decoder"): mask tokens join, all tokens return to their places. `latent`:
    /// `[B * (1 + V), D]`. Returns the prediction of every patch, `[B, L, P]`; with [`DecoderKind::Cross`] mask
    /// tokens stand for visible patches, too.
    pub fn forward_decoder(&self, latent: Tensor<2>, masks: &MaskBatch) -> Tensor<3> {
        let (batch, length) = (masks.batch(), masks.patches());
        if let DecoderBlocks::Cross(_) = self.decoder_blocks {
            let x = self.predict(self.decode_wanted(latent.clone(), masks, masks.every_patch(&latent.device())));
            let values = x.dims()[1];
            return x.reshape([batch, length, values]);
        }
        let x = self.unshuffle(self.decoder_embed.forward(latent), masks);
        let x = self.predict(self.decode(x, masks.batch()));
        let values = x.dims()[1];
        x.reshape([batch, 1 + length, values]).narrow(1, 1, length)
    }

    /// Decoding with mask tokens for some patches alone. `latent`: `[B * (1 + V), D]`; `wanted`: numbers of the
    /// patches, as many of each image, `[B * K]`. Returns their tokens behind the last block, `[B * K, E]`.
    pub fn decode_wanted(&self, latent: Tensor<2>, masks: &MaskBatch, wanted: Tensor<1, Int>) -> Tensor<2> {
        let (batch, device) = (masks.batch(), latent.device());
        let x = self.decoder_embed.forward(latent);
        let [rows, dim] = x.dims();
        let (visible, wanted_rows) = (rows / batch, wanted.dims()[0]);
        let positions = self.decoder_positions().squeeze_dim::<2>(0);
        let x = x + positions.clone().select(0, masks.token_positions(&device));
        let queries = self.mask_token.val().reshape([1, dim]) + positions.select(0, wanted.add_scalar(1));
        match &self.decoder_blocks {
            DecoderBlocks::SelfAttention(blocks) => {
                let per_image = |x: Tensor<2>, rows: usize| x.reshape([batch, rows / batch, dim]);
                let x = Tensor::cat(vec![per_image(x, rows), per_image(queries, wanted_rows)], 1);
                let tokens = visible + wanted_rows / batch;
                let x = blocks.iter().fold(x.reshape([batch * tokens, dim]), |x, block| block.forward(x, batch));
                let x = x.reshape([batch, tokens, dim]).narrow(1, visible, tokens - visible);
                x.reshape([wanted_rows, dim])
            }
            DecoderBlocks::Cross(blocks) => {
                let context = self.context(x);
                blocks.iter().fold(queries, |x, block| block.forward(x, &context, batch))
            }
        }
    }

    /// What mask tokens attend to with [`DecoderKind::Cross`]. `x`: embedded tokens with their positions, `[N, E]`.
    fn context(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.decoder_embed_norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }

    /// Positions of the decoder's tokens, the class token first, `[1, 1 + L, E]`.
    fn decoder_positions(&self) -> Tensor<3> {
        match &self.decoder_pos_embed {
            Some(table) => table.val(),
            None => self.decoder_sincos.clone().unsqueeze::<3>(),
        }
    }

    /// Puts mask tokens where patches were removed, and every token in its place: `[B * (1 + V), E]` to
    /// `[B * (1 + L), E]`, class tokens first.
    pub fn unshuffle(&self, x: Tensor<2>, masks: &MaskBatch) -> Tensor<2> {
        let ([_, dim], device) = (x.dims(), x.device());
        // One more row, the mask token; then every place names the row that belongs there.
        Tensor::cat(vec![x, self.mask_token.val().reshape([1, dim])], 0).select(0, masks.restore_rows(&device))
    }

    /// Positions and the decoder's blocks on tokens in all places. `x`: `[B * (1 + L), E]`.
    pub fn decode(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        let [rows, dim] = x.dims();
        let x = (x.reshape([batch, rows / batch, dim]) + self.decoder_positions()).reshape([rows, dim]);
        match &self.decoder_blocks {
            DecoderBlocks::SelfAttention(blocks) => blocks.iter().fold(x, |x, block| block.forward(x, batch)),
            DecoderBlocks::Cross(blocks) => {
                let context = self.context(x.clone());
                blocks.iter().fold(x, |x, block| block.forward(x, &context, batch))
            }
        }
    }

    /// Patches of decoded tokens, `[N, E]` to `[N, P]`.
    pub fn predict(&self, x: Tensor<2>) -> Tensor<2> {
        self.decoder_pred.forward(self.decoder_norm.forward(x))
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
pub fn random_masking(patches: Tensor<3>, masks: &MaskBatch) -> (Tensor<2>, Tensor<1, Int>) {
    let [batch, length, values] = patches.dims();
    let device = patches.device();
    let visible = patches.reshape([batch * length, values]).select(0, masks.keep_rows(&device));
    (visible, masks.positions(&device))
}

/// Each patch minus its mean, over its (unbiased) standard deviation, and the latter, `[B, L, 1]`. `patches`: `[B, L,
/// P]`.
pub fn normalize_patches(patches: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let (var, mean) = patches.clone().var_mean(2);
    let deviation = (var + NORM_PIX_EPS).sqrt();
    ((patches - mean) / deviation.clone(), deviation)
}
