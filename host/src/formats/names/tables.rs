//! The names that libraries give to one and the same parameter.

/// Whose names a file has: known by the patch projection, which every library calls otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The official code's, which are also those of timm, lightly, solo-learn, DINO, MoCo v3.
    Official,
    /// Hugging Face's transformers, all generations.
    HuggingFace,
    /// OpenMMLab's (mmpretrain, mmselfsup, mmsegmentation).
    OpenMmLab,
    /// torchvision's.
    Torchvision,
}

impl Dialect {
    /// Whose name of a patch projection's weight this is, and what stands in front of it.
    #[must_use]
    pub(crate) fn of_anchor(name: &str) -> Option<(Self, &str)> {
        Self::ANCHORS.iter().find_map(|(dialect, anchor)| {
            let prefix = name.strip_suffix(anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some((*dialect, prefix))
        })
    }

    /// All, with the end of the name of their patch projection's weight.
    pub(super) const ANCHORS: [(Self, &str); 4] = [
        (Self::Official, "patch_embed.proj.weight"),
        (Self::HuggingFace, "embeddings.patch_embeddings.projection.weight"),
        (Self::OpenMmLab, "patch_embed.projection.weight"),
        (Self::Torchvision, "conv_proj.weight"),
    ];

    /// Its name for people and for `run.toml`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::HuggingFace => "huggingface",
            Self::OpenMmLab => "openmmlab",
            Self::Torchvision => "torchvision",
        }
    }
}

/// The end of the name that tells a decoder.
pub(super) const ANCHOR_OF_DECODER: &str = "decoder_embed.weight";

/// Segments that wrappers put into names, anywhere: data-parallel and sharded training, compiled models, activation
/// checkpointing, Lightning Fabric and DeepSpeed, Opacus.
pub(super) const WRAPPERS: [&str; 6] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_module"];

/// What stands outside blocks in an encoder: the reference's name, and everyone's.
const TOP: [(&str, &[&str]); 6] = [
    ("cls_token", &["cls_token", "embeddings.cls_token", "class_token"]),
    ("pos_embed", &["pos_embed", "embeddings.position_embeddings", "encoder.pos_embedding"]),
    (
        "patch_embed.proj",
        &["patch_embed.proj", "patch_embed.projection", "embeddings.patch_embeddings.projection", "conv_proj"],
    ),
    ("norm", &["norm", "layernorm", "ln1", "norm1", "encoder.ln"]),
    // OpenMMLab's second last norm is the one behind the mean.
    ("fc_norm", &["fc_norm", "ln2", "norm2"]),
    ("mask_token", &["mask_token", "embeddings.mask_token"]),
];
/// In front of a block's number in an encoder.
const BLOCKS: [&str; 4] = ["blocks.", "encoder.layer.", "layers.", "encoder.layers.encoder_layer_"];
/// What stands outside blocks in a decoder. The first names say so themselves; the others mean it only where the
/// decoder has a prefix of its own.
const DECODER: [(&str, &[&str], &[&str]); 5] = [
    ("decoder_embed", &["decoder_embed"], &[]),
    ("decoder_pos_embed", &["decoder_pos_embed"], &["pos_embedding", "pos_embed"]),
    ("decoder_norm", &["decoder_norm"], &["norm", "ln", "ln1", "norm1"]),
    ("decoder_pred", &["decoder_pred"], &["prediction_head", "pred"]),
    ("mask_token", &["mask_token"], &[]),
];
/// As [`BLOCKS`] in a decoder.
const DECODER_BLOCKS: [&str; 3] = ["decoder_blocks.", "decoder_layers.", "decoder_encoder.layer."];
/// As [`DECODER_BLOCKS`], where the decoder has a prefix of its own.
const BARE_DECODER_BLOCKS: [&str; 3] = ["blocks.", "layers.encoder_layer_", "layers."];
/// Layers of a block. `attn.0` to `attn.2` are queries, keys and values apart.
const LAYERS: [(&str, &[&str]); 9] = [
    ("norm1", &["norm1", "layernorm_before", "ln1", "ln_1"]),
    ("norm2", &["norm2", "layernorm_after", "ln2", "ln_2"]),
    ("attn.qkv", &["attn.qkv"]),
    ("attn.0", &["attention.attention.query", "attention.q_proj", "attn.q_proj", "attn.q"]),
    ("attn.1", &["attention.attention.key", "attention.k_proj", "attn.k_proj", "attn.k"]),
    ("attn.2", &["attention.attention.value", "attention.v_proj", "attn.v_proj", "attn.v"]),
    (
        "attn.proj",
        &["attn.proj", "attention.output.dense", "attention.o_proj", "self_attention.out_proj", "attn.attn.out_proj"],
    ),
    ("mlp.fc1", &["mlp.fc1", "intermediate.dense", "ffn.layers.0.0", "mlp.0", "mlp.linear_1"]),
    ("mlp.fc2", &["mlp.fc2", "output.dense", "ffn.layers.1", "mlp.3", "mlp.linear_2"]),
];
/// Parameters of a block whose last part is not set off by a dot.
const FUSED: [(&str, &str); 6] = [
    ("attn.qkv.weight", "self_attention.in_proj_weight"),
    ("attn.qkv.bias", "self_attention.in_proj_bias"),
    ("attn.qkv.weight", "attn.attn.in_proj_weight"),
    ("attn.qkv.bias", "attn.attn.in_proj_bias"),
    ("attn.0.bias", "attn.q_bias"),
    ("attn.2.bias", "attn.v_bias"),
];
/// A classifier's last layer, from the place where the encoder's prefix begins or from the one before it.
const CLASSIFIERS: [&str; 6] = ["head", "classifier", "heads.head", "head.fc", "head.layers.head", "fc"];

