//! The learning rate: linear warm-up, then half a cosine (MAE appendix A.1), set at every iteration.

use crate::{preset::TrainConfig, run::recipe::Recipe};

/// Learning rate as a function of the fractional epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Peak, reached after the warm-up.
    pub lr: f64,
    /// Floor, reached at the end.
    pub min_lr: f64,
    /// Length of the warm-up, epochs.
    pub warmup_epochs: f64,
    /// Length of the whole training, epochs.
    pub epochs: f64,
}

impl Schedule {
    /// The schedule of a pre-training.
    #[must_use]
    pub fn of(train: &TrainConfig) -> Self {
        Self {
            lr: Self::scaled_lr(train.blr, train.images_a_step()),
            min_lr: train.min_lr,
            warmup_epochs: train.warmup_epochs,
            epochs: train.epochs as f64,
        }
    }

    /// The schedule of a fine-tuning.
    #[must_use]
    pub fn of_finetuning(recipe: &Recipe) -> Self {
        Self {
            lr: Self::scaled_lr(recipe.blr, recipe.batch_size),
            min_lr: recipe.min_lr,
            warmup_epochs: recipe.warmup_epochs,
            epochs: recipe.epochs as f64,
        }
    }

    /// The peak by the linear scaling rule: `blr * batch_size / 256` (Goyal et al. 2017).
    #[must_use]
    pub fn scaled_lr(blr: f64, batch_size: usize) -> f64 {
        blr * batch_size as f64 / 256.0
    }

    /// The learning rate at `epoch` (iteration / iterations an epoch).
    #[must_use]
    pub fn at(&self, epoch: f64) -> f64 {
        if epoch < self.warmup_epochs {
            return self.lr * epoch / self.warmup_epochs;
        }
        let length = (self.epochs - self.warmup_epochs).max(f64::MIN_POSITIVE);
        let progress = ((epoch - self.warmup_epochs) / length).min(1.0);
        self.min_lr + (self.lr - self.min_lr) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_official_schedule() {
        #[derive(serde::Deserialize)]
        struct Case {
            lr: f64,
            min_lr: f64,
            warmup_epochs: f64,
            epochs: f64,
            points: Vec<(f64, f64)>,
        }
        let text = include_str!("../../../tests/parity/mae-32/lr_schedule.json");
        let cases: Vec<Case> = serde_json::from_str(text).expect("parity file");
        assert!(cases.iter().all(|case| case.points.len() > 5));
        for Case { lr, min_lr, warmup_epochs, epochs, points } in cases {
            let schedule = Schedule { lr, min_lr, warmup_epochs, epochs };
            for (epoch, expected) in points {
                let found = schedule.at(epoch);
                assert!((found - expected).abs() <= 1e-12 * lr.max(1e-3) + 1e-9 * expected, "{epoch}: {found}");
            }
        }
    }
}
