//! What products in bf16 gain on this CPU.

use crate::model::{MaeConfig, layers::NORM_EPS};
use common::mask::len_keep;
use kernels::{
    Engine,
    block::{Block, Input, Parameters, Plan},
};
use std::time::{Duration, Instant};

/// Narrower models are all norms, softmax and GELU, and gain nothing.
const NARROW: usize = 96;

/// Rows of the measurement: two chunks of a block.
const ROWS: usize = 256;

/// How many times as fast a training's block of this encoder is in bf16 as in f32, on one thread; `None` where there
/// are no instructions for it, or the encoder is narrow.
#[must_use]
pub fn of_bf16(model: &MaeConfig) -> Option<f64> {
    let bf16 = Engine::bf16()?;
    if model.dim < NARROW {
        return None;
    }
    let tokens = 1 + len_keep(model.grid().ok()?.patches(), 0.75);
    let (dim, heads, hidden) = (model.dim, model.heads, (model.dim as f64 * model.mlp_ratio) as usize);
    let batch = (ROWS / tokens).max(1);
    let block = Block { batch, tokens, context: 0, dim, heads, hidden, eps: NORM_EPS as f32 };
    let values = |count: usize| (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect::<Vec<f32>>();
    let x = values(block.rows() * dim);
    let parameters = block.parameter_lens().into_array().map(|len| values(len).iter().map(|v| v * 0.05).collect());
    let parameters = Parameters::from_array(parameters.each_ref().map(|data: &Vec<f32>| data.as_slice()));
    let input = Input { x: &x, context: &[], parameters: &parameters, branches: None };
    let step = |engine| {
        let (plan, begun) = (Plan { engine, shards: 1 }, Instant::now());
        let (out, saved) = block.forward(plan, input, true);
        let gradients = saved.map(|saved| block.backward(plan, &out, input, &saved));
        std::hint::black_box(gradients);
        begun.elapsed()
    };
    // In turn, so that what disturbs one disturbs the other, and the best of each.
    let (mut plain, mut fast) = (Duration::MAX, Duration::MAX);
    for _ in 0..4 {
        plain = plain.min(step(Engine::f32()));
        fast = fast.min(step(bf16));
    }
    Some(plain.as_secs_f64() / fast.as_secs_f64())
}
