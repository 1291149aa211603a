//! Fused operations with backward passes of their own, and where they apply.
//!
//! Every operation has one plain definition in burn's own operations, which is right on any device (in
//! [`super::layers`] and [`super::mae`]), and a fast one for the CPU in `kernels`. A function here that returns an
//! `Option` gives `None` where its fast form does not apply: another device than the CPU, another type than `f32`.
//! [`gelu`] and [`product`] are plain ones.

mod adamw;
mod block;
mod gelu;
mod norm;
mod product;

pub use adamw::adamw;
pub use block::{block, cross_block};
pub use gelu::gelu;
pub use norm::layer_norm;
pub use product::product;

use super::{Encoder, Mae};
use burn::{
    backend::{Autodiff, Flex, autodiff::ops::NodeGuard, flex::FlexTensor},
    tensor::{DType, Tensor, TensorData},
};
use kernels::{Arch, Engine};

/// Which operations a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ops {
    /// The fused ones, where they apply.
    #[default]
    Fused,
    /// The fused ones, with the products of blocks in bf16, on a processor that has instructions for it.
    FusedBf16,
    /// burn's own, everywhere.
    Plain,
    /// burn's own, with every matrix product in bf16; all else, the parameters too, stays f32.
    Bf16,
}

impl Ops {
    /// Whether they are the fused ones.
    #[must_use]
    pub fn fused(self) -> bool {
        matches!(self, Self::Fused | Self::FusedBf16)
    }

    /// burn's own of the same precision.
    #[must_use]
    pub fn plain(self) -> Self {
        if matches!(self, Self::FusedBf16 | Self::Bf16) { Self::Bf16 } else { Self::Plain }
    }

    /// How they are called in reports.
    #[must_use]
    pub fn mode(self) -> &'static str {
        if self.fused() { "fused" } else { "plain" }
    }

    /// What computes the products of fused blocks.
    fn engine(self) -> Engine {
        match self {
            Self::FusedBf16 => Engine::bf16().unwrap_or_else(|| Engine::portable_bf16(Arch::new())),
            Self::Fused | Self::Plain | Self::Bf16 => Engine::f32(),
        }
    }
}

/// A tensor of the CPU backend, with its place in the graph if it is differentiated.
enum Cpu {
    Constant(FlexTensor),
    Tracked(FlexTensor, NodeGuard),
}

impl Cpu {
    /// `None` if the tensor lives elsewhere, or is not `f32`.
    fn new<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        let plain = |tensor: FlexTensor| (tensor.dtype() == DType::F32).then(|| contiguous(tensor));
        match tensor.clone().try_into_primitive::<Flex>() {
            Ok(tensor) => plain(tensor).map(Self::Constant),
            Err(_) => {
                let (tensor, node) = tensor.try_into_primitive::<Autodiff<Flex>>().ok()?.into_parts();
                plain(tensor).map(|tensor| Self::Tracked(tensor, node))
            }
        }
    }

    fn tensor(&self) -> &FlexTensor {
        match self {
            Self::Constant(tensor) | Self::Tracked(tensor, _) => tensor,
        }
    }
}

/// The places in the graph of all inputs; `Some(None)` if none is in it, `None` if only some are, which the plain
/// form sorts out.
fn guards<const N: usize>(inputs: [Cpu; N]) -> Option<Option<[NodeGuard; N]>> {
    let guards = inputs.into_iter().filter_map(|input| match input {
        Cpu::Tracked(_, guard) => Some(guard),
        Cpu::Constant(_) => None,
    });
    let guards: Vec<NodeGuard> = guards.collect();
    if guards.is_empty() { Some(None) } else { guards.try_into().ok().map(Some) }
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a tensor that [`Cpu::new`] has made contiguous.
fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_else(|| unreachable!("made contiguous by Cpu::new"))
}

/// A new tensor.
fn fresh(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

impl Encoder {
    /// Changes its operations.
    pub fn set_ops(&mut self, ops: Ops) {
        self.blocks.iter_mut().for_each(|block| block.set_ops(ops));
        (self.norm.ops, self.patch_embed.proj.ops) = (ops, ops);
    }
}

impl Mae {
    /// The same model with other operations.
    #[must_use]
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.encoder.set_ops(ops);
        self.decoder_blocks.set_ops(ops);
        self.decoder_norm.ops = ops;
        self.decoder_embed_norm.iter_mut().for_each(|norm| norm.ops = ops);
        (self.decoder_embed.ops, self.decoder_pred.ops) = (ops, ops);
        self
    }
}
