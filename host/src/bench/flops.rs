//! Floating-point operations of the matrix products, counted from the geometry alone.
//!
//! A product `[m, k] x [k, n]` is `2 m k n`. One image, `V` visible of `L` patches of `P` values:
//!
//! ```text
//! block(N, D, H) = 2 N D 3D  (qkv) + 2 N N D  (scores) + 2 N N D  (weighted sum) + 2 N D D  (proj)
//!                + 2 N D H + 2 N H D  (MLP)
//! forward = 2 V P D  (patch projection, visible patches only) + depth * block(T + 1, D, H)
//!         + 2 (T + 1) D E  (decoder_embed) + decoder_depth * block(S, E, I) + 2 S E P  (decoder_pred)
//! T = V, or L where mask tokens pass through the encoder
//! S = V + 1 + K, where K of the L - V removed patches are predicted, or L + 1 where mask tokens pass through the
//!     encoder
//! ```
//!
//! With cross-attention of `K` mask tokens to the `C = V + 1` visible ones decoder_pred is `2 K E P`, and a block
//!
//! ```text
//! cross(K, C, E, I) = 2 K E E  (q) + 2 C E 2E  (kv) + 2 K C E  (scores) + 2 K C E  (weighted sum) + 2 K E E  (proj)
//!                   + 2 K E I + 2 K I E  (MLP)
//! backward = 2 forward: one product for the inputs' gradients, one for the weights'
//! ```
//!
//! With a joint term the encoder's operations count once a view, and the projector's are added; without
//! reconstruction there is no decoder.
//!
//! Norms, softmax, GELU, the loss, the comparison of views and AdamW are not counted, nor is work that an
//! implementation adds or saves: the count is a yardstick, the same for every program.

use crate::{
    model::{DecoderKind, MaeConfig, masks::len_predicted},
    objective::joint::JointConfig,
    preset::Preset,
};
use common::{mask, patch::PatchError};

/// Operations of one transformer block on `tokens` tokens of width `dim`, MLP `hidden` wide.
fn block(tokens: u64, dim: u64, hidden: u64) -> u64 {
    let linears = 2 * tokens * dim * (3 * dim + dim + 2 * hidden);
    linears + 4 * tokens * tokens * dim
}

/// Operations of one block in which `tokens` tokens attend to `context` others.
fn cross_block(tokens: u64, context: u64, dim: u64, hidden: u64) -> u64 {
    let linears = 2 * tokens * dim * (2 * dim + 2 * hidden) + 4 * context * dim * dim;
    linears + 4 * tokens * context * dim
}

/// Operations of one image's forward pass that sees `visible` patches and predicts all others.
///
/// # Errors
/// If the image cannot be cut into patches.
pub fn forward(config: &MaeConfig, visible: usize) -> Result<u64, PatchError> {
    let predicted = config.grid()?.patches() - visible;
    forward_through(config, visible, visible, predicted).map(|(encoder, decoder)| encoder + decoder)
}

/// As [`forward`], with `encoded` tokens in the encoder beside the class token, and `predicted` patches; encoder and
/// decoder apart.
fn forward_through(
    config: &MaeConfig,
    visible: usize,
    encoded: usize,
    predicted: usize,
) -> Result<(u64, u64), PatchError> {
    let grid = config.grid()?;
    let [visible, encoded, patches, values] = [visible, encoded, grid.patches(), grid.patch_dim()].map(|n| n as u64);
    let hidden = |dim: usize| (dim as f64 * config.mlp_ratio) as u64;
    let (dim, width) = (config.dim as u64, config.decoder_dim as u64);
    let encoder = 2 * visible * values * dim + config.depth as u64 * block(encoded + 1, dim, hidden(config.dim));
    let decoder_hidden = hidden(config.decoder_dim);
    let (tokens, block) = match config.decoder {
        DecoderKind::SelfAttention => {
            let tokens = if encoded > visible { patches + 1 } else { visible + 1 + predicted as u64 };
            (tokens, block(tokens, width, decoder_hidden))
        }
        DecoderKind::Cross => (predicted as u64, cross_block(predicted as u64, encoded + 1, width, decoder_hidden)),
    };
    let blocks = config.decoder_depth as u64 * block;
    Ok((encoder, 2 * (encoded + 1) * dim * width + blocks + 2 * tokens * width * values))
}

