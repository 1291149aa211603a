//! CSV files that grow by a line at a time: `steps.csv`, and `metrics.csv` of either kind of training.
//!
//! The crate `csv` reads them. They are written by `format!`, which shows a whole line with the decimals of each of
//! its columns; as serde attributes the same takes a function for every number format and an attribute for every
//! field.

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use std::{fs, io::ErrorKind, path::Path};

/// The lines of the file at `path`, column by column as the fields of `T`; none if there is no such file. The header
/// is passed over, and so is any line that is no `T`: one that a killed process left half-written, or with a number
/// that is not finite.
///
/// # Errors
/// If the file is there and cannot be read.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    // By position and without quotes: a damaged header or a stray quotation mark costs no line but its own.
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).quoting(false).from_reader(&bytes[..]);
    let records = reader.records().filter_map(Result::ok);
    let finite = |field: &str| field.parse::<f64>().is_ok_and(f64::is_finite);
    Ok(records
        .filter(|record| record.iter().all(finite))
        .filter_map(|record| record.deserialize(None).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Line {
        step: usize,
        loss: f64,
    }

    #[test]
    fn a_damaged_line_costs_no_other() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("lines.csv");
        assert_eq!(read::<Line>(&path)?, []);
        fs::write(&path, b"step,lo\n1,0.5\n2,\"0.5\n3,NaN\n4\n\xff,1\n-5,1\n\n6,1e-3\n7,0.25")?;
        let expected = [(1, 0.5), (6, 1e-3), (7, 0.25)].map(|(step, loss)| Line { step, loss });
        assert_eq!(read::<Line>(&path)?, expected);
        Ok(())
    }
}
