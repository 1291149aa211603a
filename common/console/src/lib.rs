//! The manners of the programs at a terminal.
//!
//! Design decision: `host` and `edge` print, fail and end alike, so what does it is a member of its own that neither
//! the mathematics (`common`) nor the device core (`edge` without `linux`) sees.

pub mod exit;
mod interrupt;
pub mod memory;

pub use exit::{Misuse, called, misuse, report};
pub use interrupt::stop_on_ctrl_c;
