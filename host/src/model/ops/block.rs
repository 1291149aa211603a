//! A transformer block as one operation, whether its tokens attend to one another or to a context.

use super::{Cpu, elements, fresh};
use crate::model::{
    cross::CrossBlock,
    layers::{Block, BranchFactors, LayerNorm, Linear, Mlp, NORM_EPS},
};
use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        flex::FlexTensor,
    },
    tensor::Tensor,
};
use kernels::{
    Engine,
    block::{Block as Size, Branches, Input, PARAMETERS, Parameters, Plan, Saved},
};
use std::sync::Arc;

/// Inputs of a block: tokens, their context if they have one, parameters.
const ALONE: usize = 1 + PARAMETERS;
const WITH_CONTEXT: usize = 2 + PARAMETERS;

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct State<const N: usize> {
    size: Size,
    engine: Engine,
    tensors: [FlexTensor; N],
    factors: Option<BranchFactors>,
    saved: Arc<Saved>,
}

/// Calls `function` with the block's view of `N` inputs.
fn read<const N: usize, T>(
    tensors: &[FlexTensor; N],
    factors: Option<&BranchFactors>,
    function: impl FnOnce(Input<'_>) -> T,
) -> T {
    let parameters = Parameters::from_array(std::array::from_fn(|i| elements(&tensors[N - PARAMETERS + i])));
    let context = if N == WITH_CONTEXT { elements(&tensors[1]) } else { &[] };
    let branches = factors.map(|BranchFactors { attention, mlp }| Branches { attention, mlp });
    function(Input { x: elements(&tensors[0]), context, parameters: &parameters, branches })
}

#[derive(Debug)]
struct BlockBackward;

impl<const N: usize> Backward<Flex, N> for BlockBackward {
    type State = State<N>;

    fn backward(self, ops: Ops<State<N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { size, engine, tensors, factors, saved } = ops.state;
        let plan = Plan::with(engine);
        let grad = super::contiguous(grads.consume::<Flex>(&ops.node));
        let grad = elements(&grad);
        let found = read(&tensors, factors.as_ref(), |input| size.backward(plan, grad, input, &saved));
        let context = (N == WITH_CONTEXT).then_some(found.context);
        let values = std::iter::once(found.x).chain(context).chain(found.parameters.into_array());
        for ((parent, values), input) in ops.parents.into_iter().zip(values).zip(&tensors) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, fresh(values, input.layout().shape().clone()));
            }
        }
    }
}

/// `block` on `x: [B * N, D]`, tokens attending within their own image; without `factors` they are all 1. `None`
/// where the plain form must do.
pub fn block(x: &Tensor<2>, block: &Block, batch: usize, factors: Option<&BranchFactors>) -> Option<Tensor<2>> {
    let Block { norm1, attn, norm2, mlp, .. } = block;
    let (qkv, heads) = ((attn.qkv.weight.val(), attn.qkv.bias.val()), attn.heads());
    let [a, b, c, d, e, f, g, h, i, j, k, l] = parameters((norm1, norm2), qkv, &attn.proj, mlp)?;
    let inputs: [Cpu; ALONE] = [Cpu::new(x.clone())?, a, b, c, d, e, f, g, h, i, j, k, l];
    run((sizes(x, 0, mlp, batch, heads), block.ops.engine()), inputs, factors)
}

/// `block` on `x: [B * K, D]`, tokens attending to those of `context: [B * C, D]` of their own image. `None` where
/// the plain form must do.
pub fn cross_block(x: &Tensor<2>, context: &Tensor<2>, block: &CrossBlock, batch: usize) -> Option<Tensor<2>> {
    let CrossBlock { norm1, attn, norm2, mlp, .. } = block;
    // Small beside the products with them.
    let weight = Tensor::cat(vec![attn.q.weight.val(), attn.kv.weight.val()], 1);
    let bias = Tensor::cat(vec![attn.q.bias.val(), attn.kv.bias.val()], 0);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = parameters((norm1, norm2), (weight, bias), &attn.proj, mlp)?;
    let (own, other) = (Cpu::new(x.clone())?, Cpu::new(context.clone())?);
    let inputs: [Cpu; WITH_CONTEXT] = [own, other, a, b, c, d, e, f, g, h, i, j, k, l];
    run((sizes(x, context.dims()[0] / batch, mlp, batch, attn.heads()), block.ops.engine()), inputs, None)
}

fn sizes(x: &Tensor<2>, context: usize, mlp: &Mlp, batch: usize, heads: usize) -> Size {
    let ([rows, dim], hidden) = (x.dims(), mlp.fc1.bias.val().dims()[0]);
    Size { batch, tokens: rows / batch, context, dim, heads, hidden, eps: NORM_EPS as f32 }
}

/// In the order of [`Parameters`].
fn parameters(
    (norm1, norm2): (&LayerNorm, &LayerNorm),
    (qkv_weight, qkv_bias): (Tensor<2>, Tensor<1>),
    proj: &Linear,
    Mlp { fc1, fc2 }: &Mlp,
) -> Option<[Cpu; PARAMETERS]> {
    Some([
        Cpu::new(norm1.weight.val())?,
        Cpu::new(norm1.bias.val())?,
        Cpu::new(qkv_weight)?,
        Cpu::new(qkv_bias)?,
        Cpu::new(proj.weight.val())?,
        Cpu::new(proj.bias.val())?,
        Cpu::new(norm2.weight.val())?,
        Cpu::new(norm2.bias.val())?,
        Cpu::new(fc1.weight.val())?,
        Cpu::new(fc1.bias.val())?,
        Cpu::new(fc2.weight.val())?,
        Cpu::new(fc2.bias.val())?,
    ])
}

/// The operation on `N` inputs: [`ALONE`] or [`WITH_CONTEXT`].
fn run<const N: usize>(
    (size, engine): (Size, Engine),
    inputs: [Cpu; N],
    factors: Option<&BranchFactors>,
) -> Option<Tensor<2>> {
    let tensors = inputs.each_ref().map(|input| input.tensor().clone());
    let forward = |save| read(&tensors, factors, |input| size.forward(Plan::with(engine), input, save));
    let shape = [size.rows(), size.dim];
    let Some(guards) = super::guards(inputs)? else {
        let (out, _) = forward(false);
        return Some(Tensor::from_primitive::<Flex>(fresh(out, shape)));
    };
    let out = match BlockBackward.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (out, saved) = forward(true);
            let saved = Arc::new(saved?);
            let state = State { size, engine, tensors: tensors.clone(), factors: factors.cloned(), saved };
            prepared.finish(state, fresh(out, shape))
        }
        OpsKind::UnTracked(prepared) => {
            let (out, _) = forward(false);
            prepared.finish(fresh(out, shape))
        }
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(out))
}
