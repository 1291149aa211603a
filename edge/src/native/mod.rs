//! The native int8 encoder: only the visible patches, without an operating system and without a heap.
//!
//! Weights are 8-bit integers with one scale an output channel, activations 8-bit integers with one scale a token;
//! their products are summed exactly in i32 ([`product`]). Everything else is f32 in one fixed order, so that every
//! machine gives the same bits. [`mod@format`] reads a model in place; `write` makes one; [`Encoder`] runs it.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use common::{
//!     model::{EncoderSpec, ModelHash, Pooling, PositionKind},
//!     normalize::PixelStats,
//! };
//! use edge::native::{Encoder, Kernels, Line, Model, Patches, Shape, random::random_parameters, write};
//!
//! // A small ViT for images of 16x16 pixels in 16 patches.
//! let spec = EncoderSpec {
//!     image_height: 16,
//!     image_width: 16,
//!     channels: 3,
//!     patch_size: 4,
//!     dim: 32,
//!     depth: 2,
//!     heads: 2,
//!     mlp_ratio: 4.0,
//!     norm_eps: 1e-6,
//!     position: PositionKind::SinCos2d,
//!     pooling: Pooling::Cls,
//!     feature_dim: 32,
//!     pixels: PixelStats::IMAGENET,
//!     hash: ModelHash::default(),
//! };
//! // `host export` writes trained parameters; here they are random.
//! let parameters = random_parameters(&spec, 1);
//! let file = write::encoder(&spec, |name| parameters.get(name).map(Vec::as_slice))?;
//!
//! // The model is read where it lies: on a board in flash, here in whole cache lines.
//! let mut lines = vec![Line::ZERO; file.len().div_ceil(64)];
//! bytemuck::cast_slice_mut(&mut lines)[..file.len()].copy_from_slice(&file);
//! let model = Model::parse(&bytemuck::cast_slice(&lines)[..file.len()])?;
//!
//! // Four of the 16 patches are visible. The workspace is all the memory that encoding takes.
//! let ids_keep = [0, 3, 9, 14];
//! let mut workspace = vec![Line::ZERO; Shape::of(&spec)?.workspace(4, 4, 1)];
//! let mut encoder = Encoder::new(model, Kernels::best(), 4, &mut workspace)?;
//! let pixels: Vec<u8> = (0..4 * 4 * 4 * 3).map(|i| i as u8).collect();
//! let features = encoder.encode(Patches::Pixels(&pixels), &ids_keep)?;
//! assert_eq!((features.cls.len(), features.tokens.len()), (32, 4 * 32));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attention;
pub mod encoder;
pub mod error;
pub mod float;
pub mod format;
mod forward;
#[allow(unsafe_code)]
pub mod fused;
mod job;
pub mod kernels;
pub mod lanes;
pub mod layout;
pub mod pack;
mod prefix;
pub mod product;
pub mod profile;
#[cfg(feature = "alloc")]
pub mod quantize;
#[cfg(feature = "alloc")]
pub mod random;
pub mod softmax;
mod threads;
mod token_range;
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
