//! LARS (You et al. 2017, arXiv 1708.03888), the optimizer of the paper's linear probe (appendix A.1, table 10).

/// Settings of LARS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LarsConfig {
    /// Decay of the velocity.
    pub momentum: f32,
    /// L2 penalty, added to the gradient of matrices.
    pub weight_decay: f32,
    /// A matrix moves by this share of its own length a step, times the learning rate.
    pub trust: f32,
}

impl Default for LarsConfig {
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 0.0, trust: 0.001 }
    }
}

/// LARS for one parameter.
#[derive(Debug, Clone)]
pub struct Lars {
    config: LarsConfig,
    adaptive: bool,
    velocity: Vec<f32>,
}

impl Lars {
    /// For a matrix of `len` values: with weight decay and trust ratio.
    #[must_use]
    pub fn matrix(config: LarsConfig, len: usize) -> Self {
        Self { config, adaptive: true, velocity: vec![0.0; len] }
    }

    /// For a vector of `len` values (a bias): plain SGD with momentum.
    #[must_use]
    pub fn vector(config: LarsConfig, len: usize) -> Self {
        Self { config, adaptive: false, velocity: vec![0.0; len] }
    }

    /// One step: `g <- gradient + decay * p`, scaled by `trust * |p| / |g|`; `v <- momentum * v + g`; `p <- p - lr *
    /// v`.
    pub fn step(&mut self, parameter: &mut [f32], gradient: &[f32], lr: f32) {
        let LarsConfig { momentum, weight_decay, trust } = self.config;
        let decay = if self.adaptive { weight_decay } else { 0.0 };
        let mut scale = 1.0;
        if self.adaptive {
            let size = norm(parameter.iter().copied());
            let change = norm(gradient.iter().zip(&*parameter).map(|(g, p)| g + decay * p));
            // Neither a parameter nor a gradient of length 0 has a direction to be scaled.
            if size > 0.0 && change > 0.0 {
                scale = (f64::from(trust) * size / change) as f32;
            }
        }
        for ((p, g), v) in parameter.iter_mut().zip(gradient).zip(&mut self.velocity) {
            *v = momentum * *v + scale * (g + decay * *p);
            *p -= lr * *v;
        }
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::safetensors;
    use std::path::Path;

    #[test]
    fn four_steps_equal_the_official_ones() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32/lars_lr0.3_wd0.01.safetensors");
        let (tensors, _) = safetensors::read(Path::new(path)).expect("parity file");
        let data = |name: String| tensors[&name].data.clone();
        let config = LarsConfig { weight_decay: 0.01, ..LarsConfig::default() };
        let (mut weight, mut bias) = (data("w0".into()), data("b0".into()));
        let mut lars = (Lars::matrix(config, weight.len()), Lars::vector(config, bias.len()));
        let bound = |expected: &[f32]| 2.0 * f32::EPSILON * expected.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        for step in 0..4 {
            lars.0.step(&mut weight, &data(format!("grad_w{step}")), 0.3);
            lars.1.step(&mut bias, &data(format!("grad_b{step}")), 0.3);
            for (found, name) in [(&weight, "w"), (&bias, "b")] {
                let expected = data(format!("{name}{}", step + 1));
                let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Two units in the last place of the largest value.
                assert!(worst <= bound(&expected), "{name}{}: {worst}", step + 1);
                // The test can tell steps apart.
                let before = data(format!("{name}{step}"));
                let moved = before.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(moved > 10.0 * bound(&expected), "{name}{step} hardly moved: {moved}");
            }
        }
    }

    #[test]
    fn what_has_no_length_is_not_scaled() {
        let mut lars = Lars::matrix(LarsConfig::default(), 2);
        let mut zero = [0.0, 0.0];
        lars.step(&mut zero, &[1.0, -1.0], 0.5);
        assert_eq!(zero, [-0.5, 0.5]);
        let mut still = [1.0, 2.0];
        Lars::matrix(LarsConfig::default(), 2).step(&mut still, &[0.0, 0.0], 0.5);
        assert_eq!(still, [1.0, 2.0]);
    }
}