/// `layer` with its last part (`weight` or `bias`) apart.
pub(in crate::formats) fn parts(layer: &str) -> (&str, &str) {
    layer.rsplit_once('.').filter(|(_, part)| ["weight", "bias"].contains(part)).unwrap_or((layer, ""))
}

/// A layer and its part as one name.
pub(in crate::formats) fn joined(name: &str, part: &str) -> String {
    if part.is_empty() { name.to_owned() } else { format!("{name}.{part}") }
}

fn top<'a>(name: &str, table: impl IntoIterator<Item = (&'static str, &'a [&'static str])>) -> Option<String> {
    let (layer, part) = parts(name);
    let (official, _) = table.into_iter().find(|(_, names)| names.contains(&layer))?;
    Some(joined(official, part))
}

fn in_block(name: &str, official: &str, prefixes: &[&str]) -> Option<String> {
    let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let (number, layer) = rest.split_once('.')?;
    if number.is_empty() || number.len() > 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some((fused, _)) = FUSED.iter().find(|(_, name)| *name == layer) {
        return Some(format!("{official}.{number}.{fused}"));
    }
    let (layer, part) = parts(layer);
    let (layer, _) = LAYERS.iter().find(|(_, names)| names.contains(&layer))?;
    Some(joined(&format!("{official}.{number}.{layer}"), part))
}

/// The reference's name of an encoder's parameter. `name`: without the encoder's prefix.
#[must_use]
pub(super) fn encoder(name: &str) -> Option<String> {
    top(name, TOP).or_else(|| in_block(name, "blocks", &BLOCKS))
}

/// The reference's name of a decoder's parameter. `name`: without the decoder's prefix, which with `own` is another
/// than the encoder's.
#[must_use]
pub(super) fn decoder(name: &str, own: bool) -> Option<String> {
    top(name, DECODER.map(|(official, names, _)| (official, names)))
        .or_else(|| in_block(name, "decoder_blocks", &DECODER_BLOCKS))
        .or_else(|| own.then(|| top(name, DECODER.map(|(official, _, names)| (official, names)))).flatten())
        .or_else(|| own.then(|| in_block(name, "decoder_blocks", &BARE_DECODER_BLOCKS)).flatten())
}

/// `head.weight`, `head.bias`, or of the official linear probe `head.0.…` (its BatchNorm) and `head.1.…`.
#[must_use]
pub(super) fn classifier(name: &str) -> Option<String> {
    if ["head.0.running_mean", "head.0.running_var", "head.1.weight", "head.1.bias"].contains(&name) {
        return Some(name.to_owned());
    }
    let (layer, part) = parts(name);
    (!part.is_empty() && CLASSIFIERS.contains(&layer)).then(|| joined("head", part))
}
