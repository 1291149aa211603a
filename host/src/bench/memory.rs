//! How much memory this process holds, from the kernel's own books.

use console::memory::field;
use serde::Serialize;
use std::fs;

/// Since when a peak counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// The measurement's begin: the kernel let this process reset its mark.
    Begin,
    /// The process's start.
    Start,
}

/// Forgets the peak so far (Linux: `5` to `/proc/self/clear_refs`), where that is permitted.
pub fn reset_peak() -> Since {
    match fs::write("/proc/self/clear_refs", "5") {
        Ok(()) => Since::Begin,
        Err(_) => Since::Start,
    }
}

/// The largest resident size since the last reset, bytes; `None` where there is no `/proc`.
#[must_use]
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

/// The resident size now, bytes; `None` where there is no `/proc`.
#[must_use]
pub fn resident() -> Option<u64> {
    field("VmRSS:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_sees_what_was_given_back() {
        reset_peak();
        let before = resident().expect("resident");
        let size = 64 << 20;
        drop(std::hint::black_box(vec![1_u8; size]));
        assert!(peak().expect("peak") >= before + size as u64 / 2);
    }
}
