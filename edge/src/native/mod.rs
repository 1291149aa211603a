//! The native int8 encoder: only the visible patches, without an operating system and without a heap.
//!
//! Weights are 8-bit integers with one scale an output channel, activations 8-bit integers with one scale a token;
//! their products are summed exactly in i32 ([`product`]). Everything else is f32 in one fixed order, so that every
//! machine gives the same bits. [`format`] reads a model in place; [`write`] makes one.

pub mod error;
pub mod float;
pub mod format;
pub mod kernels;
pub mod lanes;
pub mod layout;
pub mod pack;
pub mod product;
#[cfg(feature = "alloc")]
pub mod quantize;
#[cfg(feature = "alloc")]
pub mod random;
#[cfg(feature = "alloc")]
pub mod write;

#[cfg(all(test, feature = "std"))]
mod format_tests;

pub use error::NativeError;
pub use format::{Block, Linear, Model, Norm};
pub use product::Product;
