//! When a training saves, and how much of it is kept.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[checkpoints]` of `run.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointPolicy {
    /// Longest time between two checkpoints, seconds.
    pub seconds: u64,
    /// Most optimizer steps between two checkpoints, whatever the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Newest checkpoints that are kept.
    pub keep: usize,
}

/// Why a policy is impossible. Fields have their names in `run.toml`; the command line tells its own instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It would save without end.
    #[error("checkpoints.seconds and checkpoints.steps must be at least 1")]
    Endless,
    /// It would keep nothing.
    #[error("checkpoints.keep must be at least 1")]
    KeepsNothing,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self { seconds: 300, steps: None, keep: 2 }
    }
}

impl CheckpointPolicy {
    /// Whether to save in the middle of an epoch, after so much time and so many steps without a checkpoint.
    #[must_use]
    pub fn due(&self, since: Duration, steps: usize) -> bool {
        since >= Duration::from_secs(self.seconds) || self.steps.is_some_and(|most| steps >= most)
    }

    /// Whether to save at the end of an epoch, which is a good place: a short epoch is not worth a checkpoint.
    #[must_use]
    pub fn due_after_epoch(&self, since: Duration, steps: usize) -> bool {
        self.due(since * 10, steps)
    }

    /// Refuses a policy that keeps nothing or saves without end.
    ///
    /// # Errors
    /// Says which of both it is.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.seconds == 0 || self.steps == Some(0) {
            return Err(PolicyError::Endless);
        }
        if self.keep == 0 {
            return Err(PolicyError::KeepsNothing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_or_steps_make_a_checkpoint_due() {
        let second = Duration::from_secs(1);
        let policy = CheckpointPolicy { seconds: 60, steps: Some(5), keep: 1 };
        assert!(!policy.due(59 * second, 4) && policy.due(60 * second, 0) && policy.due(second, 5));
        assert!(!policy.due_after_epoch(5 * second, 4) && policy.due_after_epoch(6 * second, 0));
        assert!(!CheckpointPolicy::default().due(299 * second, usize::MAX));
        for policy in [CheckpointPolicy { keep: 0, ..policy }, CheckpointPolicy { steps: Some(0), ..policy }] {
            assert!(policy.check().is_err());
        }
    }
}
