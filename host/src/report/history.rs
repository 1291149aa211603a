//! `steps.csv`: loss and learning rate along a training, finer than the epochs of `metrics.csv`.

use crate::{files, lines};
use anyhow::Context as _;
use serde::Deserialize;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

const FILE: &str = "steps.csv";
const HEADER: &str = "step,epoch,loss,lr,images_per_second,seconds";
/// What a training with a joint term adds to it.
const PARTS_HEADER: &str = ",reconstruction,joint";

/// A line of `steps.csv`; the fields are its columns.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Point {
    /// Optimizer steps done.
    pub step: usize,
    /// Epochs done, with their fraction.
    pub epoch: f64,
    /// Mean loss since the line before.
    pub loss: f64,
    /// Learning rate of the next step.
    pub lr: f64,
    /// Images a second of late.
    pub images_per_second: f64,
    /// Time trained, interruptions left out, seconds.
    pub seconds: f64,
    /// What only a training with a joint term has: means of the parts of the loss since the line before.
    #[serde(default)]
    pub reconstruction: Option<f64>,
    /// The joint term.
    #[serde(default)]
    pub joint: Option<f64>,
}

impl Point {
    fn line(&self) -> String {
        let Self { step, epoch, loss, lr, images_per_second, seconds, reconstruction, joint } = self;
        let parts = [reconstruction, joint].into_iter().flatten().map(|part| format!(",{part:.6}"));
        let parts: String = parts.collect();
        format!("{step},{epoch:.4},{loss:.6},{lr:.6e},{images_per_second:.1},{seconds:.1}{parts}\n")
    }
}

/// The points of the run in the folder `run`; none if it has no `steps.csv`. Damaged lines are left out.
///
/// # Errors
/// If the file cannot be read.
pub fn read(run: &Path) -> anyhow::Result<Vec<Point>> {
    lines::read(&run.join(FILE))
}

/// A line of `metrics.csv`; the fields are its columns.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Epoch {
    /// Whole epochs done.
    pub epoch: usize,
    /// Optimizer steps done.
    pub step: usize,
    /// Mean loss of the epoch.
    pub loss: f64,
    /// Learning rate at its end.
    pub lr: f64,
    /// Images a second over the epoch.
    pub images_per_second: f64,
    /// What only a training with a joint term has.
    #[serde(default)]
    pub reconstruction: Option<f64>,
    /// Mean of the joint term.
    #[serde(default)]
    pub joint: Option<f64>,
    /// Deviation of the features at its end ([`Spread::std`](crate::objective::joint::spread::Spread)).
    #[serde(default)]
    pub feature_std: Option<f64>,
    /// Directions in which they spread then.
    #[serde(default)]
    pub feature_rank: Option<f64>,
}

/// The lines of `metrics.csv` in the folder `run`; none if there is none. Damaged lines are left out.
///
/// # Errors
/// If the file cannot be read.
pub fn read_epochs(run: &Path) -> anyhow::Result<Vec<Epoch>> {
    lines::read(&run.join("metrics.csv"))
}

/// `steps.csv` of a training under way.
#[derive(Debug)]
pub struct StepsFile {
    path: PathBuf,
}

impl StepsFile {
    /// Opens the file of the run in the folder `run` and drops what it says about steps after `step`, which are done
    /// again. `joint`: the loss has parts. Returns with it the seconds trained up to there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(run: &Path, step: usize, joint: bool) -> anyhow::Result<(Self, f64)> {
        let path = run.join(FILE);
        let points: Vec<Point> = read(run)?.into_iter().filter(|point| point.step <= step).collect();
        let lines: String = points.iter().map(Point::line).collect();
        let parts = if joint { PARTS_HEADER } else { "" };
        let written = files::write_file(&path, format!("{HEADER}{parts}\n{lines}").as_bytes());
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok((Self { path }, points.last().map_or(0.0, |point| point.seconds)))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn push(&self, point: &Point) -> anyhow::Result<()> {
        let file = fs::File::options().append(true).create(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(point.line().as_bytes()));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(step: usize, parts: Option<[f64; 2]>) -> Point {
        Point {
            step,
            epoch: step as f64 / 8.0,
            loss: 0.5,
            lr: 1e-3,
            images_per_second: 100.0,
            seconds: step as f64,
            reconstruction: parts.map(|parts| parts[0]),
            joint: parts.map(|parts| parts[1]),
        }
    }

    #[test]
    fn a_resumed_run_forgets_what_it_does_again_and_a_torn_line() -> anyhow::Result<()> {
        for (parts, header) in [(None, HEADER.to_owned()), (Some([0.25, 3.5]), format!("{HEADER}{PARTS_HEADER}"))] {
            let root = tempfile::tempdir()?;
            let (file, seconds) = StepsFile::start(root.path(), 0, parts.is_some())?;
            assert_eq!(seconds, 0.0);
            for step in [2, 4, 6] {
                file.push(&point(step, parts))?;
            }
            fs::write(&file.path, fs::read_to_string(&file.path)? + "8,1.0")?;
            let (_, seconds) = StepsFile::start(root.path(), 4, parts.is_some())?;
            assert_eq!(seconds, 4.0);
            assert_eq!(read(root.path())?, [point(2, parts), point(4, parts)]);
            let text = fs::read_to_string(root.path().join(FILE))?;
            let columns = text.lines().map(|line| line.split(',').count());
            assert!(text.starts_with(&header) && columns.eq([header.split(',').count(); 3]), "{text}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let root = tempfile::tempdir()?;
            fs::write(root.path().join(FILE), &bytes)?;
            fs::write(root.path().join("metrics.csv"), &bytes)?;
            prop_assert!(read(root.path()).is_ok() && read_epochs(root.path()).is_ok());
        }
    }
}
