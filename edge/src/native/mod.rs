//! The native int8 encoder: only the visible patches, without an operating system and without a heap.
//!
//! Weights are 8-bit integers with one scale an output channel, activations 8-bit integers with one scale a token;
//! their products are summed exactly in i32 ([`product`]). Everything else is f32 in one fixed order, so that every
//! machine gives the same bits. [`mod@format`] reads a model in place; `write` makes one;
//! [`Encoder`] runs it.

mod attention;
pub mod encoder;
pub mod error;
pub mod float;
pub mod format;
mod forward;
pub mod kernels;
pub mod lanes;
pub mod layout;
pub mod pack;
mod part;
pub mod probe;
pub mod product;
#[cfg(feature = "alloc")]
pub mod quantize;
#[cfg(feature = "alloc")]
pub mod random;
mod threads;
pub mod workspace;
#[cfg(feature = "alloc")]
pub mod write;

#[cfg(all(test, feature = "std"))]
mod encoder_tests;
#[cfg(all(test, feature = "std"))]
mod format_tests;
#[cfg(all(test, feature = "std"))]
mod reference;

pub use encoder::{Encoder, Features, Patches};
pub use error::NativeError;
pub use format::{Block, Linear, Model, Norm};
pub use kernels::Kernels;
pub use product::Product;
pub use workspace::{Line, Shape};
