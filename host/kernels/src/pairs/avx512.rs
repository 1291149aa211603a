//! AVX-512 BF16: `vcvtne2ps2bf16` rounds 32 numbers at once.

use std::arch::x86_64::*;

/// Numbers of a vector.
pub(crate) const LANES: usize = 16;

/// Whether this processor has the instructions that products and packing use.
pub(crate) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512f")
}

/// The first `count` lanes, or all.
pub(crate) fn mask(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}

/// As [`super::pairs_of_matrix`]: rows of the result, and where theirs begin.
pub(super) fn pairs_of_matrix<'a>(data: &[f32], rows: impl Iterator<Item = (&'a mut [u32], usize)>, width: usize) {
    assert!(available());
    // SAFETY: the instructions are there.
    unsafe { pairs_of_matrix_inside(data, rows, width) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs_of_matrix_inside<'a>(data: &[f32], rows: impl Iterator<Item = (&'a mut [u32], usize)>, width: usize) {
    for (to, start) in rows {
        pairs_of_row(&data[start..][..width], to);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn pairs_of_row(row: &[f32], to: &mut [u32]) {
    let starts = (0..row.len()).step_by(2 * LANES);
    for (start, to) in starts.zip(to.chunks_mut(LANES)) {
        let from = &row[start..];
        // SAFETY: the masks keep to what is left of the row and of `to`.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr());
            let rest = from.len().saturating_sub(LANES);
            let high = _mm512_maskz_loadu_ps(mask(rest), from.as_ptr().wrapping_add(LANES));
            let pairs = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask(to.len()), pairs);
        }
    }
}

/// As [`super::pairs_of_rows`].
pub(super) fn pairs_of_rows(low: &[f32], high: &[f32], to: &mut [u32]) {
    assert!(low.len() == to.len() && high.len() == to.len() && available());
    // SAFETY: the instructions are there.
    unsafe { pairs_of_rows_inside(low, high, to) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs_of_rows_inside(low: &[f32], high: &[f32], to: &mut [u32]) {
    // Word `2 n` of the result is word `n` of the first half, word `2 n + 1` that of the second.
    let words: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
    // SAFETY: an array of 64 bytes.
    let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    for ((low, high), to) in low.chunks(LANES).zip(high.chunks(LANES)).zip(to.chunks_mut(LANES)) {
        let mask = mask(to.len());
        // SAFETY: the mask keeps to the chunks, which are equally long.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask, low.as_ptr());
            let high = _mm512_maskz_loadu_ps(mask, high.as_ptr());
            let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            let pairs = _mm512_permutexvar_epi16(words, halves);
            _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask, pairs);
        }
    }
}
