//! Products for AVX2, AVX-VNNI and AVX512-VNNI.
//!
//! A block of rows by tiles is kept in registers while the inputs go by; its size is what the registers hold. The
//! VNNI instruction multiplies unsigned by signed numbers: weights enter as `b + 128`, and each sum starts at
//! `-128 * sum(a)`, which takes that back exactly. Where A has no negative values it is the unsigned side itself.

use crate::native::{
    layout::{STEP, TILE},
    product::Product,
};
use core::arch::x86_64::*;

/// Rows whose corrections are kept on the stack.
const STRIP: usize = 64;

/// What a block is computed from: the product's strides, the block's first row of A, tile of B and place in C.
#[derive(Clone, Copy)]
struct Place {
    a: *const i8,
    lda: usize,
    b: *const i8,
    b_tile: usize,
    b_step: usize,
    steps: usize,
    starts: *const i32,
    c: *mut i32,
    ldc: usize,
}

/// How many to take of what is left, at most `most`, so that no block of one follows a full one.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    if left == most + 1 && most > 2 { left.div_ceil(2) } else { left.min(most) }
}

/// `$name(product)`: checks the product, then runs `$block` over it in blocks of `$rows` rows by `$tiles` tiles, or
/// of `$narrow` rows by a single one.
macro_rules! product {
    ($(#[$doc:meta])* $name:ident, $features:literal, $sums:ident, $block:ident,
        $rows:literal x $tiles:literal, $narrow:literal) => {
        $(#[$doc])*
        pub fn $name(product: Product<'_>) -> bool {
            #[target_feature(enable = $features)]
            fn inner<const UNSIGNED: bool>(product: Product<'_>) {
                let Product { a, lda, m, b, b_tile, b_step, n, k, c, ldc, .. } = product;
                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                let (tiles, steps) = (n.div_ceil(TILE), k / STEP);
                let mut starts = [0; STRIP];
                let mut strip = 0;
                while strip < m {
                    let end = m.min(strip + STRIP);
                    if !UNSIGNED {
                        for row in strip..end {
                            // SAFETY: the check covers `k` values of each row.
                            starts[row - strip] = unsafe { $sums(a.add(row * lda), k) };
                        }
                    }
                    let mut tile = 0;
                    while tile < tiles {
                        let wide = share(tiles - tile, $tiles);
                        let mut row = strip;
                        while row < end {
                            let high = share(end - row, if wide == 1 { $narrow } else { $rows });
                            // SAFETY: row, tile and what a block adds to them lie inside the product, whose lengths
                            // were checked.
                            unsafe {
                                let place = Place {
                                    a: a.add(row * lda), lda, b: b.add(tile * b_tile), b_tile, b_step, steps,
                                    starts: starts.as_ptr().add(row - strip),
                                    c: c.add(row * ldc + tile * TILE), ldc,
                                };
                                $block::<UNSIGNED>(place, high, wide);
                            }
                            row += high;
                        }
                        tile += wide;
                    }
                    strip = end;
                }
            }
            if !product.check() {
                return false;
            }
            // SAFETY: the sets that hold this function are handed out only where the processor has the features.
            unsafe { if product.unsigned { inner::<true>(product) } else { inner::<false>(product) } };
            true
        }
    };
}

/// `$block::<R, T, UNSIGNED>(place)` for rows and tiles known at run time.
macro_rules! dispatch {
    ($name:ident, $features:literal, $block:ident, [$(($rows:literal, $tiles:literal))*]) => {
        /// # Safety
        /// The place lies inside a checked product, with this many rows and tiles after it.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn $name<const UNSIGNED: bool>(place: Place, rows: usize, tiles: usize) {
            match (rows, tiles) {
                // SAFETY: the caller's promise.
                $(($rows, $tiles) => unsafe { $block::<$rows, $tiles, UNSIGNED>(place) },)*
                _ => {}
            }
        }
    };
}

dispatch!(
    avx512_any,
    "avx512f,avx512bw,avx512vnni",
    avx512_block,
    [(1, 1)(2, 1)(3, 1)(4, 1)(5, 1)(6, 1)(1, 2)(2, 2)(3, 2)(4, 2)(5, 2)(6, 2)(1, 3)(2, 3)(3, 3)(4, 3)(5, 3)(6, 3)(
        1, 4
    )(2, 4)(3, 4)(4, 4)(5, 4)(6, 4)(7, 1)(8, 1)(9, 1)(10, 1)(11, 1)(12, 1)]
);
dispatch!(avx_vnni_any, "avx2,avxvnni", avx_vnni_block, [(1, 1)(2, 1)(3, 1)(4, 1)(5, 1)(6, 1)]);
dispatch!(avx2_any, "avx2", avx2_block, [(1, 1)(2, 1)(3, 1)]);

product!(
    /// AVX512-VNNI: blocks of 6 rows by 64 outputs, 24 of the 32 registers; 12 by 16 for narrow heads, as many as
    /// hide the instruction's latency.
    avx512_vnni, "avx512f,avx512bw,avx512vnni", avx512_start, avx512_any, 6 x 4, 12
);
product!(
    /// AVX-VNNI: blocks of 6 rows by 16 outputs, 12 of the 16 registers.
    avx_vnni, "avx2,avxvnni", avx_start, avx_vnni_any, 6 x 1, 6
);
product!(
    /// AVX2: blocks of 3 rows by 16 outputs, each sum in two halves, 12 of the 16 registers.
    avx2, "avx2", no_start, avx2_any, 3 x 1, 3
);

/// `-128 * sum(a)` of a row.
///
/// # Safety
/// `k` values can be read.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn avx512_start(a: *const i8, k: usize) -> i32 {
    let ones = _mm512_set1_epi8(1);
    let mut sums = _mm512_setzero_si512();
    let mut at = 0;
    while at + 64 <= k {
        // SAFETY: 64 values from `at` lie within `k`.
        let values = unsafe { _mm512_loadu_si512(a.add(at).cast()) };
        sums = _mm512_dpbusd_epi32(sums, ones, values);
        at += 64;
    }
    if at < k {
        // SAFETY: the mask takes only those that lie within `k`.
        let values = unsafe { _mm512_maskz_loadu_epi8((1 << (k - at)) - 1, a.add(at)) };
        sums = _mm512_dpbusd_epi32(sums, ones, values);
    }
    -128 * _mm512_reduce_add_epi32(sums)
}

