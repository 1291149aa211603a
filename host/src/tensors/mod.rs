//! Parameters as plain named tensors, by the reference implementation's names, and the file that keeps them.

pub(crate) mod mismatch;
pub(crate) mod number;
pub mod readable;
pub mod safetensors;

use common::model::{ModelHash, PositionKind};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// One parameter: row-major values and their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// Values, last axis fastest.
    pub data: Vec<f32>,
}

/// Parameters by the reference implementation's names and layouts (`blocks.0.attn.qkv.weight` is `[3D, D]`,
/// `patch_embed.proj.weight` is `[D, C, p, p]`). Fixed position tables are not parameters and never stored; others
/// are `pos_embed`, `[1, 1 + L, D]`, and `decoder_pos_embed`, `[1, 1 + L, E]`.
pub type Tensors = BTreeMap<String, NamedTensor>;

/// The content hash of the parameters of an encoder with fixed positions: of names, shapes and values, without the
/// decoder's.
#[must_use]
pub fn encoder_hash(tensors: &Tensors) -> ModelHash {
    encoder_hash_with(tensors, PositionKind::SinCos2d)
}

/// As [`encoder_hash`]; a stored table of positions counts as one of the parameters.
#[must_use]
pub fn encoder_hash_with(tensors: &Tensors, position: PositionKind) -> ModelHash {
    let mut sha = Sha256::new();
    let counts = |name: &str| is_encoder(name) || (position == PositionKind::Stored && name == "pos_embed");
    for (name, tensor) in tensors.iter().filter(|(name, _)| counts(name)) {
        sha.update(name.as_bytes());
        sha.update([0]);
        tensor.shape.iter().for_each(|extent| sha.update((*extent as u64).to_le_bytes()));
        tensor.data.iter().for_each(|value| sha.update(value.to_le_bytes()));
    }
    let digest = sha.finalize();
    let mut hash = ModelHash::default();
    hash.0.copy_from_slice(&digest[..8]);
    hash
}

/// Whether a tensor is a parameter of the encoder; fixed position tables, which some files hold, are none, and
/// neither is the projector of a joint term.
#[must_use]
pub fn is_encoder(name: &str) -> bool {
    let other = name.starts_with("decoder_") || is_projector(name) || name.ends_with("mask_token");
    !other && name != "pos_embed"
}

/// Whether a tensor belongs to the projector of a joint term, which pre-training alone needs.
#[must_use]
pub fn is_projector(name: &str) -> bool {
    name.starts_with("projector.")
}
