//! How far a device may differ from the official numbers, and why.

/// Equal, bit for bit.
pub const EQUAL: f64 = 0.0;

/// One step of f32 below 1: both tables are computed in f64 and rounded once, but by other libraries' sine and
/// cosine.
pub const POSITIONS: f64 = 6e-8;

/// Of the peak: both are f64, and only the order of a few operations and the library's cosine differ.
pub const SCHEDULE: f64 = 1e-12;

/// The target's normalisation has no matrix product, so that it is f32 everywhere.
pub const TARGET: f64 = 1e-5;

/// GELU has no matrix product; f32 rounding at magnitudes up to 8 is 5e-7, and a GPU's `erf` and `exp` may be off by
/// a few such steps. The derivative of the tanh form would differ by 5e-4 or more.
pub const GELU: f64 = 5e-6;

/// How exact the matrix products of a device are. All else is f32 in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Products of f32 in f32: the CPU.
    Fp32,
    /// Products of f32 on tensor cores, which round the factors to TF32 (11 significant bits): burn picks such
    /// kernels by timing, product by product, on NVIDIA GPUs from Ampere on, and has no switch for it.
    Tf32,
    /// Products of bf16 (8 significant bits), results rounded to bf16, too.
    Bf16,
}

/// Bounds for what passes through matrix products.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Of latent, prediction and features, whose magnitudes are about 1.
    pub forward: f64,
    /// Of a loss, whose magnitude is about 1.
    pub loss: f64,
    /// Of a gradient, as a share of the parameter's largest.
    pub gradients: f64,
    /// Of the losses of five steps.
    pub step_losses: f64,
    /// Of a parameter after five steps, as a share of its largest. Nothing where products are rounded: where a
    /// gradient is as small as its rounding, Adam's step has full length and either sign.
    pub parameters: Option<f64>,
    /// Of all parameters after five steps: the length of the difference as a share of the length of the way.
    pub way: f64,
}

impl Arithmetic {
    /// Bounds of what passes through matrix products.
    #[must_use]
    pub fn tolerance(self) -> Tolerance {
        match self {
            Self::Fp32 => Tolerance {
                forward: 1e-5,
                loss: 1e-5,
                gradients: 1e-4,
                step_losses: 1e-5,
                parameters: Some(1e-4),
                // With the elements whose gradient is as small as its rounding, whose steps may have either sign.
                way: 1e-3,
            },
            // An eighth of the bounds of bf16: three more bits in each factor, and sums that are not rounded.
            Self::Tf32 => Tolerance {
                forward: 7.5e-3,
                loss: 2.5e-4,
                gradients: 4e-3,
                step_losses: 4e-4,
                parameters: None,
                way: 1.25e-2,
            },
            // Rounding to 8 bits is off by up to 0.2 %, at both factors and the result of a dozen products in a row.
            // Three to five times what is seen on the CPU, because other devices sum in another order.
            Self::Bf16 => Tolerance {
                forward: 6e-2,
                loss: 2e-3,
                gradients: 3e-2,
                step_losses: 3e-3,
                parameters: None,
                way: 1e-1,
            },
        }
    }
}