/// `-128 * sum(a)` of a row.
///
/// # Safety
/// `k` values can be read.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
unsafe fn avx_start(a: *const i8, k: usize) -> i32 {
    let ones = _mm256_set1_epi8(1);
    let mut sums = _mm256_setzero_si256();
    let mut at = 0;
    while at + 32 <= k {
        // SAFETY: 32 values from `at` lie within `k`.
        let values = unsafe { _mm256_loadu_si256(a.add(at).cast()) };
        sums = _mm256_dpbusd_avx_epi32(sums, ones, values);
        at += 32;
    }
    let mut all = [0_i32; 8];
    // SAFETY: the array is the whole register.
    unsafe { _mm256_storeu_si256(all.as_mut_ptr().cast(), sums) };
    let mut sum = all.iter().sum::<i32>();
    while at < k {
        // SAFETY: within `k`.
        sum += i32::from(unsafe { *a.add(at) });
        at += 1;
    }
    -128 * sum
}

/// Signed products need no correction.
///
/// # Safety
/// None.
#[inline(always)]
unsafe fn no_start(_a: *const i8, _k: usize) -> i32 {
    0
}

/// # Safety
/// The place lies inside a checked product, with R rows and T tiles after it.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn avx512_block<const R: usize, const T: usize, const UNSIGNED: bool>(place: Place) {
    let Place { mut a, lda, mut b, b_tile, b_step, steps, starts, c, ldc } = place;
    let flip = _mm512_set1_epi8(if UNSIGNED { 0 } else { -128 });
    let mut sums = [[_mm512_setzero_si512(); T]; R];
    // SAFETY: the caller's promise: `steps` of B in T tiles, as many quarters of A in R rows, R starts, and R rows by
    // T tiles of C.
    unsafe {
        if !UNSIGNED {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = [_mm512_set1_epi32(*starts.add(row)); T];
            }
        }
        for _ in 0..steps {
            let mut weights = [flip; T];
            for (tile, weights) in weights.iter_mut().enumerate() {
                *weights = _mm512_xor_si512(*weights, _mm512_loadu_si512(b.add(tile * b_tile).cast()));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = _mm512_set1_epi32(a.add(row * lda).cast::<i32>().read_unaligned());
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = if UNSIGNED {
                        _mm512_dpbusd_epi32(*sum, values, weights)
                    } else {
                        _mm512_dpbusd_epi32(*sum, weights, values)
                    };
                }
            }
            a = a.add(STEP);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (tile, sum) in sums.iter().enumerate() {
                _mm512_storeu_si512(c.add(row * ldc + tile * TILE).cast(), *sum);
            }
        }
    }
}

