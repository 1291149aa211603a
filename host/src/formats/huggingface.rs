//! Hugging Face's ViTMAE: other names, queries, keys and values apart.
//!
//! Three styles of names exist: the published files' (`vit.encoder.layer.N`, `decoder.decoder_layers.N`), those of
//! `save_pretrained` in transformers 5 (`decoder.decoder_encoder.layer.N`), and those of its models in memory
//! (`vit.layers.N.attention.q_proj`). All are read, with or without `vit.`; the first is written.

use crate::{
    model::MaeConfig,
    tensors::{NamedTensor, Tensors, mismatch::MismatchError},
};
use common::normalize::PixelStats;
use serde_json::{Value as Json, json};

/// Parts of the fused projection in the reference's order: Hugging Face's name, and its name in memory.
const QKV: [(&str, &str); 3] = [("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")];
/// Layers of a block: the reference's name, and Hugging Face's in files and in memory.
const LAYERS: [(&str, &str, &str); 5] = [
    ("norm1", "layernorm_before", "layernorm_before"),
    ("attn.proj", "attention.output.dense", "attention.o_proj"),
    ("norm2", "layernorm_after", "layernorm_after"),
    ("mlp.fc1", "intermediate.dense", "mlp.fc1"),
    ("mlp.fc2", "output.dense", "mlp.fc2"),
];
/// Everything outside blocks.
const OTHERS: [(&str, &str); 8] = [
    ("cls_token", "vit.embeddings.cls_token"),
    ("pos_embed", "vit.embeddings.position_embeddings"),
    ("patch_embed.proj", "vit.embeddings.patch_embeddings.projection"),
    ("norm", "vit.layernorm"),
    ("mask_token", "decoder.mask_token"),
    ("decoder_pos_embed", "decoder.decoder_pos_embed"),
    ("decoder_embed", "decoder.decoder_embed"),
    ("decoder_norm", "decoder.decoder_norm"),
];
/// As [`OTHERS`].
const PRED: (&str, &str) = ("decoder_pred", "decoder.decoder_pred");
/// Where blocks are: the reference's prefix, and Hugging Face's, the written one first.
const BLOCKS: [(&str, [&str; 2]); 2] = [
    ("blocks", ["vit.encoder.layer", "vit.layers"]),
    ("decoder_blocks", ["decoder.decoder_layers", "decoder.decoder_encoder.layer"]),
];

/// Whether tensors have Hugging Face's names.
#[must_use]
pub(crate) fn is(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| name.starts_with("vit.") || name.starts_with("embeddings."))
}

/// A number between two dots in front of a layer's name: `3.attn` is (3, `attn`).
fn numbered(rest: &str) -> Option<(&str, &str)> {
    let (number, layer) = rest.strip_prefix('.')?.split_once('.')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((number, layer))
}

/// `layer` with its last part (`weight` or `bias`) apart.
fn parts(layer: &str) -> (&str, &str) {
    layer.rsplit_once('.').filter(|(_, part)| ["weight", "bias"].contains(part)).unwrap_or((layer, ""))
}

fn joined(name: &str, part: &str) -> String {
    if part.is_empty() { name.to_owned() } else { format!("{name}.{part}") }
}

/// The reference's name; of queries, keys and values with `attn.0` to `attn.2` instead of `attn.qkv`.
fn official_name(name: &str) -> Option<String> {
    let bare = ["embeddings.", "encoder.", "layers.", "layernorm."].iter().any(|start| name.starts_with(start));
    let name = if bare { format!("vit.{name}") } else { name.to_owned() };
    for (official, prefixes) in BLOCKS {
        let Some(rest) = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)) else { continue };
        let (number, layer) = numbered(rest)?;
        let (layer, part) = parts(layer);
        let fused = QKV.iter().position(|(file, memory)| {
            layer == format!("attention.attention.{file}") || layer == format!("attention.{memory}")
        });
        let known = LAYERS.iter().find(|(_, file, memory)| layer == *file || layer == *memory);
        let layer =
            fused.map(|i| format!("attn.{i}")).or_else(|| known.map(|(official, ..)| (*official).to_owned()))?;
        return Some(joined(&format!("{official}.{number}.{layer}"), part));
    }
    let (layer, part) = parts(&name);
    let (official, _) = OTHERS.iter().chain([&PRED]).find(|(_, huggingface)| layer == *huggingface)?;
    Some(joined(official, part))
}

/// Hugging Face's names of a parameter of the reference: three of a fused projection, else one.
#[must_use]
pub(crate) fn names(official: &str) -> Vec<String> {
    let (layer, part) = parts(official);
    for (prefix, [written, _]) in BLOCKS {
        let Some((number, layer)) = layer.strip_prefix(prefix).and_then(numbered) else { continue };
        if layer == "attn.qkv" {
            let one = |(name, _): &(&str, &str)| format!("{written}.{number}.attention.attention.{name}.{part}");
            return QKV.iter().map(one).collect();
        }
        let known = LAYERS.iter().find(|(official, ..)| *official == layer);
        return known.map(|(_, name, _)| joined(&format!("{written}.{number}.{name}"), part)).into_iter().collect();
    }
    let known = OTHERS.iter().chain([&PRED]).find(|(official, _)| *official == layer);
    known.map(|(_, name)| joined(name, part)).into_iter().collect()
}

