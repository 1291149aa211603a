//! What a sweep refuses.

use crate::run::folder::TAKE_ANOTHER;
use std::path::PathBuf;

/// Why a sweep cannot be done as it is asked for. The command line names its options instead.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A value stands there more than once.
    #[error("{0} stands twice among the values")]
    Twice(String),
    /// A value is impossible.
    #[error("the value {value}: {reason}")]
    Value {
        value: String,
        /// Why.
        reason: String,
    },
    /// The experiment is judged by fine-tuning alone.
    #[error("partial is about fine-tuning: it cannot be judged otherwise")]
    OnlyFinetune,
    /// Another process has the folder of the results.
    #[error("another process sweeps in {}: wait for its end, or {TAKE_ANOTHER}", .0.display())]
    Busy(PathBuf),
    /// The folder of a run holds one with other options.
    #[error("{} was trained with other options ({difference}): {TAKE_ANOTHER}, or remove it", path.display())]
    Different {
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A file to join is something else.
    #[error("{} is no results.csv of `host ablate`", .0.display())]
    NoResults(PathBuf),
}
