//! The options of trainings about checkpoints, which may be changed when one is continued.

use crate::run::policy::{CheckpointPolicy, PolicyError};

/// When to save, and what to keep.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct SavingArgs {
    /// Save a checkpoint at least every so many seconds [default: 300].
    #[arg(long, value_name = "N")]
    checkpoint_seconds: Option<u64>,
    /// Save a checkpoint also every so many optimizer steps [default: by time alone].
    #[arg(long, value_name = "N")]
    checkpoint_steps: Option<usize>,
    /// How many checkpoints are kept, the newest [default: 2].
    #[arg(long, value_name = "K")]
    keep_checkpoints: Option<usize>,
}

impl SavingArgs {
    /// `policy` with what was given.
    ///
    /// # Errors
    /// If it would keep nothing or save without end.
    pub fn apply(&self, policy: CheckpointPolicy) -> Result<CheckpointPolicy, PolicyError> {
        let policy = CheckpointPolicy {
            seconds: self.checkpoint_seconds.unwrap_or(policy.seconds),
            steps: self.checkpoint_steps.or(policy.steps),
            keep: self.keep_checkpoints.unwrap_or(policy.keep),
        };
        policy.check()?;
        Ok(policy)
    }
}
