//! Parameters that other libraries keep apart, leave out or shape otherwise, where the change is exact.

use super::tables::{joined, parts};
use crate::tensors::{NamedTensor, Tensors, mismatch::MismatchError};
use std::collections::BTreeSet;

/// Joins queries, keys and values (`attn.0` to `attn.2`) to `attn.qkv`. Keys without a bias beside queries and values
/// with one get zeros, which is exact. `in_file` names a parameter as the file does.
///
/// # Errors
/// Names the first of queries, keys and values that is missing or misshapen.
pub(super) fn qkv(tensors: &mut Tensors, in_file: impl Fn(&str) -> String) -> Result<(), MismatchError> {
    let apart = |name: &String| {
        let (layer, part) = parts(name);
        let block = (0..3).find_map(|i| layer.strip_suffix(&format!(".attn.{i}")))?;
        Some((block.to_owned(), part.to_owned()))
    };
    let fused: BTreeSet<(String, String)> = tensors.keys().filter_map(apart).collect();
    let no_key_bias = !tensors.keys().any(|name| name.ends_with(".attn.1.bias"));
    for (block, part) in fused {
        let mut whole: Option<NamedTensor> = None;
        for i in 0..3 {
            let name = joined(&format!("{block}.attn.{i}"), &part);
            let piece = match (tensors.remove(&name), &whole) {
                (Some(piece), _) => piece,
                (None, Some(query)) if i == 1 && part == "bias" && no_key_bias => {
                    NamedTensor { shape: query.shape.clone(), data: vec![0.0; query.data.len()] }
                }
                (None, _) => return Err(MismatchError::Missing(in_file(&name))),
            };
            match &mut whole {
                None if piece.shape.is_empty() => {
                    return Err(MismatchError::Shape { name: in_file(&name), expected: vec![1], found: piece.shape });
                }
                None => whole = Some(piece),
                Some(whole) => {
                    let mut expected = whole.shape.clone();
                    expected[0] /= i;
                    if piece.shape != expected {
                        return Err(MismatchError::Shape { name: in_file(&name), expected, found: piece.shape });
                    }
                    whole.data.extend(piece.data);
                    whole.shape[0] += expected[0];
                }
            }
        }
        tensors.extend(whole.map(|whole| (joined(&format!("{block}.attn.qkv"), &part), whole)));
    }
    Ok(())
}

/// Gives layers that have a bias in no block one of zeros, which is exact. Returns their names without the numbers
/// of blocks: `blocks.*.attn.qkv`.
pub(super) fn biases(tensors: &mut Tensors) -> Vec<String> {
    let kind = |name: &str, part: &str| -> Option<String> {
        let layer = name.strip_suffix(part)?;
        let numbered = ["blocks.", "decoder_blocks."].iter().find_map(|blocks| {
            let (_, layer) = layer.strip_prefix(blocks)?.split_once('.')?;
            Some(format!("{blocks}*.{layer}"))
        });
        Some(numbered.unwrap_or_else(|| layer.to_owned()))
    };
    let with: BTreeSet<String> = tensors.keys().filter_map(|name| kind(name, ".bias")).collect();
    let mut without = BTreeSet::new();
    let mut zeros = Vec::new();
    for (name, tensor) in tensors.iter() {
        let Some(kind) = kind(name, ".weight").filter(|kind| !with.contains(kind)) else { continue };
        if let (Some(layer), Some(rows)) = (name.strip_suffix(".weight"), tensor.shape.first()) {
            zeros.push((format!("{layer}.bias"), *rows));
            without.insert(kind);
        }
    }
    // No more values than the weights have.
    tensors.extend(
        zeros.into_iter().map(|(name, rows)| (name, NamedTensor { shape: vec![rows], data: vec![0.0; rows] })),
    );
    without.into_iter().collect()
}

/// Tokens and tables with fewer axes than the reference's, `[D]` or `[1 + L, D]`, get the leading ones.
pub(super) fn axes(tensors: &mut Tensors) {
    for name in ["cls_token", "mask_token", "pos_embed", "decoder_pos_embed"] {
        if let Some(tensor) = tensors.get_mut(name).filter(|tensor| !tensor.shape.is_empty()) {
            while tensor.shape.len() < 3 {
                tensor.shape.insert(0, 1);
            }
        }
    }
}
