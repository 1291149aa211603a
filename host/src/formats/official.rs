//! The names and shapes of the reference implementation's parameters, which are also timm's for the encoder.

use super::error::ImportError;
use crate::{
    model::{DecoderKind, MaeConfig},
    tensors::{Tensors, mismatch::fitting},
};

/// Every parameter of a model in the reference's order, with its shape; `decoder` adds the decoder's. The reference
/// has no [`DecoderKind::Cross`]; its parameters have this program's names.
#[must_use]
pub fn parameters(config: &MaeConfig, decoder: bool) -> Vec<(String, Vec<usize>)> {
    let tokens = 1 + config.image_height / config.patch_size * (config.image_width / config.patch_size);
    let (d, e, p, channels) = (config.dim, config.decoder_dim, config.patch_size, config.channels);
    let mut all = vec![("cls_token".to_owned(), vec![1, 1, d]), ("pos_embed".into(), vec![1, tokens, d])];
    if decoder {
        all.push(("mask_token".into(), vec![1, 1, e]));
        all.push(("decoder_pos_embed".into(), vec![1, tokens, e]));
    }
    linear(&mut all, "patch_embed.proj", &[d, channels, p, p]);
    blocks(&mut all, "blocks", config.depth, d, config.mlp_ratio, DecoderKind::SelfAttention);
    linear(&mut all, "norm", &[d]);
    if decoder {
        linear(&mut all, "decoder_embed", &[e, d]);
        if config.decoder == DecoderKind::Cross {
            linear(&mut all, "decoder_embed_norm", &[e]);
        }
        blocks(&mut all, "decoder_blocks", config.decoder_depth, e, config.mlp_ratio, config.decoder);
        linear(&mut all, "decoder_norm", &[e]);
        linear(&mut all, "decoder_pred", &[p * p * channels, e]);
    }
    all
}

/// A weight and its bias.
fn linear(all: &mut Vec<(String, Vec<usize>)>, name: &str, shape: &[usize]) {
    all.push((format!("{name}.weight"), shape.to_vec()));
    all.push((format!("{name}.bias"), shape[..1].to_vec()));
}

fn blocks(
    all: &mut Vec<(String, Vec<usize>)>,
    name: &str,
    depth: usize,
    dim: usize,
    mlp_ratio: f64,
    kind: DecoderKind,
) {
    let hidden = (dim as f64 * mlp_ratio) as usize;
    let inputs: &[(&str, usize)] = match kind {
        DecoderKind::SelfAttention => &[("attn.qkv", 3)],
        DecoderKind::Cross => &[("attn.q", 1), ("attn.kv", 2)],
    };
    for block in 0..depth {
        let mut add = |layer: &str, shape: &[usize]| linear(all, &format!("{name}.{block}.{layer}"), shape);
        add("norm1", &[dim]);
        inputs.iter().for_each(|(layer, parts)| add(layer, &[parts * dim, dim]));
        add("attn.proj", &[dim, dim]);
        add("norm2", &[dim]);
        add("mlp.fc1", &[hidden, dim]);
        add("mlp.fc2", &[dim, hidden]);
    }
}

/// Checks that `tensors` are exactly the parameters of a model.
///
/// # Errors
/// Names the first that is missing or has another shape, or else one that has no place in the model.
pub(crate) fn check(tensors: &Tensors, config: &MaeConfig, decoder: bool) -> Result<(), ImportError> {
    let parameters = parameters(config, decoder);
    for (name, expected) in &parameters {
        fitting(tensors, name, expected)?;
    }
    let known: std::collections::BTreeSet<&String> = parameters.iter().map(|(name, _)| name).collect();
    match tensors.keys().find(|name| !known.contains(name)) {
        Some(name) => Err(ImportError::Unknown(name.clone())),
        None => Ok(()),
    }
}
