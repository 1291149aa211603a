//! What host and device share: patch and mask mathematics, the encoder's description, the serial protocol.
//!
//! Design decision: everything is `no_std` and works on slices that the caller owns, so that the very same
//! code runs on a microcontroller; the feature `alloc` adds owned results for the host's comfort. Host and
//! device cannot disagree about a patch's order or a mask's order, because there is only one definition.
//!
//! ```
//! use common::{
//!     mask::{self, MaskKind},
//!     patch::PatchGrid,
//! };
//!
//! // A gray image of 4x4 pixels is 4 patches of 2x2.
//! let grid = PatchGrid::new(4, 4, 2, 1)?;
//! let image: [u8; 16] = std::array::from_fn(|i| i as u8);
//! let mut patches = [0; 16];
//! grid.patchify(&image, &mut patches)?;
//! assert_eq!(patches[..4], [0, 1, 4, 5]);
//!
//! // Three quarters are removed: those with the largest noise.
//! let len_keep = mask::len_keep(grid.patches(), 0.75);
//! let (mut noise, mut ids_shuffle, mut ids_restore) = ([0.0; 4], [0; 4], [0; 4]);
//! mask::draw_noise(MaskKind::Random, &grid, len_keep, &mut mask::generator(7, 0), &mut noise);
//! mask::argsort(&noise, &mut ids_shuffle);
//! let ids_keep = &ids_shuffle[..len_keep];
//!
//! // The encoder sees what is left.
//! let mut visible = [0; 4];
//! grid.patchify_visible(&image, ids_keep, &mut visible)?;
//! let kept = ids_keep[0] as usize;
//! assert_eq!(visible, patches[kept * 4..][..4]);
//!
//! // The decoder gets the visible tokens, then mask tokens, and puts them in the image's order: patch i is the
//! // token at `ids_restore[i]`.
//! mask::invert(&ids_shuffle, &mut ids_restore);
//! let shuffled = ["seen", "mask", "mask", "mask"];
//! let restored = ids_restore.map(|place| shuffled[place as usize]);
//! assert_eq!(restored[kept], "seen");
//! # Ok::<(), common::patch::PatchError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
// What clap derives names it.
#[cfg(feature = "clap")]
extern crate std;

pub mod mask;
pub mod model;
pub mod normalize;
pub mod patch;
pub mod position;
pub mod wire;
