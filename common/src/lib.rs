//! What host and device share: patch and mask mathematics, the encoder's description, the serial protocol.
//!
//! Design decision: everything is `no_std` and works on slices that the caller owns, so that the very same
//! code runs on a microcontroller; the feature `alloc` adds owned results for the host's comfort. Host and
//! device cannot disagree about a patch's order or a mask's order, because there is only one definition.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod mask;
pub mod model;
pub mod normalize;
pub mod patch;
pub mod position;
pub mod wire;
