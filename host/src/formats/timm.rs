//! timm's vision transformers: the reference's names for the encoder, and a `config.json`.

use super::huggingface::round;
use crate::model::MaeConfig;
use common::normalize::PixelStats;
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

/// `config.json` of an encoder, with which `timm.create_model("local-dir:FOLDER", pretrained=True)` makes it.
#[must_use]
pub(crate) fn config_json(config: &MaeConfig, pixels: &PixelStats) -> Json {
    let (height, width) = (config.image_height, config.image_width);
    let values = |all: &[f32; 4]| all[..config.channels.min(4)].iter().map(|v| round(*v)).collect::<Vec<_>>();
    json!({
        // Any vision transformer: `model_args` say which.
        "architecture": "vit_base_patch16_224",
        "num_classes": 0,
        "num_features": config.dim,
        "global_pool": "token",
        "model_args": {
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
            "num_classes": 0,
            "pool_size": null,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    })
}