/// Operations of one image's training step, forward and backward, as a preset's recipe has it: its mask ratio, mask
/// tokens where it has them, as many patches as it predicts, and with a joint term all views and their projector.
///
/// # Errors
/// As [`forward`].
pub fn training(preset: &Preset) -> Result<u64, PatchError> {
    let (patches, train) = (preset.model.grid()?.patches(), &preset.train);
    let visible = mask::len_keep(patches, train.mask_ratio);
    let encoded = if train.encoder_mask_tokens { patches } else { visible };
    let predicted = len_predicted(patches - visible, train.predict_ratio);
    let (encoder, decoder) = forward_through(&preset.model, visible, encoded, predicted)?;
    let joint = &train.joint;
    let decoder = if joint.reconstructs() { decoder } else { 0 };
    if !joint.is_on() {
        return Ok(3 * (encoder + decoder));
    }
    let further = joint.view_keep.map_or(visible, |share| mask::len_visible(patches, share));
    let (further, _) = forward_through(&preset.model, further, further, 0)?;
    let views =
        encoder + (joint.views() as u64 - 1) * further + joint.views() as u64 * projector(joint, preset.model.dim);
    Ok(3 * (views + decoder))
}

/// Operations of the projection of one view.
fn projector(joint: &JointConfig, dim: usize) -> u64 {
    let hidden = std::iter::repeat_n(joint.projector_hidden, joint.projector_depth);
    let widths: Vec<usize> = std::iter::once(dim).chain(hidden).chain([joint.projector_dim]).collect();
    widths.windows(2).map(|pair| 2 * (pair[0] * pair[1]) as u64).sum()
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
    use crate::{objective::joint::JointKind, preset::Recipe};

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
            decoder: DecoderKind::SelfAttention,
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
        // Two of the three removed patches are predicted from the two visible tokens.
        let cross_block = 2 * 4 * 4 + 2 * 4 * 8 + 2 * 2 * 4 + 2 * 2 * 4 + 2 * 4 * 4 + 2 * 4 * 16 + 2 * 16 * 4;
        let by_hand = 2 * (projection + encoder_block + embed + 2 * cross_block + 2 * 4 * 16);
        let config = MaeConfig { decoder: DecoderKind::Cross, ..config };
        let (encoder, decoder) = forward_through(&config, 1, 1, 2).expect("grid");
        assert_eq!(encoder + decoder, by_hand);
    }

    #[test]
    fn what_is_not_predicted_costs_nothing() {
        let mut preset = Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper);
        let mut counted = |decoder, ratio| {
            (preset.model.decoder, preset.train.predict_ratio) = (decoder, ratio);
            let visible = mask::len_keep(64, preset.train.mask_ratio);
            let (encoder, _) = forward_through(&preset.model, visible, visible, 0).expect("grid");
            (training(&preset).expect("grid") / 3 - encoder) as f64
        };
        let all = counted(DecoderKind::SelfAttention, 1.0);
        let half = counted(DecoderKind::SelfAttention, 0.5);
        let (cross, both) = (counted(DecoderKind::Cross, 1.0), counted(DecoderKind::Cross, 0.5));
        assert!(both < 0.4 * all && half < 0.62 * all && cross < 0.72 * all, "{all} {half} {cross} {both}");
    }

    #[test]
    fn views_cost_an_encoder_and_a_projector_each() {
        let mut preset = Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper);
        let (encoder, decoder) = forward_through(&preset.model, 16, 16, 48).expect("grid");
        preset.train.joint = JointConfig { kind: JointKind::Infonce, views: 3, ..JointConfig::default() };
        let projector = 2 * (128 * 512 + 512 * 128);
        assert_eq!(training(&preset).expect("grid"), 3 * (3 * (encoder + projector) + decoder));
        preset.train.joint.view_keep = Some(0.125);
        let (small, _) = forward_through(&preset.model, 8, 8, 0).expect("grid");
        assert_eq!(training(&preset).expect("grid"), 3 * (encoder + 2 * small + 3 * projector + decoder));
        (preset.train.joint.view_keep, preset.train.joint.reconstruction_weight) = (None, 0.0);
        assert_eq!(training(&preset).expect("grid"), 9 * (encoder + projector));
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
