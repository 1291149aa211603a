//! The passes for AVX2 and AVX-512, and the sets for x86.
//!
//! The vector types are made only inside functions compiled for them, which only the sets below reach.

use super::{
    set::{Kernels, passes},
    x86_product,
};
use crate::native::lanes::{CHUNK, Lanes};
use core::arch::x86_64::*;

/// AVX2: products widened to 16 bits.
static AVX2: Kernels =
    Kernels { name: "avx2", rows: 48, product: x86_product::avx2, passes: passes!(Half, "avx2,fma") };
/// AVX-VNNI: four products and their sum in one instruction, 256 bits wide.
static AVX_VNNI: Kernels =
    Kernels { name: "avx-vnni", rows: 48, product: x86_product::avx_vnni, passes: passes!(Half, "avx2,fma") };
/// AVX512-VNNI: the same, 512 bits wide.
static AVX512_VNNI: Kernels = Kernels {
    name: "avx512-vnni",
    rows: 48,
    product: x86_product::avx512_vnni,
    passes: passes!(Whole, "avx512f,avx512bw,avx512vl"),
};

/// Whether this machine has a feature: asked of the processor, or known when compiling without a standard library.
macro_rules! has {
    ($($feature:tt),*) => {{
        #[cfg(feature = "std")]
        { true $(&& std::arch::is_x86_feature_detected!($feature))* }
        #[cfg(not(feature = "std"))]
        { true $(&& cfg!(target_feature = $feature))* }
    }};
}

/// The sets that this processor can run, the slowest first.
pub(super) fn usable() -> [Option<&'static Kernels>; 3] {
    [
        has!("avx2", "fma").then_some(&AVX2),
        has!("avx2", "fma", "avxvnni").then_some(&AVX_VNNI),
        has!("avx512f", "avx512bw", "avx512vl", "avx512vnni").then_some(&AVX512_VNNI),
    ]
}

/// See [`Kernels::peak`].
pub(super) fn peak(name: &str, rounds: u64) -> Option<u64> {
    let run = match name {
        "avx2" => x86_product::avx2_peak,
        "avx-vnni" => x86_product::avx_vnni_peak,
        "avx512-vnni" => x86_product::avx512_vnni_peak,
        _ => return None,
    };
    Some(run(rounds))
}

/// Half a chunk.
#[derive(Clone, Copy)]
struct Half(__m256);

/// A whole chunk.
#[derive(Clone, Copy)]
struct Whole(__m512);

/// Methods that are one intrinsic each.
macro_rules! plain {
    ($type:ident: $($name:ident = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            // SAFETY: values of this type exist only where the processor has the feature.
            Self(unsafe { $intrinsic(self.0, other.0) })
        }
    )*};
}

impl Lanes for Half {
    const PARTS: usize = 2;

    plain!(Half:
        add = _mm256_add_ps; sub = _mm256_sub_ps; mul = _mm256_mul_ps; max = _mm256_max_ps; min = _mm256_min_ps;);