/// Renames, and joins queries, keys and values. Names that are not Hugging Face's stay.
///
/// # Errors
/// Names the first of queries, keys and values that is missing or misshapen.
pub(crate) fn to_official(tensors: Tensors) -> Result<Tensors, MismatchError> {
    let mut renamed: Tensors =
        tensors.into_iter().map(|(name, tensor)| (official_name(&name).unwrap_or(name), tensor)).collect();
    let fused: std::collections::BTreeSet<(String, String)> = renamed
        .keys()
        .filter_map(|name| {
            let (layer, part) = parts(name);
            let attn = (0..3).find_map(|i| layer.strip_suffix(&format!(".attn.{i}")))?;
            Some((attn.to_owned(), part.to_owned()))
        })
        .collect();
    for (block, part) in fused {
        let official = joined(&format!("{block}.attn.qkv"), &part);
        let mut whole: Option<NamedTensor> = None;
        for (i, name) in names(&official).into_iter().enumerate() {
            let piece = renamed.remove(&joined(&format!("{block}.attn.{i}"), &part));
            let piece = piece.ok_or_else(|| MismatchError::Missing(name.clone()))?;
            match &mut whole {
                None if piece.shape.is_empty() => {
                    return Err(MismatchError::Shape { name, expected: vec![1], found: piece.shape });
                }
                None => whole = Some(piece),
                Some(whole) => {
                    let mut expected = whole.shape.clone();
                    expected[0] /= i;
                    if piece.shape != expected {
                        return Err(MismatchError::Shape { name, expected, found: piece.shape });
                    }
                    whole.data.extend(piece.data);
                    whole.shape[0] += expected[0];
                }
            }
        }
        renamed.extend(whole.map(|whole| (official, whole)));
    }
    Ok(renamed)
}

/// Renames, and takes queries, keys and values apart.
#[must_use]
pub(crate) fn from_official(tensors: &Tensors) -> Tensors {
    let mut renamed = Tensors::new();
    for (official, tensor) in tensors {
        let names = names(official);
        let (count, rows) = (names.len().max(1), tensor.shape.first().copied().unwrap_or(1));
        let pieces = tensor.data.chunks((tensor.data.len() / count).max(1));
        for (name, data) in names.into_iter().zip(pieces) {
            let mut shape = tensor.shape.clone();
            if count > 1 {
                shape[0] = rows / count;
            }
            renamed.insert(name, NamedTensor { shape, data: data.to_vec() });
        }
    }
    renamed
}

/// `config.json` of a model; without `decoder`, that of the encoder alone.
#[must_use]
pub(crate) fn config_json(config: &MaeConfig, mask_ratio: f64, decoder: bool) -> Json {
    let hidden = |dim: usize| (dim as f64 * config.mlp_ratio) as usize;
    let architecture = if decoder { "ViTMAEForPreTraining" } else { "ViTMAEModel" };
    json!({
        "architectures": [architecture],
        "attention_probs_dropout_prob": 0.0,
        "decoder_hidden_size": config.decoder_dim,
        "decoder_intermediate_size": hidden(config.decoder_dim),
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_num_hidden_layers": config.decoder_depth,
        "dtype": "float32",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.dim,
        "image_size": config.image_height,
        "initializer_range": 0.02,
        "intermediate_size": hidden(config.dim),
        "layer_norm_eps": crate::model::layers::NORM_EPS,
        "mask_ratio": mask_ratio,
        "model_type": "vit_mae",
        "norm_pix_loss": config.norm_pix_loss,
        "num_attention_heads": config.heads,
        "num_channels": config.channels,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch_size,
        "qkv_bias": true,
    })
}

/// `preprocessor_config.json`: how images become the model's input.
#[must_use]
pub(crate) fn preprocessor_json(config: &MaeConfig, pixels: &PixelStats) -> Json {
    let values = |all: &[f32; 4]| all[..config.channels.min(4)].iter().map(|v| round(*v)).collect::<Vec<_>>();
    json!({
        "do_normalize": true,
        "do_rescale": true,
        "do_resize": true,
        "image_mean": values(&pixels.mean),
        "image_processor_type": "ViTImageProcessor",
        "image_std": values(&pixels.std),
        "resample": 3,
        "rescale_factor": 1.0 / 255.0,
        "size": { "height": config.image_height, "width": config.image_width },
    })
}

/// The shortest decimal of an f32, not the long one of the f64 next to it.
pub(super) fn round(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
