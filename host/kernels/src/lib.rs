//! Training kernels for CPUs: a pre-norm transformer block forward and backward, on plain slices.
//!
//! Design decision: a block works through a batch in chunks of a few images, each chunk through all of the block's
//! operations, so that what one operation writes is still in the second-level cache when the next one reads it. The
//! vector instructions are chosen at run time by [`pulp`] (AVX-512, AVX2, NEON or none), and those for products in
//! bf16 by [`Engine`]; `unsafe` lives in [`product`], `tile`, `bf16` and `pairs` alone.
//!
//! `B` images, `N` tokens each, `D` the width, `F` the MLP's hidden width, `H` heads.
//!
//! ```
//! use kernels::block::{Block, Input, Parameters, Plan};
//!
//! let block = Block { batch: 2, tokens: 5, context: 0, dim: 8, heads: 2, hidden: 32, eps: 1e-6 };
//! let parameters = block.parameter_lens().into_array().map(|len| vec![0.02; len]);
//! let parameters = Parameters::from_array(parameters.each_ref().map(Vec::as_slice));
//! let x: Vec<f32> = (0..2 * 5 * 8).map(|i| (i as f32).sin()).collect();
//!
//! // Vector instructions of this machine, a shard of the batch for each thread.
//! let plan = Plan::detect();
//! let input = Input { x: &x, context: &[], parameters: &parameters, branches: None };
//! let (y, saved) = block.forward(plan, input, true);
//! let saved = saved.expect("asked for");
//!
//! // Of the sum of all outputs: the last bias is part of each of the 2 x 5 rows.
//! let gradients = block.backward(plan, &vec![1.0; y.len()], input, &saved);
//! assert_eq!(gradients.parameters.fc2_bias, [10.0; 8]);
//! assert_eq!(gradients.x.len(), x.len());
//! ```

pub mod adamw;
pub mod attention;
mod bf16;
pub mod block;
mod engine;
pub mod gelu;
mod kept;
pub mod math;
pub mod norm;
mod pairs;
mod panels;
mod parameters;
mod plan;
pub mod pool;
pub mod product;
mod saved;
mod tile;
pub mod vector;

pub use engine::{Bf16, Engine};
pub use pulp::Arch;
