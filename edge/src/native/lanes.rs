//! Sixteen floats at a time, as each machine holds them.
//!
//! A pass of [`float`](super::float) works in chunks of 16 values. A machine cuts a chunk into parts as wide as its
//! registers: 16 of one value, four of four, one of 16. Every operation is exact or rounded once (IEEE 754), and sums
//! keep 16 partial sums, one a place in the chunk, that are added in one fixed order: so all machines give the same
//! bits. A fused multiply-add is one operation, rounded once, on machines without the instruction too.
#![expect(clippy::needless_range_loop, reason = "the part names its place in several arrays at once")]

use super::fused::fused;

/// Values in a chunk.
pub const CHUNK: usize = 16;

/// `1.5 * 2^23`: a float below 2^22 in magnitude, added to it, is rounded to the nearest whole number, ties to even,
/// and the sum's lowest bits are that number in two's complement.
pub const MAGIC: f32 = 12_582_912.0;

/// One part of a chunk. `part` counts from 0 to [`Self::PARTS`] - 1; implementations wrap larger ones.
pub trait Lanes: Copy {
    /// Parts of a chunk, 1 to 16.
    const PARTS: usize;
    /// The same value in every place.
    fn splat(value: f32) -> Self;
    /// Part `part` of the chunk.
    fn load(from: &[f32; CHUNK], part: usize) -> Self;
    /// Part `part` of the chunk, each the float nearest to the number.
    fn convert(from: &[i32; CHUNK], part: usize) -> Self;
    /// Writes part `part` of the chunk.
    fn store(self, to: &mut [f32; CHUNK], part: usize);
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// `self * times + plus`, rounded once.
    fn mul_add(self, times: Self, plus: Self) -> Self;
    /// The greater of the two in each place.
    fn max(self, other: Self) -> Self;
    /// The lesser of the two in each place.
    fn min(self, other: Self) -> Self;
    /// Magnitude.
    fn abs(self) -> Self;
    /// `self * 2^n` for a normal result, where `whole` is `n + MAGIC`: n is added to the exponent.
    fn times_two_to(self, whole: Self) -> Self;
    /// Writes the lowest 8 bits of each float's bits.
    fn store_bytes(self, to: &mut [i8; CHUNK], part: usize);
    /// Writes bits 7 to 13 of each float's bits into `high` and bits 0 to 6 into `low`.
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], part: usize);

    /// [`Self::store_bytes`] of a whole chunk.
    #[inline(always)]
    fn store_all_bytes(parts: &[Self; CHUNK], to: &mut [i8; CHUNK]) {
        for part in 0..Self::PARTS {
            parts[part].store_bytes(to, part);
        }
    }

    /// [`Self::store_digits`] of a whole chunk.
    #[inline(always)]
    fn store_all_digits(parts: &[Self; CHUNK], high: &mut [i8; CHUNK], low: &mut [i8; CHUNK]) {
        for part in 0..Self::PARTS {
            parts[part].store_digits(high, low, part);
        }
    }

    /// Square root.
    #[inline(always)]
    fn root(value: f32) -> f32 {
        libm::sqrtf(value)
    }

    /// The sum of the first [`Self::PARTS`] of `parts`: of 16 values the second half is added to the first, then of
    /// 8, of 4, of 2.
    #[inline(always)]
    fn sum(parts: &[Self; CHUNK]) -> f32 {
        fold(&chunk_of(parts), |a, b| a + b)
    }

    /// The greatest value in the first [`Self::PARTS`] of `parts`.
    #[inline(always)]
    fn greatest(parts: &[Self; CHUNK]) -> f32 {
        fold(&chunk_of(parts), |a, b| if a > b { a } else { b })
    }
}

/// Halves by halves.
#[inline(always)]
fn fold(v: &[f32; CHUNK], f: impl Fn(f32, f32) -> f32) -> f32 {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| f(f(v[i], v[i + 8]), f(v[i + 4], v[i + 12])));
    f(f(a, c), f(b, d))
}

/// The parts as one chunk.
#[inline(always)]
pub fn chunk_of<L: Lanes>(parts: &[L; CHUNK]) -> [f32; CHUNK] {
    let mut values = [0.0; CHUNK];
    for part in 0..L::PARTS {
        parts[part].store(&mut values, part);
    }
    values
}

/// One value a part: for machines without vector registers, and what the others are compared with.
impl Lanes for f32 {
    const PARTS: usize = CHUNK;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn load(from: &[f32; CHUNK], part: usize) -> Self {
        from[part % CHUNK]
    }
    #[inline(always)]
    fn convert(from: &[i32; CHUNK], part: usize) -> Self {
        from[part % CHUNK] as f32
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; CHUNK], part: usize) {
        to[part % CHUNK] = self;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    fn mul_add(self, times: Self, plus: Self) -> Self {
        fused(self, times, plus)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self::from_bits(self.to_bits() & 0x7fff_ffff)
    }
    #[inline(always)]
    fn times_two_to(self, whole: Self) -> Self {
        Self::from_bits(self.to_bits().wrapping_add(whole.to_bits() << 23))
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [i8; CHUNK], part: usize) {
        to[part % CHUNK] = self.to_bits() as i8;
    }
    #[inline(always)]
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], part: usize) {
        high[part % CHUNK] = (self.to_bits() >> 7 & 127) as i8;
        low[part % CHUNK] = (self.to_bits() & 127) as i8;
    }
}
