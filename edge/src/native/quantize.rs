//! Symmetric 8-bit quantisation of weights, one scale an output channel.

use alloc::{vec, vec::Vec};

/// A matrix in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// `[N, K]`, -127..=127.
    pub values: Vec<i8>,
    /// `[N]`; value times scale is the weight.
    pub scales: Vec<f32>,
}

/// Correlation of neighbouring pixels, and of a pixel's colours, that [`quantize_patches`] assumes.
const CORRELATION: f32 = 0.9;

/// The largest magnitude of a row becomes 127; a row of zeros has the scale 1.
fn scale(row: &[f32]) -> f32 {
    match row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) {
        0.0 => 1.0,
        // The smallest normal number, below which the quotient would lose its precision.
        largest => (largest / 127.0).max(f32::MIN_POSITIVE),
    }
}

/// Ties to even.
fn round(value: f32) -> i8 {
    libm::rintf(value).clamp(-127.0, 127.0) as i8
}

/// Quantises `matrix` (`[N, K]`), rounding to nearest, ties to even.
#[must_use]
pub fn quantize_rows(matrix: &[f32], k: usize) -> Quantized {
    let (mut values, mut scales) = (Vec::with_capacity(matrix.len()), Vec::new());
    for row in matrix.chunks_exact(k.max(1)) {
        let scale = scale(row);
        values.extend(row.iter().map(|value| round(value / scale)));
        scales.push(scale);
    }
    Quantized { values, scales }
}

/// Quantises the patch projection, `[D, p * p * C]` with channels fastest, for raw pixels.
///
/// Each rounding error is passed on to the weights of the pixels on the right and below and of the next colour, so
/// that errors cancel where pixels are alike, as in images they are. That is optimal rounding with feedback (GPTQ,
/// Frantar et al. 2022) for pixels that are a first-order autoregression in row, column and colour, whose inverse
/// covariance has a Cholesky factor with only these neighbours. An alpha channel takes no part in it.
#[must_use]
pub fn quantize_patches(matrix: &[f32], patch_size: usize, channels: usize) -> Quantized {
    let (p, c) = (patch_size, channels);
    let colours = c - usize::from(c.is_multiple_of(2));
    let (mut values, mut scales) = (Vec::with_capacity(matrix.len()), Vec::new());
    let mut weights = vec![0.0; p * p * c];
    for row in matrix.chunks_exact((p * p * c).max(1)) {
        let scale = scale(row);
        weights.copy_from_slice(row);
        for i in 0..weights.len() {
            let (y, x, channel) = (i / (p * c), i / c % p, i % c);
            let value = round(weights[i] / scale);
            let error = weights[i] - f32::from(value) * scale;
            values.push(value);
            for neighbour in 1..8 {
                let (dy, dx, dc) = (neighbour >> 2, neighbour >> 1 & 1, neighbour & 1);
                if y + dy < p && x + dx < p && (dc == 0 || channel + 1 < colours) {
                    let factor = (0..dy + dx + dc).fold(-1.0, |factor, _| factor * -CORRELATION);
                    weights[i + (dy * p + dx) * c + dc] += error * factor;
                }
            }
        }
        scales.push(scale);
    }
    Quantized { values, scales }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn errors_stay_below_half_a_step(values in proptest::collection::vec(-10.0_f32..10.0, 12)) {
            let quantized = quantize_rows(&values, 4);
            for (i, value) in values.iter().enumerate() {
                let scale = quantized.scales[i / 4];
                let back = f32::from(quantized.values[i]) * scale;
                prop_assert!((back - value).abs() <= scale * 0.5001);
            }
        }

        /// What the feedback is for: on a patch of one colour the error is far below that of plain rounding.
        #[test]
        fn errors_cancel_where_pixels_are_alike(weights in proptest::collection::vec(-1.0_f32..1.0, 4 * 192)) {
            let sum_of_errors = |quantized: &Quantized| {
                let rows = weights.chunks_exact(192).zip(quantized.values.chunks_exact(192)).zip(&quantized.scales);
                let error = |((row, values), scale): ((&[f32], &[i8]), &f32)| {
                    let sum: f64 = row.iter().zip(values).map(|(w, v)| f64::from(w - f32::from(*v) * scale)).sum();
                    (sum / f64::from(*scale)).powi(2)
                };
                rows.map(error).sum::<f64>()
            };
            // 192 errors of variance 1/12 sum to a variance of 16 a row when they are independent.
            prop_assert!(sum_of_errors(&quantize_patches(&weights, 8, 3)) < 4.0 * 16.0 / 2.0);
        }

        #[test]
        fn any_patch_geometry_is_taken(p in 1_usize..5, c in 1_usize..5, rows in 0_usize..3) {
            let weights: Vec<f32> = (0..rows * p * p * c).map(|i| (i * 37 % 17) as f32 - 8.0).collect();
            let quantized = quantize_patches(&weights, p, c);
            prop_assert_eq!((quantized.values.len(), quantized.scales.len()), (weights.len(), rows));
        }
    }

    #[test]
    fn rows_of_zeros_and_of_tiny_values_stay_finite() {
        let zeros = Quantized { values: vec![0; 6], scales: vec![1.0; 2] };
        assert_eq!(quantize_rows(&[0.0; 6], 3), zeros);
        assert_eq!(quantize_rows(&[1e-44; 3], 3).scales, [f32::MIN_POSITIVE]);
    }
}
