//! A transformer block as one operation.

use super::{Cpu, elements, fresh};
use crate::model::layers::{Block, BranchFactors, NORM_EPS};
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
use kernels::block::{Block as Size, Branches, PARAMETERS, Parameters, Plan, Saved};
use std::sync::Arc;

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct State {
    size: Size,
    x: FlexTensor,
    parameters: [FlexTensor; PARAMETERS],
    factors: Option<BranchFactors>,
    saved: Arc<Saved>,
}

fn branches(factors: &Option<BranchFactors>) -> Option<Branches<'_>> {
    factors.as_ref().map(|BranchFactors { attention, mlp }| Branches { attention, mlp })
}

#[derive(Debug)]
struct BlockBackward;

impl Backward<Flex, { PARAMETERS + 1 }> for BlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, { PARAMETERS + 1 }>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { size, x, parameters, factors, saved } = ops.state;
        let grad = super::contiguous(grads.consume::<Flex>(&ops.node));
        let values = Parameters::from_array(parameters.each_ref().map(elements));
        let found = size.backward(Plan::detect(), elements(&grad), elements(&x), &values, branches(&factors), &saved);
        let shapes = parameters.each_ref().map(|parameter| parameter.layout().shape().clone());
        let tensors =
            found.parameters.into_array().into_iter().zip(shapes).map(|(values, shape)| fresh(values, shape));
        let tensors = std::iter::once(fresh(found.x, [size.rows(), size.dim])).chain(tensors);
        for (parent, tensor) in ops.parents.into_iter().zip(tensors) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, tensor);
            }
        }
    }
}

/// `block` on `x: [B * N, D]`, tokens attending within their own image; without `factors` they are all 1. `None`
/// where the plain form must do.
pub fn block(x: &Tensor<2>, block: &Block, batch: usize, factors: Option<&BranchFactors>) -> Option<Tensor<2>> {
    let [rows, dim] = x.dims();
    let Block { norm1, attn, norm2, mlp, .. } = block;
    let hidden = mlp.fc1.bias.val().dims()[0];
    let size = Size { batch, tokens: rows / batch, dim, heads: attn.heads(), hidden, eps: NORM_EPS as f32 };
    let inputs = [
        Cpu::new(x.clone())?,
        Cpu::new(norm1.weight.val())?,
        Cpu::new(norm1.bias.val())?,
        Cpu::new(attn.qkv.weight.val())?,
        Cpu::new(attn.qkv.bias.val())?,
        Cpu::new(attn.proj.weight.val())?,
        Cpu::new(attn.proj.bias.val())?,
        Cpu::new(norm2.weight.val())?,
        Cpu::new(norm2.bias.val())?,
        Cpu::new(mlp.fc1.weight.val())?,
        Cpu::new(mlp.fc1.bias.val())?,
        Cpu::new(mlp.fc2.weight.val())?,
        Cpu::new(mlp.fc2.bias.val())?,
    ];
    let tensors = inputs.each_ref().map(|input| input.tensor().clone());
    let [x, parameters @ ..] = &tensors;
    let values = Parameters::from_array(parameters.each_ref().map(elements));
    let factors = factors.cloned();
    let forward = |save| size.forward(Plan::detect(), elements(x), &values, branches(&factors), save);
    let Some(guards) = super::guards(inputs)? else {
        let (out, _) = forward(false);
        return Some(Tensor::from_primitive::<Flex>(fresh(out, [rows, dim])));
    };
    let out = match BlockBackward.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (out, saved) = forward(true);
            let (x, parameters, saved) = (x.clone(), parameters.clone(), Arc::new(saved?));
            let state = State { size, x, parameters, factors: factors.clone(), saved };
            prepared.finish(state, fresh(out, [rows, dim]))
        }
        OpsKind::UnTracked(prepared) => {
            let (out, _) = forward(false);
            prepared.finish(fresh(out, [rows, dim]))
        }
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(out))
}
