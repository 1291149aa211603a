//! The decoder whose mask tokens attend to the visible tokens alone, after CrossMAE (Fu et al. 2024, arXiv
//! 2401.14391), beside the paper's, in which all tokens attend to one another.
//!
//! ```text
//! context = norm(decoder_embed(latent) + position)            [B, 1 + V, E], decoder_embed_norm, once for all blocks
//! x       = mask_token + position                             [B, K, E], one for each patch that is predicted
//! x       = x + proj(attention(q(norm1(x)), kv(context)))     in each block
//! x       = x + mlp(norm2(x))
//! ```
//!
//! Behind the blocks both decoders are alike. There is no attention among mask tokens, so that each patch is
//! predicted by itself: predicting fewer costs less and changes nothing for the rest. Of that paper the weighted sum
//! over the encoder's blocks, one for each block of the decoder, is left out: every block reads the encoder's output.

use super::{
    layers::{Block, LayerNorm, Linear, Mlp},
    ops::{self, Ops},
};
use crate::tensors::Tensors;
use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use serde::{Deserialize, Serialize};

/// What the tokens of a decoder attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderKind {
    /// All tokens to one another, the paper's.
    #[default]
    #[serde(rename = "self")]
    #[value(name = "self")]
    SelfAttention,
    /// Mask tokens to the visible tokens alone: less work, and each patch is predicted by itself (CrossMAE).
    Cross,
}

impl DecoderKind {
    /// Its name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfAttention => "self",
            Self::Cross => "cross",
        }
    }

    /// Of a model's parameters; `None` if there is no decoder among them.
    #[must_use]
    pub fn of(tensors: &Tensors) -> Option<Self> {
        let cross = tensors.contains_key("decoder_embed_norm.weight");
        let kind = if cross { Self::Cross } else { Self::SelfAttention };
        tensors.contains_key("decoder_embed.weight").then_some(kind)
    }

    /// Whether it is the paper's.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The blocks of a decoder. The variant is no part of a parameter's name.
#[derive(Module, Debug)]
pub enum DecoderBlocks {
    /// Of [`DecoderKind::SelfAttention`].
    SelfAttention(Vec<Block>),
    /// Of [`DecoderKind::Cross`].
    Cross(Vec<CrossBlock>),
}

impl DecoderBlocks {
    /// Switches the fused operations on or off.
    pub fn set_ops(&mut self, ops: Ops) {
        match self {
            Self::SelfAttention(blocks) => blocks.iter_mut().for_each(|block| block.set_ops(ops)),
            Self::Cross(blocks) => blocks.iter_mut().for_each(|block| block.set_ops(ops)),
        }
    }
}

/// Multi-head attention to other tokens.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// Queries, `[E, E]`.
    pub q: Linear,
    /// Keys and values, `[E, 2E]`; heads inside each.
    pub kv: Linear,
    /// `[E, E]`.
    pub proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl CrossAttention {
    /// Puts the projections together.
    pub fn new(q: Linear, kv: Linear, proj: Linear, heads: usize) -> Self {
        Self { q, kv, proj, heads }
    }

    /// Number of heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// `x`: `[B * K, E]`; `context`: `[B * C, E]`, to which tokens of the same image attend. Returns `[B * K, E]`.
    pub fn forward(&self, x: Tensor<2>, context: Tensor<2>, batch: usize) -> Tensor<2> {
        let ([rows, dim], [others, _]) = (x.dims(), context.dims());
        let head_dim = dim / self.heads;
        let q = self.q.forward(x).reshape([batch, rows / batch, self.heads, head_dim]).permute([0, 2, 1, 3]);
        let kv = self.kv.forward(context).reshape([batch, others / batch, 2, self.heads, head_dim]);
        let kv = kv.permute([2, 0, 3, 1, 4]);
        let part = |i: usize| kv.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
        let scores = ops::product(q * (head_dim as f64).powf(-0.5), part(0).transpose(), self.q.ops);
        let x = ops::product(activation::softmax(scores, 3), part(1), self.q.ops);
        self.proj.forward(x.permute([0, 2, 1, 3]).reshape([rows, dim]))
    }
}

/// A pre-norm transformer block whose tokens attend to a context.
#[derive(Module, Debug)]
pub struct CrossBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Attention to the context.
    pub attn: CrossAttention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// MLP.
    pub mlp: Mlp,
    /// Which operations compute it.
    #[module(skip)]
    pub ops: Ops,
}

impl CrossBlock {
    /// `x`: `[B * K, E]`; `context`: `[B * C, E]`. Returns `[B * K, E]`.
    pub fn forward(&self, x: Tensor<2>, context: &Tensor<2>, batch: usize) -> Tensor<2> {
        let fused = if self.ops.fused() { ops::cross_block(&x, context, self, batch) } else { None };
        fused.unwrap_or_else(|| self.forward_plain(x, context.clone(), batch))
    }

    /// The same in burn's own operations: what a block is.
    fn forward_plain(&self, x: Tensor<2>, context: Tensor<2>, batch: usize) -> Tensor<2> {
        let x = x.clone() + self.attn.forward(self.norm1.forward(x), context, batch);
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }

    fn set_ops(&mut self, ops: Ops) {
        (self.ops, self.norm1.ops, self.norm2.ops) = (ops, ops, ops);
        (self.attn.q.ops, self.attn.kv.ops, self.attn.proj.ops) = (ops, ops, ops);
        (self.mlp.fc1.ops, self.mlp.fc2.ops) = (ops, ops);
    }
}
