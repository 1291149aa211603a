//! How much memory this process holds, from the kernel's own books.

use std::fs;

/// The largest resident size so far (`VmHWM`), bytes; `None` where there is no `/proc`.
#[must_use]
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

/// A size in `/proc/self/status`, bytes.
#[must_use]
pub fn field(name: &str) -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?, name)
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
}
