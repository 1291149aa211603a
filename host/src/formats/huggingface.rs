//! Hugging Face's ViTMAE: other names, queries, keys and values apart.
//!
//! Three styles of names exist: the published files' (`vit.encoder.layer.N`, `decoder.decoder_layers.N`), those of
//! `save_pretrained` in transformers 5 (`decoder.decoder_encoder.layer.N`), and those of its models in memory
//! (`vit.layers.N.attention.q_proj`). [`super::names`] reads all; the first is written.

use super::names::{joined, parts};
use crate::{
    model::MaeConfig,
    tensors::{NamedTensor, Tensors},
};
use common::normalize::PixelStats;
use serde_json::{Value as Json, json};

/// Parts of the fused projection in the reference's order.
const QKV: [&str; 3] = ["query", "key", "value"];
/// Layers of a block: the reference's name, and Hugging Face's.
const LAYERS: [(&str, &str); 5] = [
    ("norm1", "layernorm_before"),
    ("attn.proj", "attention.output.dense"),
    ("norm2", "layernorm_after"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
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
/// Where blocks are: the reference's prefix, and Hugging Face's.
const BLOCKS: [(&str, &str); 2] = [("blocks", "vit.encoder.layer"), ("decoder_blocks", "decoder.decoder_layers")];

/// A number between two dots in front of a layer's name: `3.attn` is (3, `attn`).
fn numbered(rest: &str) -> Option<(&str, &str)> {
    let (number, layer) = rest.strip_prefix('.')?.split_once('.')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((number, layer))
}

/// Hugging Face's names of a parameter of the reference: three of a fused projection, else one.
#[must_use]
pub(crate) fn names(official: &str) -> Vec<String> {
    let (layer, part) = parts(official);
    for (prefix, written) in BLOCKS {
        let Some((number, layer)) = layer.strip_prefix(prefix).and_then(numbered) else { continue };
        if layer == "attn.qkv" {
            let one = |name: &&str| format!("{written}.{number}.attention.attention.{name}.{part}");
            return QKV.iter().map(one).collect();
        }
        let known = LAYERS.iter().find(|(official, _)| *official == layer);
        return known.map(|(_, name)| joined(&format!("{written}.{number}.{name}"), part)).into_iter().collect();
    }
    let known = OTHERS.iter().chain([&PRED]).find(|(official, _)| *official == layer);
    known.map(|(_, name)| joined(name, part)).into_iter().collect()
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

/// `config.json` of a classifier by the class token.
#[must_use]
pub(crate) fn classifier_json(config: &MaeConfig, classes: &[String]) -> Json {
    let mut json = config_json(config, 0.75, false);
    let labels = classes.iter().enumerate();
    json["id2label"] = labels.clone().map(|(class, name)| (class.to_string(), Json::from(name.as_str()))).collect();
    json["label2id"] = labels.map(|(class, name)| (name.clone(), Json::from(class))).collect();
    json["architectures"] = json!(["ViTForImageClassification"]);
    json["model_type"] = "vit".into();
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|name, _| !name.starts_with("decoder_") && name != "mask_ratio" && name != "norm_pix_loss");
    }
    json
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
