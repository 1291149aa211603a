//! GELU and its derivative on the device, point by point, against f64.

use super::{Check, Setup, files::device, files::values, largest_difference, tolerance};
use crate::model::ops::{self, Ops};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `x Phi(x)` and its derivative `Phi(x) + x phi(x)`, with the normal distribution's `Phi` and `phi`, in f64.
#[must_use]
pub fn reference(x: f64) -> (f64, f64) {
    let cdf = 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
    let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    (x * cdf, cdf + x * density)
}

/// Points from -8 to 8, a thousand a unit.
fn points() -> Vec<f32> {
    (-8000..=8000).map(|i| i as f32 / 1000.0).collect()
}

/// The plain operation on the device, and the fused one of the CPU where it is in use.
///
/// # Errors
/// If the device fails.
pub fn check(setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let points = points();
    let (value, slope): (Vec<f32>, Vec<f32>) = points.iter().map(|x| reference(f64::from(*x))).map(narrow).unzip();
    let (found_value, found_slope) = on_device(&points, &device(setup, true))?;
    let mut checks = vec![
        Check::new("GELU", largest_difference(&found_value, &value)?, tolerance::GELU),
        Check::new("GELU's derivative", largest_difference(&found_slope, &slope)?, tolerance::GELU),
    ];
    if setup.ops == Ops::Fused && !setup.cuda {
        let (mut out, mut grad) = (vec![0.0; points.len()], vec![1.0; points.len()]);
        kernels::gelu::backward(kernels::Arch::new(), &points, &mut grad, &mut out);
        checks.push(Check::new("GELU, fused", largest_difference(&out, &value)?, tolerance::GELU));
        checks.push(Check::new("GELU's derivative, fused", largest_difference(&grad, &slope)?, tolerance::GELU));
    }
    Ok(checks)
}

fn narrow((value, slope): (f64, f64)) -> (f32, f32) {
    (value as f32, slope as f32)
}

/// Value and derivative in f32 at each point, on a device with gradients.
///
/// # Errors
/// If the device fails.
pub fn on_device(points: &[f32], device: &Device) -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
    let x = Tensor::<1>::from_floats(points, device).require_grad();
    let y = ops::gelu(x.clone());
    let gradients = y.clone().sum().backward();
    let slope = x.grad(&gradients).context("GELU gives no gradient")?;
    Ok((values(y.inner())?, values(slope)?))
}
