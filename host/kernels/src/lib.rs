//! Training kernels for CPUs: a pre-norm transformer block forward and backward, on plain slices.
//!
//! Design decision: a block works through a batch in chunks of a few images, each chunk through all of the block's
//! operations, so that what one operation writes is still in the second-level cache when the next one reads it. The
//! vector instructions are chosen at run time by [`pulp`] (AVX-512, AVX2, NEON or none); `unsafe` lives in
//! [`product`] alone.
//!
//! `B` images, `N` tokens each, `D` the width, `F` the MLP's hidden width, `H` heads.

pub mod adamw;
pub mod attention;
pub mod block;
pub mod gelu;
pub mod math;
pub mod norm;
pub mod pool;
pub mod product;
pub mod vector;

pub use pulp::Arch;
