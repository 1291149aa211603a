//! LayerNorm as one operation.

use super::{Cpu, elements, fresh};
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
    block::Plan,
    norm::{self, Statistics},
};

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    statistics: Vec<Statistics>,
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { x, weight, statistics } = ops.state;
        let grad = super::contiguous(grads.consume::<Flex>(&ops.node));
        let width = elements(&weight).len();
        let found =
            norm::backward_shards(Plan::detect(), elements(&grad), elements(&x), elements(&weight), &statistics);
        let shapes = [vec![statistics.len(), width], vec![width], vec![width]];
        for ((parent, values), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, fresh(values, shape));
            }
        }
    }
}

/// LayerNorm of `x: [R, W]`. `None` where the plain form must do.
pub fn layer_norm(x: &Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Option<Tensor<2>> {
    let shape = x.dims();
    let inputs = [Cpu::new(x.clone())?, Cpu::new(weight)?, Cpu::new(bias)?];
    let [x, weight, bias] = inputs.each_ref().map(|input| input.tensor().clone());
    let forward =
        || norm::forward_shards(Plan::detect(), elements(&x), elements(&weight), elements(&bias), eps as f32);
    let Some(guards) = super::guards(inputs)? else {
        return Some(Tensor::from_primitive::<Flex>(fresh(forward().0, shape)));
    };
    let (out, statistics) = forward();
    let out = fresh(out, shape);
    let out = match NormBackward.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(State { x, weight, statistics }, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(out))
}
