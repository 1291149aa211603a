//! Initial weights (MAE appendix A.1 and the reference): drawn on the host, so that they are the same everywhere.

use super::{
    MaeConfig,
    cross::{CrossAttention, CrossBlock},
    layers::{Attention, Block, LayerNorm, Linear, Mlp},
    ops::Ops,
};
use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};
use common::{mask, model::PositionKind, patch::PatchGrid, position::sincos_2d_table};
use rand_chacha::ChaCha8Rng;

/// Draws initial weights from a seeded, portable generator.
#[derive(Debug)]
pub struct Init {
    rng: ChaCha8Rng,
}

impl Init {
    /// A generator on a stream of its own: streams count samples, which never reach this one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: mask::generator(seed, u64::MAX) }
    }

    /// A generator for parameters that only some models have, so that the others' stay what they are.
    #[must_use]
    pub fn beside(seed: u64) -> Self {
        Self { rng: mask::generator(seed, u64::MAX - 1) }
    }

    /// Xavier-uniform weight `[in, out]`, bias 0.
    pub fn linear(&mut self, d_in: usize, d_out: usize, device: &Device) -> Linear {
        let bound = (6.0 / (d_in + d_out) as f64).sqrt();
        Linear { weight: self.uniform([d_in, d_out], bound, device), bias: zeros(d_out, device), ops: Ops::default() }
    }

    /// The patch projection: xavier-uniform as a Linear, with the bias of PyTorch's convolution, U(±1/sqrt(in)).
    pub fn patch_projection(&mut self, d_in: usize, d_out: usize, device: &Device) -> Linear {
        let linear = self.linear(d_in, d_out, device);
        Linear { bias: self.uniform([d_out], (d_in as f64).sqrt().recip(), device), ..linear }
    }

    /// A classifier's head, `[D, K]`, N(0, 2e-5) as for fine-tuning (MAE appendix A.1), bias 0.
    pub fn head(&mut self, dim: usize, classes: usize, device: &Device) -> Linear {
        let values: Vec<f32> = (0..dim * classes).map(|_| (2e-5 * self.normal()) as f32).collect();
        let weight = Tensor::from_data(TensorData::new(values, [dim, classes]), device);
        Linear { weight: Param::from_tensor(weight), bias: zeros(classes, device), ops: Ops::default() }
    }

    /// A learned token, N(0, 0.02), `[1, 1, D]`.
    pub fn token(&mut self, dim: usize, device: &Device) -> Param<Tensor<3>> {
        let values: Vec<f32> = (0..dim).map(|_| (0.02 * self.normal()) as f32).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, [1, 1, dim]), device))
    }

    /// Transformer blocks.
    pub fn blocks(&mut self, depth: usize, dim: usize, heads: usize, mlp_ratio: f64, device: &Device) -> Vec<Block> {
        let hidden = (dim as f64 * mlp_ratio) as usize;
        (0..depth)
            .map(|_| Block {
                norm1: LayerNorm::new(dim, device),
                attn: Attention::new(self.linear(dim, 3 * dim, device), self.linear(dim, dim, device), heads),
                norm2: LayerNorm::new(dim, device),
                mlp: Mlp { fc1: self.linear(dim, hidden, device), fc2: self.linear(hidden, dim, device) },
                ops: Ops::default(),
            })
            .collect()
    }

    /// Blocks whose tokens attend to a context.
    pub fn cross_blocks(
        &mut self,
        depth: usize,
        dim: usize,
        heads: usize,
        mlp_ratio: f64,
        device: &Device,
    ) -> Vec<CrossBlock> {
        let hidden = (dim as f64 * mlp_ratio) as usize;
        (0..depth)
            .map(|_| CrossBlock {
                norm1: LayerNorm::new(dim, device),
                attn: CrossAttention::new(
                    self.linear(dim, dim, device),
                    self.linear(dim, 2 * dim, device),
                    self.linear(dim, dim, device),
                    heads,
                ),
                norm2: LayerNorm::new(dim, device),
                mlp: Mlp { fc1: self.linear(dim, hidden, device), fc2: self.linear(hidden, dim, device) },
                ops: Ops::default(),
            })
            .collect()
    }

    fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64, device: &Device) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let draw = |_| ((f64::from(mask::uniform(&mut self.rng)) * 2.0 - 1.0) * bound) as f32;
        let values: Vec<f32> = (0..count).map(draw).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// Box-Muller.
    fn normal(&mut self) -> f64 {
        let (u, v) = (mask::uniform(&mut self.rng), mask::uniform(&mut self.rng));
        (-2.0 * (1.0 - f64::from(u)).ln()).sqrt() * (std::f64::consts::TAU * f64::from(v)).cos()
    }
}

fn zeros(dim: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_tensor(Tensor::zeros([dim], device))
}

/// The stored table, `[1, 1 + L, dim]`, if the model has one; until it is loaded it is the fixed one.
pub(super) fn stored_table(
    config: &MaeConfig,
    grid: &PatchGrid,
    dim: usize,
    device: &Device,
) -> Option<Param<Tensor<3>>> {
    let table = || constant(sincos_2d_table(grid, dim, true), [1, 1 + grid.patches(), dim], device);
    (config.position == PositionKind::Stored).then(|| Param::from_tensor(table()).set_require_grad(false))
}

/// A tensor that is no parameter.
pub(super) fn constant<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
