//! The set that runs everywhere.

use super::set::{Kernels, passes};
use crate::native::product;

/// Portable Rust.
pub static PORTABLE: Kernels =
    Kernels { name: "portable", rows: 48, product: product::portable, passes: passes!(f32) };
