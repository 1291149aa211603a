//! Attention between its two products, in f32: from scores to digits of the weights, and from sums to values.
//!
//! See [`Lanes`] for why all machines give the same bits.
#![expect(clippy::needless_range_loop, reason = "the part names its place in several arrays at once")]

use super::{
    float::{cut, exp2},
    lanes::{CHUNK, Lanes, MAGIC},
};

/// The largest digit pair: 14 bits.
const DIGITS: f32 = 16_383.0;

/// What the scores and weights of one head are scaled by. All `[T]` padded to whole chunks.
#[derive(Debug, Clone, Copy)]
pub struct HeadScales<'a> {
    /// The scale of each token's key.
    key: &'a [f32],
    /// Zeros, and for what pads a number below every score, however small the factor.
    mask: &'a [f32],
    /// What turns each token's numerator into its digits.
    digits: &'a [f32],
    /// What the digits of a numerator times a value's scale are to be multiplied by.
    back: f32,
}

impl<'a> HeadScales<'a> {
    /// Floats that [`Self::gather`] needs for so many tokens, padded to whole chunks.
    pub const fn room(padded: usize) -> usize {
        3 * padded
    }

    /// Puts the scales of one head side by side: those of `tokens` keys and values, of which each chunk begins
    /// `stride` floats after the one before. `room`: see [`Self::room`].
    pub fn gather(keys: &[f32], values: &[f32], stride: usize, tokens: usize, room: &'a mut [f32]) -> Self {
        let (key, rest) = room.split_at_mut(room.len() / 3);
        let (mask, digits) = rest.split_at_mut(rest.len() / 2);
        let chunks = key.as_chunks_mut::<CHUNK>().0.iter_mut().zip(mask.as_chunks_mut::<CHUNK>().0);
        let chunks = chunks.zip(digits.as_chunks_mut::<CHUNK>().0).enumerate();
        let mut greatest = [0.0; CHUNK];
        for (index, ((key, mask), digits)) in chunks {
            (*key, *mask, *digits) = ([0.0; CHUNK], [f32::MIN; CHUNK], [0.0; CHUNK]);
            let (Some(keys), Some(values)) = (chunk_at(keys, index * stride), chunk_at(values, index * stride))
            else {
                continue;
            };
            let used = tokens.saturating_sub(index * CHUNK).min(CHUNK);
            key[..used].copy_from_slice(&keys[..used]);
            digits[..used].copy_from_slice(&values[..used]);
            mask[..used].fill(0.0);
            for (greatest, value) in greatest.iter_mut().zip(&*digits) {
                *greatest = if *value > *greatest { *value } else { *greatest };
            }
        }
        let greatest = f32::greatest(&greatest);
        let greatest = if greatest > 1e-33 { greatest } else { 1e-33 };
        let factor = DIGITS / greatest;
        for value in &mut *digits {
            *value *= factor;
        }
        Self { key, mask, digits, back: greatest * (1.0 / DIGITS) }
    }
}

/// The chunk that begins at `at`, if it is there.
#[inline(always)]
fn chunk_at(values: &[f32], at: usize) -> Option<&[f32; CHUNK]> {
    values.get(at..)?.first_chunk()
}

/// The greatest of one row's `scores * key scale`. `scores`: `[T]` padded to whole chunks.
#[inline(always)]
pub fn top<L: Lanes>(scores: &[i32], scales: HeadScales<'_>) -> f32 {
    let scores = scores.as_chunks::<CHUNK>().0.iter();
    let chunks = scores.zip(scales.key.as_chunks::<CHUNK>().0).zip(scales.mask.as_chunks::<CHUNK>().0);
    let mut tops = [L::splat(f32::MIN); CHUNK];
    for ((scores, key), mask) in chunks {
        for part in 0..L::PARTS {
            tops[part] = tops[part].max(score::<L>(scores, key, mask, part));
        }
    }
    L::greatest(&tops)
}

#[inline(always)]
fn score<L: Lanes>(scores: &[i32; CHUNK], key: &[f32; CHUNK], mask: &[f32; CHUNK], part: usize) -> L {
    L::convert(scores, part).mul_add(L::load(key, part), L::load(mask, part))
}

/// One row of attention: the numerators of the softmax of `scores * factor * key scale`, times the values' scales,
/// in two digits of 7 bits: `high * 128 + low` is `numerator * value scale * 16383 / greatest`.
///
/// `scores`, `high`, `low`: `[T]` padded to whole chunks; the digits of what pads are zero. `top`: see [`top`].
/// `factor`, in powers of two: the query's scale by `log2(e) / sqrt(width)`. What the attended sum of
/// `high * 128 + low` is to be multiplied by.
#[inline(always)]
pub fn softmax<L: Lanes>(
    scores: &[i32],
    scales: HeadScales<'_>,
    top: f32,
    factor: f32,
    high: &mut [i8],
    low: &mut [i8],
) -> f32 {
    let scores = scores.as_chunks::<CHUNK>().0.iter();
    let chunks = scores.zip(scales.key.as_chunks::<CHUNK>().0).zip(scales.mask.as_chunks::<CHUNK>().0);
    let chunks = chunks.zip(scales.digits.as_chunks::<CHUNK>().0);
    let digits = high.as_chunks_mut::<CHUNK>().0.iter_mut().zip(low.as_chunks_mut::<CHUNK>().0);
    let mut sums = [L::splat(0.0); CHUNK];
    for ((((scores, key), mask), scale), (high, low)) in chunks.zip(digits) {
        let mut numerators = [L::splat(0.0); CHUNK];
        for part in 0..L::PARTS {
            let score = score::<L>(scores, key, mask, part);
            numerators[part] = exp2(score.sub(L::splat(top)).mul(L::splat(factor)));
            sums[part] = sums[part].add(numerators[part]);
        }
        for part in 0..L::PARTS {
            numerators[part] = numerators[part].mul_add(L::load(scale, part), L::splat(MAGIC));
        }
        L::store_all_digits(&numerators, high, low);
    }
    scales.back / L::sum(&sums)
}

/// One head's output of one token: `(high * 128 + low) * factor`. `high`, `low`: the attended sums, in whole chunks;
/// `out`: the head's part of the row.
#[inline(always)]
pub fn attended<L: Lanes>(high: &[i32], low: &[i32], factor: f32, out: &mut [f32]) {
    let (out, out_rest) = out.as_chunks_mut::<CHUNK>();
    let at = out.len();
    let (high, low) = (high.as_chunks::<CHUNK>().0, low.as_chunks::<CHUNK>().0);
    for ((high, low), out) in high.iter().zip(low).zip(out) {
        for part in 0..L::PARTS {
            both::<L>(high, low, factor, part).store(out, part);
        }
    }
    if let (Some((high, low)), false) = (high.get(at).zip(low.get(at)), out_rest.is_empty()) {
        let mut last = [0.0; CHUNK];
        for part in 0..L::PARTS {
            both::<L>(high, low, factor, part).store(&mut last, part);
        }
        cut(&last, out_rest);
    }
}

#[inline(always)]
fn both<L: Lanes>(high: &[i32; CHUNK], low: &[i32; CHUNK], factor: f32, part: usize) -> L {
    L::convert(high, part).mul_add(L::splat(128.0), L::convert(low, part)).mul(L::splat(factor))
}
