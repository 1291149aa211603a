//! timm's vision transformers: the reference's names for the encoder, and a `config.json`.

use super::{classifier::Classifier, huggingface::round};
use crate::model::MaeConfig;
use common::{model::Pooling, normalize::PixelStats};
use serde_json::{Value as Json, json};

/// timm's models of the shapes that have a name, `vit_NAME_patchP_SIZE`: name, width, blocks, heads.
const NAMED: [(&str, usize, usize, usize); 5] = [
    ("tiny", 192, 12, 3),
    ("small", 384, 12, 6),
    ("base", 768, 12, 12),
    ("large", 1024, 24, 16),
    ("huge", 1280, 32, 16),
];

/// The heads of a model that is named in `text`, as timm and the reference name theirs, if it is that wide.
#[must_use]
pub(crate) fn heads_of(text: &str, dim: usize) -> Option<usize> {
    let known = NAMED.iter().find(|(name, width, ..)| *width == dim && text.contains(&format!("vit_{name}")));
    known.map(|(.., heads)| *heads)
}

/// `config.json` of an encoder or classifier, with which `timm.create_model("local-dir:FOLDER", pretrained=True)`
/// makes it.
#[must_use]
pub(crate) fn config_json(
    config: &MaeConfig,
    pixels: &PixelStats,
    pooling: Pooling,
    head: Option<&Classifier>,
) -> Json {
    let count = head.map_or(0, |head| head.bias.len());
    // Without a head timm's usual pooling is written; a mean that is normed afterwards is part of the model.
    let pool = match (pooling, head) {
        (Pooling::MeanNorm, _) | (Pooling::Mean, Some(_)) => "avg",
        (Pooling::Cls, _) | (Pooling::Mean, None) => "token",
    };
    let (height, width) = (config.image_height, config.image_width);
    let values = |all: &[f32; 4]| all[..config.channels.min(4)].iter().map(|v| round(*v)).collect::<Vec<_>>();
    let mut json = json!({
        // Any vision transformer: `model_args` say which.
        "architecture": "vit_base_patch16_224",
        "num_classes": count,
        "num_features": config.dim,
        "global_pool": pool,
        "model_args": {
            "global_pool": pool,
            "fc_norm": pooling == Pooling::MeanNorm,
            "img_size": [height, width],
            "patch_size": config.patch_size,
            "in_chans": config.channels,
            "embed_dim": config.dim,
            "depth": config.depth,
            "num_heads": config.heads,
            "mlp_ratio": config.mlp_ratio,
        },
        "pretrained_cfg": {
            "custom_load": false,
            "input_size": [config.channels, height, width],
            "fixed_input_size": true,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": values(&pixels.mean),
            "std": values(&pixels.std),
            "num_classes": count,
            "pool_size": null,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    });
    if let Some(head) = head {
        json["label_names"] = head.classes.clone().into();
    }
    json
}
