//! A range of shares of visible patches, from which each optimizer step draws one.

use crate::{data::random::below, stream::Stream};
use common::mask::{generator, len_visible};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// The smallest and the largest share: above 0 at the upper end, at most 1, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 2]", into = "[f64; 2]")]
pub struct KeepRange {
    low: f64,
    high: f64,
}

/// Why there is no such range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KeepRangeError {
    /// No two numbers.
    #[error("a range of shares is LO..HI, two numbers such as 0.15..1")]
    Form,
    /// One is no share.
    #[error("{0} is no share of the patches: use numbers from 0 to 1")]
    Share(f64),
    /// They are in the wrong order.
    #[error("{low} is more than {high}: give the smaller share first")]
    Reversed {
        /// The first.
        low: f64,
        /// The second.
        high: f64,
    },
    /// There is nothing to see.
    #[error("the larger share must be above 0: no patch would be visible")]
    Nothing,
}

impl KeepRange {
    /// How many of `patches` patches may be visible: at least one, and all but one at most, for the decoder to predict.
    #[must_use]
    pub fn bounds(self, patches: usize) -> RangeInclusive<usize> {
        let count = |share| len_visible(patches, share).min(patches.saturating_sub(1)).max(1);
        count(self.low)..=count(self.high)
    }

    /// The number for the step that begins with sample number `sample`: all within the bounds are as likely.
    #[must_use]
    pub fn draw(self, patches: usize, seed: u64, sample: u64) -> usize {
        let (least, most) = self.bounds(patches).into_inner();
        least + below(most - least + 1, &mut generator(Stream::KeepRange.seed(seed), sample))
    }
}

impl TryFrom<[f64; 2]> for KeepRange {
    type Error = KeepRangeError;

    fn try_from([low, high]: [f64; 2]) -> Result<Self, KeepRangeError> {
        if let Some(outside) = [low, high].into_iter().find(|share| !(0.0..=1.0).contains(share)) {
            return Err(KeepRangeError::Share(outside));
        }
        if low > high {
            return Err(KeepRangeError::Reversed { low, high });
        }
        if high == 0.0 {
            return Err(KeepRangeError::Nothing);
        }
        Ok(Self { low, high })
    }
}

impl From<KeepRange> for [f64; 2] {
    fn from(KeepRange { low, high }: KeepRange) -> Self {
        [low, high]
    }
}

impl FromStr for KeepRange {
    type Err = KeepRangeError;

    fn from_str(text: &str) -> Result<Self, KeepRangeError> {
        let (low, high) = text.split_once("..").ok_or(KeepRangeError::Form)?;
        let number = |text: &str| text.trim().parse().map_err(|_| KeepRangeError::Form);
        [number(low)?, number(high)?].try_into()
    }
}

impl fmt::Display for KeepRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn range(text: &str) -> KeepRange {
        text.parse().expect(text)
    }

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for text in ["0.15..1", "0..0.5", "0.25..0.25", "1..1", "1e-2..0.9"] {
            assert_eq!(range(&range(text).to_string()), range(text));
        }
        let toml = "keep_range = [0.15, 1.0]\n";
        #[derive(Serialize, Deserialize)]
        struct Table {
            keep_range: KeepRange,
        }
        let table: Table = toml::from_str(toml).expect("table");
        assert_eq!(table.keep_range, range("0.15..1"));
        assert_eq!(toml::to_string(&table).expect("text"), toml);
        let error = toml::from_str::<Table>("keep_range = [0.5, 0.1]").map(|_| ()).expect_err("reversed");
        assert!(error.message().contains("give the smaller share first"), "{error}");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let error = |text: &str| text.parse::<KeepRange>().expect_err(text);
        for text in ["", "0.5", "a..b", "..", "0.1..", "..1", "0.1..0.5..1", "0,1..1", "0.1-1"] {
            assert_eq!(error(text), KeepRangeError::Form, "{text}");
        }
        for (text, share) in [("-0.1..1", -0.1), ("0.5..1.5", 1.5), ("inf..1", f64::INFINITY)] {
            assert_eq!(error(text), KeepRangeError::Share(share));
        }
        assert!(matches!(error("nan..1"), KeepRangeError::Share(share) if share.is_nan()));
        assert_eq!(error("1..0.15"), KeepRangeError::Reversed { low: 1.0, high: 0.15 });
        assert_eq!(error("0..0"), KeepRangeError::Nothing);
    }

    #[test]
    fn one_patch_is_seen_and_one_is_left_to_predict() {
        assert_eq!(range("0.15..1").bounds(64), 9..=63);
        assert_eq!(range("0..0.001").bounds(64), 1..=1);
        assert_eq!(range("1..1").bounds(64), 63..=63);
        assert_eq!(range("0.25..0.5").bounds(196), 49..=98);
        assert_eq!(range("0..1").bounds(2), 1..=1);
    }

    #[test]
    fn all_numbers_within_the_bounds_are_drawn_and_the_same_again() {
        let draw = |sample| range("0.15..1").draw(64, 7, sample);
        let drawn: Vec<usize> = (0..2000).map(|step| draw(step * 256)).collect();
        assert_eq!(drawn.iter().copied().collect::<BTreeSet<_>>(), (9..=63).collect());
        let mean = drawn.iter().sum::<usize>() as f64 / 2000.0;
        assert!((mean - 36.0).abs() < 1.0, "{mean}");
        assert_eq!(drawn, (0..2000).map(|step| draw(step * 256)).collect::<Vec<_>>());
        assert_ne!(draw(256), range("0.15..1").draw(64, 8, 256));
        assert_eq!(range("0.5..0.5").draw(64, 7, 3), 32);
    }
}
