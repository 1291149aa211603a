//! Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>) for the matrices of the blocks: the step
//! has the directions of the momentum, all of nearly the same length.
//!
//! Products of queries, keys and values lie in one matrix here; each is a matrix of its own to Muon. The step's
//! length is that of Moonlight (Liu et al. 2025, arXiv 2502.16982), `0.2 * sqrt(max(rows, columns))` times the
//! learning rate: values change by as much as AdamW's do, so that AdamW's learning rates and weight decay fit.

use burn::{
    optim::{AdjustLrFn, Muon as Orthogonal, MuonConfig, Optimizer as _, momentum::MomentumConfig},
    tensor::Tensor,
};

/// Decay of the momentum; gradients are taken ahead of it (Nesterov).
const MOMENTUM: f32 = 0.95;

/// Steps of matrices.
#[derive(Clone)]
pub struct Muon {
    /// burn's products make a matrix orthogonal; it has no part in the momentum, whose state it does not give away.
    orthogonal: Orthogonal,
}

impl Default for Muon {
    fn default() -> Self {
        let momentum = MomentumConfig { momentum: 0.0, dampening: 0.0, nesterov: false };
        let config = MuonConfig::new().with_momentum(momentum).with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
        Self { orthogonal: config.build() }
    }
}

impl Muon {
    /// Whether a parameter is a matrix of a block, by its name in the reference and its number of axes.
    #[must_use]
    pub fn takes(name: &str, rank: usize) -> bool {
        rank == 2 && (name.starts_with("blocks.") || name.starts_with("decoder_blocks."))
    }

    /// A matrix and its momentum (flat) after a step. `name`: in the reference; `tensor` and `gradient`:
    /// `[in, out]`; `decay`: decoupled weight decay.
    #[must_use]
    pub fn step(
        &self,
        name: &str,
        (lr, decay): (f64, f32),
        tensor: Tensor<2>,
        gradient: Tensor<2>,
        momentum: Option<Tensor<1>>,
    ) -> (Tensor<2>, Tensor<1>) {
        let matrix = tensor.dims();
        let [rows, columns] = matrix;
        let momentum = match momentum {
            Some(momentum) => momentum.reshape(matrix).mul_scalar(MOMENTUM) + gradient.clone(),
            None => gradient.clone(),
        };
        let ahead = momentum.clone().mul_scalar(MOMENTUM) + gradient;
        let tensor = tensor.mul_scalar(1.0 - lr * f64::from(decay));
        let parts = parts(name);
        let width = columns / parts;
        let part = |tensor: &Tensor<2>, part: usize| tensor.clone().narrow(1, part * width, width);
        let stepped = |at| self.orthogonal.step(lr, part(&tensor, at), part(&ahead, at), None).0;
        let tensor = match parts {
            1 => self.orthogonal.step(lr, tensor, ahead, None).0,
            _ => Tensor::cat((0..parts).map(stepped).collect(), 1),
        };
        (tensor, momentum.reshape([rows * columns]))
    }
}

