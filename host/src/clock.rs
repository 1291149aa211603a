//! The date and time of day in UTC, as a person and a file name need them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970; zero if the clock stands before it.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The moment as `YYYYMMDD-HHMMSS`, which sorts by time.
#[must_use]
pub fn stamp() -> String {
    let [year, month, day, hour, minute, second] = parts(now().as_secs());
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// A name that sorts by time: `NAME-YYYYMMDD-HHMMSS`.
#[must_use]
pub fn named(name: &str) -> String {
    format!("{name}-{}", stamp())
}

/// The moment as `YYYY-MM-DD HH:MM:SS UTC`.
#[must_use]
pub fn date() -> String {
    let [year, month, day, hour, minute, second] = parts(now().as_secs());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A length of time for a person: its two largest units.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// Year, month, day, hour, minute and second of a number of seconds since 1970.
fn parts(seconds: u64) -> [i64; 6] {
    let (year, month, day) = civil((seconds / 86_400) as i64);
    let seconds = (seconds % 86_400) as i64;
    [year, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60]
}

/// Year, month and day of a day since 1970 (proleptic Gregorian), by eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_781), (2026, 11, 24));
        assert_eq!(parts(86_399), [1970, 1, 1, 23, 59, 59]);
    }

    #[test]
    fn durations_show_two_units() {
        let shown = [0.4, 59.6, 3599.0, 3600.0, 90_000.0].map(duration);
        assert_eq!(shown, ["0 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 d 1 h"]);
    }
}
