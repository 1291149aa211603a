//! Encodes only the visible patches of an image on a board and sends the features over a serial line.
//!
//! Design decision: the core is `no_std` and knows neither files nor ports; what needs an operating system is
//! behind the features `tract` (the portable runtime) and `linux` (the program).
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "linux")]
pub mod exit;
#[cfg(feature = "linux")]
pub mod image_source;
