//! `results.csv`: a line for each figure of each run.
//!
//! The crate `csv` reads a line into a [`Row`]. It is written by `format!`: as JSON the same fields have all their
//! digits, so that columns with their own decimals would need a second type and a copy of each field into it.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The first line of `results.csv`.
pub(super) const HEADER: &str =
    "experiment,setting,seed,metric,value,loss,seconds,flops,pretrain_seconds,pretrain_flops,version,date";

/// One figure of one run; behind the experiment the fields are the columns of `results.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Place of the setting among those of the sweep; no column.
    #[serde(skip)]
    pub place: usize,
    /// Value of the setting: `0.75`.
    pub setting: String,
    /// Random choices of the pre-training came from it.
    pub seed: u64,
    /// What was measured: `knn`.
    pub metric: String,
    /// What came out; accuracies are shares of 1.
    pub value: f64,
    /// Loss of the last epoch of pre-training.
    pub loss: Option<f64>,
    /// Time of the evaluation, seconds.
    pub seconds: f64,
    /// Operations of the evaluation.
    pub flops: f64,
    /// Time of the pre-training, seconds.
    pub pretrain_seconds: Option<f64>,
    /// Operations of the pre-training.
    pub pretrain_flops: f64,
    /// Version of the program that evaluated.
    pub version: String,
    /// When it was evaluated.
    pub date: String,
}

/// Operations as `results.csv` has them.
#[must_use]
pub fn scientific(flops: f64) -> String {
    format!("{flops:.4e}")
}

/// The lines of `results.csv`.
#[must_use]
pub fn csv(experiment: &str, rows: &[Row]) -> String {
    let mut out = format!("{HEADER}\n");
    let optional = |value: Option<f64>, decimals: usize| value.map(|v| format!("{v:.decimals$}")).unwrap_or_default();
    for row in rows {
        let _ = writeln!(
            out,
            "{experiment},{},{},{},{:.6},{},{:.1},{},{},{},{},{}",
            row.setting,
            row.seed,
            row.metric,
            row.value,
            optional(row.loss, 6),
            row.seconds,
            scientific(row.flops),
            optional(row.pretrain_seconds, 1),
            scientific(row.pretrain_flops),
            row.version,
            row.date
        );
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(place: usize, seed: u64, metric: &str, value: f64) -> Row {
        Row {
            place,
            setting: ["0.5", "0.75"][place].into(),
            seed,
            metric: metric.into(),
            value,
            loss: Some(0.25),
            seconds: 12.345,
            flops: 1.5e12,
            pretrain_seconds: None,
            pretrain_flops: 3e13,
            version: "0.1.0".into(),
            date: "2026-11-25 08:00:00 UTC".into(),
        }
    }

    #[test]
    fn a_line_has_as_many_fields_as_the_header_and_its_numbers_come_back() {
        let text = csv("mask-ratio", &[row(0, 3, "knn", 0.123_456_7)]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines[0].len(), lines[1].len());
        let field = |name: &str| lines[1][lines[0].iter().position(|known| *known == name).expect("field")];
        assert_eq!(
            [field("setting"), field("seed"), field("metric"), field("value")],
            ["0.5", "3", "knn", "0.123457"]
        );
        assert_eq!(
            [field("loss"), field("pretrain_seconds"), field("date")],
            ["0.250000", "", "2026-11-25 08:00:00 UTC"]
        );
        assert_eq!(field("pretrain_flops").parse(), Ok(3e13));
    }
}
