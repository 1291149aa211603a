//! Encodes only the visible patches of an image on a board and sends the features over a serial line.
//!
//! Design decision: the core ([`select`], [`pipeline`], [`head`], [`drivers`]) is `no_std`, works in buffers of its
//! caller and knows neither files nor ports; what needs an operating system is behind the features `tract` (the
//! portable runtime) and `linux` (the program).
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod drivers;
pub mod head;
pub mod native;
pub mod pipeline;
pub mod select;
pub mod serve;

#[cfg(feature = "std")]
pub mod head_file;
#[cfg(feature = "linux")]
pub mod linux;
#[cfg(feature = "std")]
pub mod model_folder;
#[cfg(feature = "linux")]
pub mod native_file;
#[cfg(feature = "linux")]
pub mod options;
#[cfg(feature = "linux")]
pub mod runtime;
#[cfg(feature = "tract")]
pub mod tract_runtime;