/// # Safety
/// The place lies inside a checked product, with R rows and T tiles after it.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
unsafe fn avx_vnni_block<const R: usize, const T: usize, const UNSIGNED: bool>(place: Place) {
    let Place { mut a, lda, mut b, b_tile, b_step, steps, starts, c, ldc } = place;
    let flip = _mm256_set1_epi8(if UNSIGNED { 0 } else { -128 });
    let mut sums = [[[_mm256_setzero_si256(); 2]; T]; R];
    // SAFETY: as for AVX512-VNNI, each tile in two registers.
    unsafe {
        if !UNSIGNED {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = [[_mm256_set1_epi32(*starts.add(row)); 2]; T];
            }
        }
        for _ in 0..steps {
            let mut weights = [[flip; 2]; T];
            for (tile, weights) in weights.iter_mut().enumerate() {
                for (half, weights) in weights.iter_mut().enumerate() {
                    let from = b.add(tile * b_tile + half * 32);
                    *weights = _mm256_xor_si256(*weights, _mm256_loadu_si256(from.cast()));
                }
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let values = _mm256_set1_epi32(a.add(row * lda).cast::<i32>().read_unaligned());
                for (sum, weights) in sums.as_flattened_mut().iter_mut().zip(weights.as_flattened()) {
                    *sum = if UNSIGNED {
                        _mm256_dpbusd_avx_epi32(*sum, values, *weights)
                    } else {
                        _mm256_dpbusd_avx_epi32(*sum, *weights, values)
                    };
                }
            }
            a = a.add(STEP);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (half, sum) in sums.as_flattened().iter().enumerate() {
                _mm256_storeu_si256(c.add(row * ldc + half * 8).cast(), *sum);
            }
        }
    }
}

/// # Safety
/// The place lies inside a checked product, with R rows and one tile after it.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn avx2_block<const R: usize, const T: usize, const UNSIGNED: bool>(place: Place) {
    let Place { mut a, lda, mut b, b_step, steps, c, ldc, .. } = place;
    // Per row: 4 registers of 4 outputs in two halves each.
    let mut sums = [[_mm256_setzero_si256(); 4]; R];
    // SAFETY: as for AVX512-VNNI.
    unsafe {
        for _ in 0..steps {
            let mut values = [_mm256_setzero_si256(); R];
            for (row, values) in values.iter_mut().enumerate() {
                let four = a.add(row * lda).cast::<i32>().read_unaligned();
                *values = _mm256_cvtepi8_epi16(_mm_set1_epi32(four));
            }
            for quarter in 0..4 {
                let weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(quarter * 16).cast()));
                for (sums, values) in sums.iter_mut().zip(values) {
                    sums[quarter] = _mm256_add_epi32(sums[quarter], _mm256_madd_epi16(weights, values));
                }
            }
            a = a.add(STEP);
            b = b.wrapping_add(b_step);
        }
        for (row, sums) in sums.iter().enumerate() {
            for half in 0..2 {
                let pairs = _mm256_hadd_epi32(sums[half * 2], sums[half * 2 + 1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                _mm256_storeu_si256(c.add(row * ldc + half * 8).cast(), ordered);
            }
        }
    }
}

/// `$name(rounds)`: that many rounds of the set's multiply-add on registers alone, enough of them to hide the
/// latency; the multiplications done. What the product cannot exceed.
macro_rules! peak {
    ($name:ident, $features:literal, $register:ty, $lanes:literal, $sums:literal,
        |$sum:ident, $value:ident| $step:expr) => {
        pub(super) fn $name(rounds: u64) -> u64 {
            #[target_feature(enable = $features)]
            fn inner(rounds: u64) {
                // SAFETY: integers in any state are valid.
                let zero: $register = unsafe { core::mem::zeroed() };
                let mut sums = [zero; $sums];
                for _ in 0..rounds {
                    let $value = core::hint::black_box(zero);
                    for _ in 0..64 {
                        for $sum in &mut sums {
                            *$sum = $step;
                        }
                        // Keeps the sums in registers and the loop from being folded.
                        core::hint::black_box(());
                    }
                }
                core::hint::black_box(sums);
            }
            // SAFETY: only sets that the processor can run ask for it.
            unsafe { inner(rounds) };
            rounds * 64 * $sums * $lanes
        }
    };
}

peak!(avx512_vnni_peak, "avx512f,avx512bw,avx512vnni", __m512i, 64, 24, |sum, value| _mm512_dpbusd_epi32(
    *sum, value, value
));
peak!(avx_vnni_peak, "avx2,avxvnni", __m256i, 32, 12, |sum, value| _mm256_dpbusd_avx_epi32(*sum, value, value));
peak!(avx2_peak, "avx2", __m256i, 16, 12, |sum, value| _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, value)));
