//! Rounding to bf16, in pairs: two neighbours along the axis of a product's sum lie in 32 bits.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

use crate::engine::Bf16;

/// Pairs of `depth` numbers.
pub(crate) fn pairs(depth: usize) -> usize {
    depth.div_ceil(2)
}

/// The nearest bf16, to even where two are as near, in the low 16 bits; a NaN stays one.
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() { (bits >> 16) | 0x40 } else { (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 }
}

/// Neighbours of the rows of a matrix, `width` numbers each: `to[r, j] = (row[2 j], row[2 j + 1])`, as many rows as
/// `to` holds.
///
/// # Panics
/// If `data` is too short.
pub(crate) fn pairs_of_matrix(bf16: Bf16, data: &[f32], stride: usize, width: usize, to: &mut [u32]) {
    let rows = to.chunks_exact_mut(pairs(width).max(1)).enumerate().map(|(row, to)| (to, row * stride));
    match bf16 {
        #[cfg(target_arch = "x86_64")]
        Bf16::Avx512 => avx512::pairs_of_matrix(data, rows, width),
        _ => rows.for_each(|(to, start)| pairs_of_row(&data[start..][..width], to)),
    }
}

fn pairs_of_row(row: &[f32], to: &mut [u32]) {
    let (whole, rest) = row.as_chunks::<2>();
    for (to, [low, high]) in to.iter_mut().zip(whole) {
        *to = round(*low) | round(*high) << 16;
    }
    if let ([last], Some(to)) = (rest, to.last_mut()) {
        *to = round(*last);
    }
}

/// Neighbours of two rows, one below the other: `to[n] = (low[n], high[n])`; without `high` it is zero.
///
/// # Panics
/// If the lengths disagree.
pub(crate) fn pairs_of_rows(bf16: Bf16, low: &[f32], high: Option<&[f32]>, to: &mut [u32]) {
    assert!(to.len() == low.len() && high.is_none_or(|high| high.len() == low.len()));
    match (bf16, high) {
        (_, None) => to.iter_mut().zip(low).for_each(|(to, low)| *to = round(*low)),
        #[cfg(target_arch = "x86_64")]
        (Bf16::Avx512, Some(high)) => avx512::pairs_of_rows(low, high, to),
        (_, Some(high)) => {
            for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
                *to = round(*low) | round(*high) << 16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> Vec<Bf16> {
        std::iter::once(Bf16::Portable).chain(Bf16::detect()).collect()
    }

    #[test]
    fn rounds_to_nearest_even_and_keeps_what_is_not_finite() {
        for (bits, expected) in [
            (0x3f80_0000, 0x3f80),
            (0x3f80_8000, 0x3f80),
            (0x3f81_8000, 0x3f82),
            (0x3f80_8001, 0x3f81),
            (0x7f7f_ffff, 0x7f80),
            (0xff80_0000, 0xff80),
            (0x8000_0000, 0x8000),
        ] {
            assert_eq!(round(f32::from_bits(bits)), expected, "{bits:x}");
        }
        assert!(f32::from_bits(round(f32::from_bits(0x7f80_0001)) << 16).is_nan());
    }

    proptest! {
        #[test]
        fn all_kinds_pack_the_same_pairs(values in prop::collection::vec(-1e6_f32..1e6, 0..150), seed: u32) {
            // Zeros and magnitudes that matter; numbers below the normal ones may be flushed.
            let scale = f32::from_bits(0x3f80_0000 - (seed % 40) * 0x0080_0000);
            let low: Vec<f32> = values.iter().map(|v| if *v < -9e5 { 0.0 } else { v * scale }).collect();
            let high: Vec<f32> = low.iter().rev().map(|v| v * 0.37).collect();
            for kind in kinds() {
                let mut to = vec![7; pairs(low.len())];
                pairs_of_matrix(kind, &low, low.len(), low.len(), &mut to);
                for (j, to) in to.iter().enumerate() {
                    let last = low.get(2 * j + 1).map_or(0, |v| round(*v));
                    prop_assert_eq!(*to, round(low[2 * j]) | last << 16, "{:?}", kind);
                }
                let mut to = vec![7; low.len()];
                for other in [Some(&high[..]), None] {
                    pairs_of_rows(kind, &low, other, &mut to);
                    for (n, to) in to.iter().enumerate() {
                        let last = other.map_or(0, |high| round(high[n]));
                        prop_assert_eq!(*to, round(low[n]) | last << 16, "{:?}", kind);
                    }
                }
            }
        }
    }
}
