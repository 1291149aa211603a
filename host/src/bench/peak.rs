//! The machine's matrix peak, as far as the tensor library reaches it.

use crate::device::precision::Precision;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use common::mask::{generator, uniform};
use std::time::Instant;

/// Sides of the square products.
const SIDES: [usize; 3] = [1024, 1536, 2048];
/// Products of each side, after one to warm up.
const ROUNDS: usize = 4;

/// The best speed of a large square product of f32 or bf16 factors on `device`, GFLOP/s.
///
/// # Errors
/// If the device fails.
pub fn matrix_peak(device: &Device, precision: Precision) -> anyhow::Result<f64> {
    let device = device.clone().without_autodiff();
    let rng = &mut generator(0, 0);
    let mut best = 0.0_f64;
    for side in SIDES {
        let mut draw = || {
            let values: Vec<f32> = (0..side * side).map(|_| uniform(rng) - 0.5).collect();
            let factor = Tensor::<2>::from_data(TensorData::new(values, [side, side]), &device);
            match precision {
                Precision::Fp32 => factor,
                Precision::Bf16 => factor.cast(FloatDType::BF16),
            }
        };
        let (a, b) = (draw(), draw());
        for round in 0..=ROUNDS {
            let begun = Instant::now();
            let product = a.clone().matmul(b.clone());
            super::step::sync(&device)?;
            let seconds = begun.elapsed().as_secs_f64();
            drop(product);
            if round > 0 {
                best = best.max(2.0 * (side as f64).powi(3) / seconds / 1e9);
            }
        }
    }
    Ok(best)
}
