//! What other models have that this program does not compute, known by the names of their parameters.

use crate::tensors::Tensors;

/// Parts of names, and what they mean. A part with a leading dot also stands at the start of a name.
const SIGNS: [(&str, &[&str]); 17] = [
    (
        "layer scale",
        &[
            ".ls1.",
            ".ls2.",
            ".ls.",
            ".gamma_1",
            ".gamma_2",
            ".gamma1",
            ".gamma2",
            ".lambda_1",
            ".lambda_2",
            ".layer_scale",
            ".layerscale",
        ],
    ),
    (
        "norms of queries and keys",
        &[".q_norm", ".k_norm", ".norm_q", ".norm_k", ".q_layernorm", ".k_layernorm", ".ln_q", ".ln_k"],
    ),
    ("register tokens", &[".reg_token", ".register_token", ".registers", ".storage_tokens"]),
    ("a distillation token", &[".dist_token", ".distillation_token", ".head_dist"]),
    ("rotary positions", &[".rope", ".rotary", ".freqs_cis", ".inv_freq"]),
    ("SwiGLU", &[".w12.", ".w1.", ".gate_proj", ".fc1_g.", ".fc1_x.", ".swiglu", ".weights_in."]),
    ("relative positions", &[".relative_position", ".rel_pos", ".relative_coords"]),
    (
        "a norm before the blocks",
        &[".norm_pre", ".pre_norm", ".pre_layrnorm", ".pre_layernorm", ".ln_pre", ".norm_pre"],
    ),
    (
        "norms inside attention or MLP",
        &[".attn.norm.", ".attn_norm", ".inner_attn_ln", ".mlp.norm.", ".ffn_ln", ".ffn_layernorm"],
    ),
    (
        "a patch embedding of several layers",
        &[
            ".patch_embed.proj.0.",
            ".patch_embed.norm",
            ".patch_embed.backbone",
            ".patch_embed.0.",
            ".conv_stem",
            ".patch_embeddings.layernorm",
        ],
    ),
    ("attention pooling", &[".attn_pool", ".attnpool", ".attention_pool"]),
    ("LoRA adapters: merge them first", &[".lora_A", ".lora_B", ".lora_embedding"]),
    (
        "quantised weights: save them as f32 or f16",
        &[".weight_scale", ".absmax", ".SCB", ".quant_state", ".qweight", ".scales"],
    ),
    (
        "reparametrised weights: remove the parametrisation first",
        &[".weight_orig", ".weight_g", ".parametrizations."],
    ),
    ("a mixture of experts", &[".experts.", ".moe."]),
    ("parallel blocks", &[".attns.", ".ffns.", ".in_proj.weight"]),
    ("several stages, not one width of tokens", &[".stages.", ".downsample", ".merging", ".stage1."]),
];

/// What `names` tell that this program does not compute, each with the first name that tells it.
#[must_use]
pub(super) fn found<'a>(names: impl IntoIterator<Item = &'a String> + Clone) -> Vec<(&'static str, String)> {
    let each = SIGNS.iter().filter_map(|(what, signs)| {
        let told = |name: &&String| signs.iter().any(|sign| name.contains(sign) || name.starts_with(&sign[1..]));
        Some((*what, names.clone().into_iter().find(told)?.clone()))
    });
    each.collect()
}

/// As [`found`], from the shapes of parameters that have the reference's names.
#[must_use]
pub(super) fn shaped(tensors: &Tensors) -> Option<(&'static str, &'static str)> {
    let shape = |name: &str| tensors.get(name).map(|tensor| tensor.shape.as_slice());
    match shape("patch_embed.proj.weight") {
        Some([_, _, _, _, _]) => return Some(("patches of several frames (video)", "patch_embed.proj.weight")),
        Some([_, _, height, width]) if height != width => {
            return Some(("patches that are not square", "patch_embed.proj.weight"));
        }
        _ => {}
    }
    match (shape("blocks.0.mlp.fc1.weight"), shape("blocks.0.mlp.fc2.weight")) {
        (Some([rows, _]), Some([_, cols])) if *rows == 2 * cols => Some(("SwiGLU", "blocks.0.mlp.fc1.weight")),
        _ => None,
    }
}
