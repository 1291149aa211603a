//! Random numbers of other distributions than the uniform, from the portable generator.

use common::mask::uniform;
use rand_chacha::ChaCha8Rng;

/// Uniform between `low` and `high`.
pub fn between(low: f64, high: f64, rng: &mut ChaCha8Rng) -> f64 {
    low + (high - low) * f64::from(uniform(rng))
}

/// A whole number below `end`; 0 if `end` is.
pub fn below(end: usize, rng: &mut ChaCha8Rng) -> usize {
    ((f64::from(uniform(rng)) * end as f64) as usize).min(end.saturating_sub(1))
}

/// True with this probability.
pub fn chance(probability: f64, rng: &mut ChaCha8Rng) -> bool {
    f64::from(uniform(rng)) < probability
}

/// Standard normal (Box-Muller).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v) = (f64::from(uniform(rng)), f64::from(uniform(rng)));
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Gamma with shape `a` and scale 1 (Marsaglia and Tsang 2000).
fn gamma(a: f64, rng: &mut ChaCha8Rng) -> f64 {
    if a < 1.0 {
        let u = 1.0 - f64::from(uniform(rng));
        return gamma(a + 1.0, rng) * u.powf(1.0 / a);
    }
    let d = a - 1.0 / 3.0;
    let c = (9.0 * d).sqrt().recip();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - f64::from(uniform(rng));
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Beta with both shapes `a`, in 0..=1.
pub fn beta(a: f64, rng: &mut ChaCha8Rng) -> f64 {
    let (x, y) = (gamma(a, rng), gamma(a, rng));
    // Both vanish only for tiny shapes, whose numbers lie at the ends.
    if x + y > 0.0 { x / (x + y) } else { f64::from(chance(0.5, rng)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::generator;

    /// Mean and variance of many draws.
    fn moments(mut draw: impl FnMut(&mut ChaCha8Rng) -> f64) -> (f64, f64) {
        let rng = &mut generator(5, 5);
        let values: Vec<f64> = (0..40_000).map(|_| draw(rng)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let (mean, variance) = moments(normal);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        for a in [0.2, 0.8, 1.0, 3.0] {
            // Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2a + 1)).
            let (mean, variance) = moments(|rng| beta(a, rng));
            let expected = 0.25 / (2.0 * a + 1.0);
            assert!((mean - 0.5).abs() < 0.01 && (variance - expected).abs() < 0.005, "{a}: {mean} {variance}");
        }
        let (mean, _) = moments(|rng| below(5, rng) as f64);
        assert!((mean - 2.0).abs() < 0.03, "{mean}");
    }
}
