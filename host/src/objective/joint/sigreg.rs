//! SIGReg (Balestriero and LeCun 2025, "LeJEPA", arXiv 2511.08544): what keeps features from collapsing is that their
//! distribution is drawn to a standard Gaussian. Along random directions the empirical characteristic function is
//! compared with a Gaussian's (the test of Epps and Pulley, 1983).

use burn::tensor::{Tensor, TensorData};
use common::mask::uniform;
use rand_chacha::ChaCha8Rng;

/// Points at which characteristic functions are compared, beside 0, where they agree; evenly spaced up to [`LAST`].
const POINTS: usize = 16;
/// The last of them.
const LAST: f64 = 3.0;

/// Random directions, unit vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Slices {
    /// `[K, M]`.
    values: Vec<f32>,
    width: usize,
}

impl Slices {
    /// `count` directions (`M`) in a space of `width` dimensions (`K`), evenly distributed over the sphere.
    #[must_use]
    pub fn draw(width: usize, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut normal = || {
            let (u, v) = (1.0 - f64::from(uniform(rng)), f64::from(uniform(rng)));
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        let mut values = vec![0.0; width * count];
        for slice in 0..count {
            let direction: Vec<f64> = (0..width).map(|_| normal()).collect();
            let norm = direction.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            for (row, value) in direction.into_iter().enumerate() {
                values[row * count + slice] = (value / norm) as f32;
            }
        }
        Self { values, width }
    }

    /// These directions, `[K, M]`, in a space of `width` dimensions (`K`).
    #[must_use]
    pub fn new(values: Vec<f32>, width: usize) -> Self {
        Self { values, width }
    }

    /// `[K, M]`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// `(1 - share)` times the mean squared distance of views from their image's mean, plus `share` times the statistic
/// of their distribution, `[1]`. `z`: `[views, B, K]`. The statistic is `B` times the integral over `|t| <= 3` of the
/// squared distance between the characteristic functions, weighed by the Gaussian's, by the trapezoidal rule, and the
/// mean over directions and views.
pub fn sigreg(z: Tensor<3>, slices: &Slices, share: f64) -> Tensor<1> {
    let [views, batch, width] = z.dims();
    let distance = (z.clone().mean_dim(0) - z.clone()).powi_scalar(2).mean();
    let count = slices.values.len() / slices.width.max(1);
    let directions = TensorData::new(slices.values.clone(), [slices.width, count]);
    let directions = Tensor::<2>::from_data(directions, &z.device());
    let step = LAST / POINTS as f64;
    let angle = z.reshape([views * batch, width]).matmul(directions).mul_scalar(step);
    // cos(j a) and sin(j a) by the recurrence of Chebyshev's polynomials: one pair of transcendental functions
    // instead of sixteen.
    let (cos, sin) = (angle.clone().cos(), angle.sin());
    let twice = cos.clone().mul_scalar(2.0);
    let (mut before, mut now) = ((cos.ones_like(), sin.zeros_like()), (cos, sin));
    let mut sum: Option<Tensor<3>> = None;
    for point in 1..=POINTS {
        let t = point as f64 * step;
        let gaussian = (-t * t / 2.0).exp();
        // Both signs of t, of which the ends count half.
        let weight = gaussian * step * if point == POINTS { 1.0 } else { 2.0 };
        let mean = |part: &Tensor<2>| part.clone().reshape([views, batch, count]).mean_dim(1);
        let error = mean(&now.0).sub_scalar(gaussian).powi_scalar(2) + mean(&now.1).powi_scalar(2);
        let error = error.mul_scalar(weight);
        sum = Some(match sum {
            Some(sum) => sum + error,
            None => error,
        });
        let next = (twice.clone() * now.0.clone() - before.0, twice.clone() * now.1.clone() - before.1);
        (before, now) = (now, next);
    }
    let distance = distance.mul_scalar(1.0 - share);
    match sum {
        Some(sum) => distance + sum.mean().mul_scalar(share * batch as f64),
        None => distance,
    }
}
