//! Floating-point operations of the matrix products, counted from the geometry alone.
//!
//! A product `[m, k] x [k, n]` is `2 m k n`. One image, `V` visible of `L` patches of `P` values:
//!
//! ```text
//! block(N, D, H) = 2 N D 3D  (qkv) + 2 N N D  (scores) + 2 N N D  (weighted sum) + 2 N D D  (proj)
//!                + 2 N D H + 2 N H D  (MLP)
//! forward = 2 V P D  (patch projection, visible patches only) + depth * block(T + 1, D, H)
//!         + 2 (T + 1) D E  (decoder_embed) + decoder_depth * block(L + 1, E, I) + 2 (L + 1) E P  (decoder_pred)
//! T = V, or L where mask tokens pass through the encoder
//! backward = 2 forward: one product for the inputs' gradients, one for the weights'
//! ```
//!
//! Norms, softmax, GELU, the loss and AdamW are not counted, nor is work that an implementation adds or saves: the
//! count is a yardstick, the same for every program.

use crate::{model::MaeConfig, preset::Preset};
use common::{mask, patch::PatchError};

/// Operations of one transformer block on `tokens` tokens of width `dim`, MLP `hidden` wide.
fn block(tokens: u64, dim: u64, hidden: u64) -> u64 {
    let linears = 2 * tokens * dim * (3 * dim + dim + 2 * hidden);
    linears + 4 * tokens * tokens * dim
}

/// Operations of one image's forward pass that sees `visible` patches.
///
/// # Errors
/// If the image cannot be cut into patches.
pub fn forward(config: &MaeConfig, visible: usize) -> Result<u64, PatchError> {
    forward_through(config, visible, visible)
}

/// As [`forward`], with `encoded` tokens in the encoder beside the class token.
fn forward_through(config: &MaeConfig, visible: usize, encoded: usize) -> Result<u64, PatchError> {
    let grid = config.grid()?;
    let [visible, encoded, patches, values] = [visible, encoded, grid.patches(), grid.patch_dim()].map(|n| n as u64);
    let hidden = |dim: usize| (dim as f64 * config.mlp_ratio) as u64;
    let (dim, width) = (config.dim as u64, config.decoder_dim as u64);
    let encoder = 2 * visible * values * dim + config.depth as u64 * block(encoded + 1, dim, hidden(config.dim));
    let blocks = config.decoder_depth as u64 * block(patches + 1, width, hidden(config.decoder_dim));
    Ok(encoder + 2 * (encoded + 1) * dim * width + blocks + 2 * (patches + 1) * width * values)
}

/// Operations of one image's training step: forward and backward.
///
/// # Errors
/// As [`forward`].
pub fn step(config: &MaeConfig, visible: usize) -> Result<u64, PatchError> {
    Ok(3 * forward(config, visible)?)
}

/// Operations of one image's training step as a preset's recipe has it: its mask ratio, and mask tokens where it has
/// them.
///
/// # Errors
/// As [`forward`].
pub fn training(preset: &Preset) -> Result<u64, PatchError> {
    let (patches, train) = (preset.model.grid()?.patches(), &preset.train);
    let visible = mask::len_keep(patches, train.mask_ratio);
    let encoded = if train.encoder_mask_tokens { patches } else { visible };
    Ok(3 * forward_through(&preset.model, visible, encoded)?)
}

/// Operations of one image's features: the encoder alone, on all patches.
///
/// # Errors
/// As [`forward`].
pub fn encoder(config: &MaeConfig) -> Result<u64, PatchError> {
    let grid = config.grid()?;
    let [patches, values] = [grid.patches(), grid.patch_dim()].map(|n| n as u64);
    Ok(2 * patches * values * config.dim as u64 + config.depth as u64 * encoder_block(config)?.all)
}

/// Operations of one of the encoder's blocks on all patches of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFlops {
    /// Attention and MLP.
    pub all: u64,
    /// The MLP alone.
    pub mlp: u64,
}

/// See [`BlockFlops`].
///
/// # Errors
/// As [`forward`].
pub fn encoder_block(config: &MaeConfig) -> Result<BlockFlops, PatchError> {
    let (tokens, dim) = (config.grid()?.patches() as u64 + 1, config.dim as u64);
    let hidden = (config.dim as f64 * config.mlp_ratio) as u64;
    Ok(BlockFlops { all: block(tokens, dim, hidden), mlp: 4 * tokens * dim * hidden })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_count_by_hand() {
        // 8x8 grey image in 4x4 patches: L = 4, P = 16; one is visible, so the encoder has 2 tokens, the decoder 5.
        let config = MaeConfig {
            image_height: 8,
            image_width: 8,
            channels: 1,
            patch_size: 4,
            dim: 8,
            depth: 1,
            heads: 2,
            decoder_dim: 4,
            decoder_depth: 2,
            decoder_heads: 1,
            mlp_ratio: 4.0,
            norm_pix_loss: true,
            position: common::model::PositionKind::SinCos2d,
        };
        // Multiply-adds, product by product.
        let projection = 16 * 8;
        let encoder_block = 2 * 8 * 24 + 2 * 2 * 8 + 2 * 2 * 8 + 2 * 8 * 8 + 2 * 8 * 32 + 2 * 32 * 8;
        let embed = 2 * 8 * 4;
        let decoder_block = 5 * 4 * 12 + 5 * 5 * 4 + 5 * 5 * 4 + 5 * 4 * 4 + 5 * 4 * 16 + 5 * 16 * 4;
        let pred = 5 * 4 * 16;
        let by_hand = 2 * (projection + encoder_block + embed + 2 * decoder_block + pred);
        assert_eq!(by_hand, 8864);
        assert_eq!(forward(&config, 1).expect("grid"), by_hand);
        assert_eq!(step(&config, 1).expect("grid"), 3 * by_hand);
    }

    #[test]
    fn hidden_patches_cost_the_encoder_nothing() {
        let config = Preset::named("base-224").expect("preset").model;
        let no_decoder = |visible| {
            let decoder = MaeConfig { decoder_depth: 0, ..config.clone() };
            forward(&decoder, visible).expect("grid") as f64
        };
        // torchvision documents 17.56 G multiply-adds for ViT-B/16 at 224x224; 2 operations each.
        assert!((no_decoder(196) / 2e9 - 17.6).abs() < 0.3, "{}", no_decoder(196));
        assert!(no_decoder(49) < no_decoder(196) / 3.9);
        let features = encoder(&config).expect("grid") as f64;
        assert!((features / no_decoder(196) - 1.0).abs() < 0.01, "{features}");
    }

    #[test]
    fn mask_tokens_in_the_encoder_cost_three_times_as_much() {
        // Table 1c has 3.3 times for ViT-L, decoder and all.
        let mut preset = Preset::named("large-224").expect("preset");
        let without = training(&preset).expect("grid") as f64;
        preset.train.encoder_mask_tokens = true;
        let with = training(&preset).expect("grid") as f64;
        assert!((with / without - 3.3).abs() < 0.15, "{}", with / without);
    }
}
