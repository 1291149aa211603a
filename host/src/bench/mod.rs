//! Measures training: speed, its parts, memory, and how near it comes to the machine's matrix peak.
//!
//! What each figure means is written down in `docs/benchmarks.md`. The rival is `bench/pytorch_mae.py`; it reports
//! the same fields.

pub mod check;
pub mod encode;
pub mod finetune;
pub mod flops;
pub mod memory;
pub mod parts;
pub mod peak;
pub mod pretrain;
pub mod processor;
pub mod replay;
pub mod step;
pub mod threads;
pub mod timing;

use serde::Serialize;

/// Median, smallest and largest of a figure over the timed steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; the mean of the two in the middle of an even number.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value, none of them NaN; `None` otherwise.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        (!values.iter().any(|value| value.is_nan())).then_some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_odd_even_and_no_values() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
    }
}
