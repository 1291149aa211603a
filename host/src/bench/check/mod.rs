//! Whether this program computes, on a given device, what the official implementation computes.
//!
//! The numbers to compare with are a folder of parity files (`tests/parity/mae-32`): inputs, outputs, gradients and
//! optimizer steps of the official implementation on a small model. What is compared and how far a device may differ
//! is in `docs/fidelity.md`; the bounds and their reasons are in [`tolerance`].
//!
//! A further check is a function that returns [`Check`]s, and a line in [`run`].

pub mod files;
pub mod fixed;
pub mod forward;
pub mod gelu;
pub mod gradients;
pub mod steps;
pub mod tolerance;

pub use files::Parity;
pub use tolerance::{Arithmetic, Tolerance};

use crate::model::ops::Ops;
use anyhow::ensure;
use burn::tensor::Device;
use std::path::PathBuf;

/// One quantity, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What is compared, and with `(relative)` where the difference is a share.
    pub name: String,
    /// The largest difference; infinite where a number is not finite.
    pub difference: f64,
    /// The largest that passes.
    pub tolerance: f64,
    /// Of several tensors, the one that differs most.
    pub at: Option<String>,
}

impl Check {
    /// A comparison of `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, difference: f64, tolerance: f64) -> Self {
        Self { name: name.into(), difference, tolerance, at: None }
    }

    /// A comparison of many tensors: the one that differs most counts.
    #[must_use]
    pub fn worst(name: impl Into<String>, worst: Worst, tolerance: f64) -> Self {
        Self { at: worst.at, ..Self::new(name, worst.difference, tolerance) }
    }

    /// Whether the difference is within the tolerance; not a number never is.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// The largest of many differences, and where it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Worst {
    difference: f64,
    at: Option<String>,
}

impl Worst {
    /// Takes up the difference of one more tensor.
    pub fn add(&mut self, name: &str, difference: f64) {
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        if difference > self.difference || self.at.is_none() {
            (self.difference, self.at) = (difference.max(self.difference), Some(name.to_owned()));
        }
    }
}

/// What to check.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The parity files.
    pub folder: PathBuf,
    /// Where to compute.
    pub device: Device,
    /// Whether that is a CUDA device.
    pub cuda: bool,
    /// Which operations.
    pub ops: Ops,
}

impl Setup {
    /// How exact the products of training are, which decides the bounds.
    #[must_use]
    pub fn arithmetic(&self) -> Arithmetic {
        if matches!(self.ops, Ops::Bf16 | Ops::FusedBf16) { Arithmetic::Bf16 } else { self.arithmetic_of_f32() }
    }

    /// How exact products are outside of training, where all is f32.
    #[must_use]
    pub fn arithmetic_of_f32(&self) -> Arithmetic {
        if self.cuda { Arithmetic::Tf32 } else { Arithmetic::Fp32 }
    }
}

/// Checks everything. `stage` is told what comes next.
///
/// # Errors
/// If a file is missing or damaged, or the device fails; a difference that is too large is no error.
pub fn run(setup: &Setup, stage: &dyn Fn(&str)) -> anyhow::Result<Vec<Check>> {
    stage("reading the parity files");
    let parity = Parity::open(&setup.folder)?;
    let mut checks = Vec::new();
    stage("tables, schedule and masks");
    checks.extend(fixed::position_tables(&parity)?);
    checks.extend(fixed::schedule(&parity)?);
    checks.extend(fixed::masks(&parity)?);
    checks.extend(fixed::round_trip(&parity, setup)?);
    stage("GELU");
    checks.extend(gelu::check(setup)?);
    stage("forward");
    checks.extend(forward::check(&parity, setup)?);
    stage("encoding every patch");
    checks.extend(forward::every_patch(&parity, setup)?);
    stage("gradients");
    checks.extend(gradients::check(&parity, setup)?);
    stage("five steps of AdamW");
    checks.extend(steps::check(&parity, setup)?);
    Ok(checks)
}

/// The largest difference between two rows of numbers; infinite where one is not finite.
///
/// # Errors
/// If their lengths differ.
pub fn largest_difference(found: &[f32], expected: &[f32]) -> anyhow::Result<f64> {
    ensure!(found.len() == expected.len(), "{} values where {} are expected", found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // `f64::max` would pass over what is not a number.
    Ok(differences.fold(0.0, |largest, d| if d.is_finite() { d.max(largest) } else { f64::INFINITY }))
}

/// As [`largest_difference`], as a share of the largest expected magnitude.
///
/// # Errors
/// If their lengths differ.
pub fn relative_difference(found: &[f32], expected: &[f32]) -> anyhow::Result<f64> {
    let scale = expected.iter().fold(0.0_f64, |largest, value| f64::from(value.abs()).max(largest));
    Ok(largest_difference(found, expected)? / scale.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_never_passes() {
        for bad in [f32::NAN, f32::INFINITY] {
            let difference = largest_difference(&[1.0, bad, 1.0], &[1.0, 1.0, 1.0]).expect("equal lengths");
            assert!(!Check::new("x", difference, 1e9).passed());
        }
        assert!(!Check::new("x", f64::NAN, 1.0).passed());
        assert!(Check::new("x", 1e-5, 1e-5).passed());
        assert!(largest_difference(&[1.0], &[1.0, 2.0]).is_err());
        assert_eq!(relative_difference(&[1.0, -3.0], &[1.0, -4.0]).expect("equal lengths"), 0.25);
    }
}
