//! How much memory this process holds, from the kernel's own books.

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

fn field(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    parse(&status, name)
}

/// `NAME:  12 kB` in bytes.
fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lines() {
        let status = "Name:\thost\nVmHWM:\t    2048 kB\nVmRSS:\t      16 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse(status, "VmRSS:"), Some(16 << 10));
        assert_eq!(parse(status, "VmSwap:"), None);
        assert_eq!(parse("VmHWM:\tmuch\n", "VmHWM:"), None);
    }

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
