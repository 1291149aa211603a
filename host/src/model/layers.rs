//! The layers of a ViT, named as in the reference so that a parameter's path is its name in a checkpoint.

use super::ops::{self, Ops};
use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation, module},
};

/// LayerNorm's epsilon in every MAE.
pub const NORM_EPS: f64 = 1e-6;

/// `x W + b`; the weight is `[in, out]`, the transpose of PyTorch's.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
    /// Which operations compute it.
    #[module(skip)]
    pub ops: Ops,
}

impl Linear {
    /// `x`: `[N, in]`. Returns `[N, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        match self.ops {
            Ops::Fused | Ops::FusedBf16 | Ops::Plain => module::linear(x, weight, Some(bias)),
            // The bias joins in f32, so that its gradient is summed there, too.
            Ops::Bf16 => ops::product(x, weight, self.ops) + bias.unsqueeze(),
        }
    }
}

/// Normalisation over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[D]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[D]`.
    pub bias: Param<Tensor<1>>,
    /// Which operations compute it.
    #[module(skip)]
    pub ops: Ops,
}

impl LayerNorm {
    /// Scale 1, shift 0.
    pub fn new(dim: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([dim], device)),
            bias: Param::from_tensor(Tensor::zeros([dim], device)),
            ops: Ops::default(),
        }
    }

    /// `x`: `[N, D]`. Returns `[N, D]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let fused = if self.ops.fused() { ops::layer_norm(&x, weight.clone(), bias.clone(), NORM_EPS) } else { None };
        fused.unwrap_or_else(|| module::layer_norm(x, weight, Some(bias), NORM_EPS))
    }
}

/// Multi-head self-attention with fused q, k, v.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[D, 3D]`: queries, keys, values; heads inside each.
    pub qkv: Linear,
    /// `[D, D]`.
    pub proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    /// Puts the two projections together.
    pub fn new(qkv: Linear, proj: Linear, heads: usize) -> Self {
        Self { qkv, proj, heads }
    }

    /// Number of heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// `x`: `[B * N, D]`; tokens attend within their own image. Returns `[B * N, D]`.
    pub fn forward(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        let [rows, dim] = x.dims();
        let [q, k, v] = self.queries_keys_values(x, batch);
        let scores = ops::product(q, k.transpose(), self.qkv.ops);
        let x = ops::product(activation::softmax(scores, 3), v, self.qkv.ops);
        self.proj.forward(x.permute([0, 2, 1, 3]).reshape([rows, dim]))
    }

    /// How much each head of the class token takes from every token, `[B, H, N]`; a row sums to 1. `x`: `[B * N, D]`,
    /// normed as for [`Self::forward`], the class token of each image first.
    pub fn of_cls(&self, x: Tensor<2>, batch: usize) -> Tensor<3> {
        let [q, k, _] = self.queries_keys_values(x, batch);
        activation::softmax(q.narrow(2, 0, 1).matmul(k.transpose()), 3).squeeze_dim(2)
    }

    /// Scaled queries, keys, values, `[B, H, N, D / H]` each.
    fn queries_keys_values(&self, x: Tensor<2>, batch: usize) -> [Tensor<4>; 3] {
        let [rows, dim] = x.dims();
        let (tokens, head_dim) = (rows / batch, dim / self.heads);
        let qkv = self.qkv.forward(x).reshape([batch, tokens, 3, self.heads, head_dim]);
        let qkv = qkv.permute([2, 0, 3, 1, 4]);
        let part = |i: usize| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
        [part(0) * (head_dim as f64).powf(-0.5), part(1), part(2)]
    }
}

/// Two Linears with a GELU (erf form) between.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[D, ratio * D]`.
    pub fc1: Linear,
    /// `[ratio * D, D]`.
    pub fc2: Linear,
}

impl Mlp {
    /// `x`: `[N, D]`. Returns `[N, D]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(ops::gelu(self.fc1.forward(x)))
    }
}

/// Factors of a block's two branches, one an image, for stochastic depth (Huang et al. 2016): 0 drops a branch.
#[derive(Debug, Clone, PartialEq)]
pub struct BranchFactors {
    /// Of attention, `[B]`.
    pub attention: Vec<f32>,
    /// Of the MLP, `[B]`.
    pub mlp: Vec<f32>,
}

/// A pre-norm transformer block.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Attention.
    pub attn: Attention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// MLP.
    pub mlp: Mlp,
    /// Which operations compute it.
    #[module(skip)]
    pub ops: Ops,
}

impl Block {
    /// `x`: `[B * N, D]`. Returns `[B * N, D]`.
    pub fn forward(&self, x: Tensor<2>, batch: usize) -> Tensor<2> {
        self.forward_dropped(x, batch, None)
    }

    /// As [`Self::forward`], each branch of each image times its factor.
    pub fn forward_dropped(&self, x: Tensor<2>, batch: usize, factors: Option<&BranchFactors>) -> Tensor<2> {
        let fused = if self.ops.fused() { ops::block(&x, self, batch, factors) } else { None };
        fused.unwrap_or_else(|| self.forward_plain(x, batch, factors))
    }

    /// Switches the fused operations on or off.
    pub fn set_ops(&mut self, ops: Ops) {
        (self.ops, self.norm1.ops, self.norm2.ops) = (ops, ops, ops);
        (self.attn.qkv.ops, self.attn.proj.ops, self.mlp.fc1.ops, self.mlp.fc2.ops) = (ops, ops, ops, ops);
    }

    /// The same in burn's own operations: what a block is.
    fn forward_plain(&self, x: Tensor<2>, batch: usize, factors: Option<&BranchFactors>) -> Tensor<2> {
        let branch = |x: Tensor<2>, factors: Option<&Vec<f32>>| match factors {
            Some(factors) => times_factors(x, factors),
            None => x,
        };
        let attended = self.attn.forward(self.norm1.forward(x.clone()), batch);
        let x = x + branch(attended, factors.map(|f| &f.attention));
        x.clone() + branch(self.mlp.forward(self.norm2.forward(x)), factors.map(|f| &f.mlp))
    }
}

/// `x: [B * N, D]` times one factor an image, `[B]`.
fn times_factors(x: Tensor<2>, factors: &[f32]) -> Tensor<2> {
    let ([rows, dim], batch) = (x.dims(), factors.len());
    let factors = Tensor::<3>::from_data(TensorData::new(factors.to_vec(), [batch, 1, 1]), &x.device());
    (x.reshape([batch, rows / batch, dim]) * factors).reshape([rows, dim])
}

/// Puts the class token in front of each image's tokens: `[B * V, D]` to `[B * (1 + V), D]`.
pub fn prepend_cls(x: Tensor<2>, cls_token: Tensor<3>, batch: usize) -> Tensor<2> {
    let [rows, dim] = x.dims();
    let visible = rows / batch;
    let cls = cls_token.expand([batch, 1, dim]);
    Tensor::cat(vec![cls, x.reshape([batch, visible, dim])], 1).reshape([batch * (1 + visible), dim])
}
