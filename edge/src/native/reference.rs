//! The encoder in plain f32, for tests: no blocks, no integers, nothing shared with what it checks.

use common::model::{EncoderSpec, Pooling};
use std::{collections::BTreeMap, string::String, vec::Vec};

pub(super) type Parameters = BTreeMap<String, Vec<f32>>;

pub(super) struct Reference {
    pub(super) cls: Vec<f32>,
    pub(super) mean: Vec<f32>,
    pub(super) tokens: Vec<f32>,
}

/// `patches`: `[V, p * p * C]`, normalised, channels fastest.
pub(super) fn encode(spec: &EncoderSpec, parameters: &Parameters, patches: &[f32], ids: &[u32]) -> Reference {
    let (d, p, c) = (spec.dim as usize, spec.patch_size as usize, spec.channels as usize);
    let get = |name: &str| parameters[name].as_slice();
    let positions = get("pos_embed");
    let mut x: Vec<f32> = get("cls_token").iter().zip(positions).map(|(a, b)| a + b).collect();
    for (patch, id) in patches.chunks(p * p * c).zip(ids) {
        for (n, row) in get("patch_embed.proj.weight").chunks(p * p * c).enumerate() {
            let weight = |i: usize| row[i % c * p * p + i / c];
            let sum: f32 = patch.iter().enumerate().map(|(i, value)| value * weight(i)).sum();
            let position = positions[(1 + *id as usize) * d + n];
            x.push(sum + get("patch_embed.proj.bias")[n] + position);
        }
    }
    for block in 0..spec.depth {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let layer = |x: &[f32], part: &str| {
            let (weight, bias) = (name(&format!("{part}.weight")), name(&format!("{part}.bias")));
            linear(x, get(&weight), get(&bias))
        };
        let norm = |x: &[f32], part: &str| {
            let (weight, bias) = (name(&format!("{part}.weight")), name(&format!("{part}.bias")));
            layer_norm(x, get(&weight), get(&bias), spec.norm_eps)
        };
        let qkv = layer(&norm(&x, "norm1"), "attn.qkv");
        add(&mut x, &layer(&attention(&qkv, d, spec.heads as usize), "attn.proj"));
        let mut hidden = layer(&norm(&x, "norm2"), "mlp.fc1");
        for value in &mut hidden {
            *value *= 0.5 * (1.0 + libm::erff(*value * core::f32::consts::FRAC_1_SQRT_2));
        }
        add(&mut x, &layer(&hidden, "mlp.fc2"));
    }
    let norm = |x: &[f32]| layer_norm(x, get("norm.weight"), get("norm.bias"), spec.norm_eps);
    let normed = norm(&x);
    let average = |x: &[f32]| -> Vec<f32> {
        let rows = x.len() / d - 1;
        (0..d).map(|n| x[d..].iter().skip(n).step_by(d).sum::<f32>() / rows as f32).collect()
    };
    let mean = if spec.pooling == Pooling::MeanNorm { norm(&average(&x)) } else { average(&normed) };
    Reference { cls: normed[..d].to_vec(), mean, tokens: normed[d..].to_vec() }
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let k = weight.len() / bias.len();
    let dot = |x: &[f32], row: &[f32]| x.iter().zip(row).map(|(a, b)| a * b).sum::<f32>();
    x.chunks(k).flat_map(|x| weight.chunks(k).zip(bias).map(move |(row, bias)| dot(x, row) + bias)).collect()
}

fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let d = weight.len();
    let mut out = Vec::new();
    for x in x.chunks(d) {
        let mean = x.iter().sum::<f32>() / d as f32;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / d as f32;
        let normed = x.iter().map(|x| (x - mean) / (variance + eps).sqrt());
        out.extend(normed.zip(weight).zip(bias).map(|((x, w), b)| x * w + b));
    }
    out
}

/// `qkv`: `[T, 3D]`.
fn attention(qkv: &[f32], d: usize, heads: usize) -> Vec<f32> {
    let (tokens, width) = (qkv.len() / (3 * d), d / heads);
    let mut out = vec![0.0; tokens * d];
    for head in 0..heads {
        let row = |token: usize, third: usize| &qkv[token * 3 * d + third * d + head * width..][..width];
        for query in 0..tokens {
            let dot = |key: usize| row(query, 0).iter().zip(row(key, 1)).map(|(a, b)| a * b).sum::<f32>();
            let scores: Vec<f32> = (0..tokens).map(|key| dot(key) / (width as f32).sqrt()).collect();
            let top = scores.iter().copied().fold(f32::MIN, f32::max);
            let numerators: Vec<f32> = scores.iter().map(|score| (score - top).exp()).collect();
            let sum: f32 = numerators.iter().sum();
            for (key, numerator) in numerators.iter().enumerate() {
                for (channel, value) in row(key, 2).iter().enumerate() {
                    out[query * d + head * width + channel] += numerator / sum * value;
                }
            }
        }
    }
    out
}