/// How many matrices lie beside each other in one.
fn parts(name: &str) -> usize {
    match name.rsplit('.').nth(1) {
        Some("qkv") => 3,
        Some("kv") => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use std::collections::BTreeMap;

    fn tensor(values: Vec<f32>, [rows, columns]: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().expect("values")
    }

    /// As in the script that made the expected values: scattered, and exact in f32.
    fn scattered(count: usize, number: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * i * 7 + i * 13 + number * 29 + 5) % 101) as f32 / 64.0 - 0.78125).collect()
    }

    #[test]
    fn matrices_of_blocks_are_taken_and_nothing_else() {
        for name in ["blocks.0.attn.qkv.weight", "decoder_blocks.3.mlp.fc2.weight"] {
            assert!(Muon::takes(name, 2));
        }
        for (name, rank) in [
            ("patch_embed.proj.weight", 2),
            ("decoder_embed.weight", 2),
            ("decoder_pred.weight", 2),
            ("cls_token", 3),
            ("blocks.0.attn.qkv.bias", 1),
            ("blocks.0.norm1.weight", 1),
        ] {
            assert!(!Muon::takes(name, rank), "{name}");
        }
    }

    #[test]
    fn steps_equal_the_references() {
        #[derive(serde::Deserialize)]
        struct Case {
            shape: [usize; 2],
            lr: f64,
            decay: f32,
            weight: Vec<f32>,
            momentum: Vec<f32>,
        }
        let text = include_str!("../../../tests/golden/muon.json");
        let cases: BTreeMap<String, Case> = serde_json::from_str(text).expect("golden file");
        assert_eq!(cases.len(), 4);
        for (name, Case { shape, lr, decay, weight, momentum }) in cases {
            let count = shape[0] * shape[1];
            let (mut found, mut state) = (tensor(scattered(count, 0), shape), None);
            for number in 1..=3 {
                let gradient = tensor(scattered(count, number), shape);
                let (next, momentum) = Muon::default().step(&name, (lr, decay), found, gradient, state);
                (found, state) = (next, Some(momentum));
            }
            let close = |found: Vec<f32>, expected: Vec<f32>, what: &str| {
                let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(found.len() == expected.len() && largest < 2e-5, "{name}: {what} differs by {largest}");
            };
            close(values(found), weight, "the weight");
            close(values(state.expect("three steps")), momentum, "the momentum");
        }
    }

    /// What five steps of the quintic polynomial make of a singular value that is this share of the matrix's length.
    fn polynomial(share: f64) -> f64 {
        (0..5).fold(share, |x, _| 3.4445 * x - 4.775 * x.powi(3) + 2.0315 * x.powi(5))
    }

    #[test]
    fn all_directions_of_a_step_are_nearly_as_long() {
        // A gradient with known singular values: a diagonal between two reflections.
        let (singular, side) = ([4.0, 2.0, 1.0, 0.5, 0.25, 0.125], 6);
        let reflection = |number: usize| {
            let v = scattered(side, number);
            let length: f32 = v.iter().map(|x| x * x).sum();
            let at = |i: usize| f32::from(u8::from(i / side == i % side)) - 2.0 * v[i / side] * v[i % side] / length;
            tensor((0..side * side).map(at).collect(), [side, side])
        };
        let diagonal = (0..side * side).map(|i| if i / side == i % side { singular[i % side] } else { 0.0 });
        let (left, right) = (reflection(1), reflection(2));
        let gradient = left.clone().matmul(tensor(diagonal.collect(), [side, side])).matmul(right.clone());
        let still = tensor(vec![0.0; side * side], [side, side]);
        let (moved, _) = Muon::default().step("blocks.0.mlp.fc1.weight", (1.0, 0.3), still, gradient, None);
        // Seen between the same reflections the step is a diagonal again.
        let step = moved.div_scalar(-0.2 * (side as f32).sqrt());
        let seen = values(left.matmul(step).matmul(right));
        let length = singular.iter().map(|value| value * value).sum::<f32>().sqrt();
        for (at, found) in seen.iter().enumerate() {
            let expected = match at / side == at % side {
                true => polynomial(f64::from(singular[at % side] / length)) as f32,
                false => 0.0,
            };
            assert!((found - expected).abs() < 2e-4, "{at}: {found}, {expected}");
            assert!(at / side != at % side || (0.65..1.25).contains(found), "{found}");
        }
    }

    #[test]
    fn queries_keys_and_values_are_matrices_of_their_own() {
        let (shape, step) = ([4, 12], (0.1, 0.05));
        let (weight, gradient) = (tensor(scattered(48, 0), shape), tensor(scattered(48, 1), shape));
        let name = |part: &str| format!("blocks.1.attn.{part}.weight");
        let muon = Muon::default();
        let (whole, _) = muon.step(&name("qkv"), step, weight.clone(), gradient.clone(), None);
        for part in 0..3 {
            let part = |tensor: &Tensor<2>| tensor.clone().narrow(1, 4 * part, 4);
            let (alone, _) = muon.step(&name("proj"), step, part(&weight), part(&gradient), None);
            assert_eq!(values(part(&whole)), values(alone));
        }
        let (fused, _) = muon.step(&name("proj"), step, weight, gradient, None);
        assert_ne!(values(fused), values(whole));
    }

    #[test]
    fn without_a_gradient_weights_only_decay() {
        let zeros = tensor(vec![0.0; 24], [4, 6]);
        let weight = tensor(scattered(24, 0), [4, 6]);
        let (found, _) = Muon::default().step("blocks.0.mlp.fc1.weight", (0.5, 0.25), weight, zeros, None);
        let expected: Vec<f32> = scattered(24, 0).iter().map(|value| value * 0.875).collect();
        assert_eq!(values(found), expected);
    }
}