    #[inline(always)]
    fn mul_add(self, times: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, times.0, plus.0) })
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: only functions compiled for AVX2 use this type.
        Self(unsafe { _mm256_set1_ps(value) })
    }
    #[inline(always)]
    fn load(from: &[f32; CHUNK], part: usize) -> Self {
        // SAFETY: as above; 8 values from 0 or 8 lie inside.
        Self(unsafe { _mm256_loadu_ps(from.as_ptr().add(part % 2 * 8)) })
    }
    #[inline(always)]
    fn convert(from: &[i32; CHUNK], part: usize) -> Self {
        // SAFETY: as for `load`.
        Self(unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(from.as_ptr().add(part % 2 * 8).cast())) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; CHUNK], part: usize) {
        // SAFETY: as for `load`.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(part % 2 * 8), self.0) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as for `splat`.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }
    #[inline(always)]
    fn times_two_to(self, whole: Self) -> Self {
        // SAFETY: as for `splat`.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(whole.0));
            Self(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), exponent)))
        }
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [i8; CHUNK], part: usize) {
        // SAFETY: as for `splat`.
        unsafe { store_low_bytes(_mm256_castps_si256(self.0), to, part) }
    }
    #[inline(always)]
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], part: usize) {
        // SAFETY: as for `splat`.
        unsafe {
            let (bits, mask) = (_mm256_castps_si256(self.0), _mm256_set1_epi32(127));
            store_low_bytes(_mm256_and_si256(_mm256_srli_epi32::<7>(bits), mask), high, part);
            store_low_bytes(_mm256_and_si256(bits, mask), low, part);
        }
    }
    #[inline(always)]
    fn root(value: f32) -> f32 {
        root(value)
    }
    #[inline(always)]
    fn sum(parts: &[Self; CHUNK]) -> f32 {
        // SAFETY: as for `splat`.
        unsafe {
            let eight = _mm256_add_ps(parts[0].0, parts[1].0);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn greatest(parts: &[Self; CHUNK]) -> f32 {
        // SAFETY: as for `splat`.
        unsafe {
            let eight = _mm256_max_ps(parts[0].0, parts[1].0);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// libm's is an instruction of SSE, for which an Intel processor waits when AVX has used the registers.
#[inline(always)]
fn root(value: f32) -> f32 {
    // SAFETY: every x86-64 has it; within a function for AVX it becomes AVX's.
    unsafe { _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(value))) }
}

/// Writes the lowest byte of each 32-bit number.
#[inline]
#[target_feature(enable = "avx2")]
fn store_low_bytes(bits: __m256i, to: &mut [i8; CHUNK], part: usize) {
    let order = _mm256_set1_epi32(0x0c08_0400);
    let bytes = _mm256_shuffle_epi8(bits, order);
    let all = [_mm256_extract_epi32::<0>(bytes), _mm256_extract_epi32::<4>(bytes)];
    for (to, bytes) in to[part % 2 * 8..][..8].as_chunks_mut().0.iter_mut().zip(all) {
        *to = bytes.to_le_bytes().map(|byte| byte as i8);
    }
}

/// The upper eight values.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper(all: __m512) -> __m256 {
    _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(all)))
}

impl Lanes for Whole {
    const PARTS: usize = 1;

    plain!(Whole:
        add = _mm512_add_ps; sub = _mm512_sub_ps; mul = _mm512_mul_ps; max = _mm512_max_ps; min = _mm512_min_ps;);

    #[inline(always)]
    fn mul_add(self, times: Self, plus: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, times.0, plus.0) })
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: only functions compiled for AVX-512 use this type.
        Self(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    fn load(from: &[f32; CHUNK], _part: usize) -> Self {
        // SAFETY: as above; the array is the whole register.
        Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }
    #[inline(always)]
    fn convert(from: &[i32; CHUNK], _part: usize) -> Self {
        // SAFETY: as for `load`.
        Self(unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(from.as_ptr().cast())) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; CHUNK], _part: usize) {
        // SAFETY: as for `load`.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as for `splat`.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }
    #[inline(always)]
    fn times_two_to(self, whole: Self) -> Self {
        // SAFETY: as for `splat`.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(whole.0));
            Self(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), exponent)))
        }
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [i8; CHUNK], _part: usize) {
        // SAFETY: as for `load`.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(self.0))) }
    }
    #[inline(always)]
    fn store_digits(self, high: &mut [i8; CHUNK], low: &mut [i8; CHUNK], _part: usize) {
        // SAFETY: as for `load`.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            // Both digits side by side in each number's lowest two bytes: `bits & 0x7f | bits << 1 & 0x7f00`.
            let (shifted, below) = (_mm512_slli_epi32::<1>(bits), _mm512_set1_epi32(0x7f));
            let both = _mm512_ternarylogic_epi32::<0xca>(below, bits, shifted);
            // Then those of four numbers, and of all: two shuffles, where narrowing takes two for each digit.
            let four = _mm512_shuffle_epi8(
                both,
                _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1)),
            );
            let all =
                _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 2, 2, 2, 2, 2, 2, 2), four);
            let digits = _mm256_and_si256(_mm512_castsi512_si256(all), _mm256_set1_epi8(0x7f));
            _mm_storeu_si128(low.as_mut_ptr().cast(), _mm256_castsi256_si128(digits));
            _mm_storeu_si128(high.as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(digits));
        }
    }
    #[inline(always)]
    fn root(value: f32) -> f32 {
        root(value)
    }
    #[inline(always)]
    fn sum(parts: &[Self; CHUNK]) -> f32 {
        // SAFETY: as for `splat`.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(parts[0].0), upper(parts[0].0));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn greatest(parts: &[Self; CHUNK]) -> f32 {
        // SAFETY: as for `splat`.
        unsafe {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(parts[0].0), upper(parts[0].0));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
