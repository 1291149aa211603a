//! Symmetric 8-bit quantisation with one scale a column.

/// A matrix in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// `[in, out]`, -127..=127.
    pub values: Vec<i8>,
    /// `[out]`; value times scale is the weight.
    pub scales: Vec<f32>,
}

/// Quantises `matrix` (`[in, out]`): the largest magnitude of a column becomes 127; ties round to even.
#[must_use]
pub fn quantize_columns(matrix: &[f32], d_in: usize, d_out: usize) -> Quantized {
    let column = |out: usize| (0..d_in).map(move |row| matrix[row * d_out + out]);
    let scale = |out| match column(out).fold(0.0_f32, |largest, value| largest.max(value.abs())) {
        0.0 => 1.0,
        largest => largest / 127.0,
    };
    let scales: Vec<f32> = (0..d_out).map(scale).collect();
    let quantize =
        |(i, value): (usize, &f32)| (value / scales[i % d_out]).round_ties_even().clamp(-127.0, 127.0) as i8;
    Quantized { values: matrix.iter().enumerate().map(quantize).collect(), scales }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn errors_stay_below_half_a_step(values in proptest::collection::vec(-10.0_f32..10.0, 12)) {
            let quantized = quantize_columns(&values, 4, 3);
            for (i, value) in values.iter().enumerate() {
                let scale = quantized.scales[i % 3];
                let back = f32::from(quantized.values[i]) * scale;
                prop_assert!((back - value).abs() <= scale * 0.5001);
            }
        }
    }

    #[test]
    fn a_column_of_zeros_stays_zero() {
        assert_eq!(quantize_columns(&[0.0; 6], 3, 2), Quantized { values: vec![0; 6], scales: vec![1.0; 2] });
    }
}
