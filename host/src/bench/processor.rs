//! Processor time of this process, which other processes do not change.

/// Seconds since the process began, over all its threads; nothing where the system does not tell.
#[must_use]
pub fn seconds() -> Option<f64> {
    #[cfg(target_os = "linux")]
    return parse(&std::fs::read_to_string("/proc/self/stat").ok()?);
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// `utime` and `stime` of proc(5), in hundredths of a second (USER_HZ, which is 100 on every architecture that Rust's
/// standard library knows).
#[cfg(target_os = "linux")]
fn parse(stat: &str) -> Option<f64> {
    // The program's name, in parentheses, may hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) as f64 / 100.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194304 95 0 0 0 250 31 0 0 20 0 1 0 8 2 1 184";
        assert_eq!(parse(stat), Some(2.81));
        assert_eq!(parse("7 (a) R 1"), None);
        assert!(seconds().is_some());
    }
}
