//! Every set of kernels gives the bits of the portable one, on any shape.

use super::*;
use crate::native::{
    float::{Heads, Scaling},
    format::Norm,
    lanes::{CHUNK, Lanes},
    layout::{STEP, TILE, padded_n},
    product::Product,
    softmax::HeadScales,
};
use proptest::prelude::*;

/// The sets beside the portable one.
fn others() -> impl Iterator<Item = &'static Kernels> {
    Kernels::all().skip(1)
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// In [-1, 1).
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn floats(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count).map(|_| self.float() * bound).collect()
    }

    fn bytes(&mut self, count: usize, least: i8) -> Vec<i8> {
        (0..count).map(|_| (self.next() as i8).max(least)).collect()
    }

    fn sums(&mut self, count: usize) -> Vec<i32> {
        (0..count).map(|_| (self.next() >> 44) as i32 - (1 << 19)).collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn products(
        m in 1_usize..70, n in 1_usize..100, steps in 1_usize..40, spare in 0_usize..5, wide in 0_usize..3, seed: u64,
        unsigned: bool,
    ) {
        let mut random = Random(seed);
        let k = steps * STEP;
        let (lda, ldc) = (k + spare, padded_n(n) + spare);
        // Strided as a head's keys (steps close by, tiles apart) or values (tiles close by, steps apart).
        let tiles = padded_n(n) / TILE;
        let layouts = [(k * TILE * (wide + 1), TILE * STEP), (TILE * STEP, TILE * STEP * tiles * (wide + 1))];
        for (b_tile, b_step) in layouts {
            let a = random.bytes(m * lda, if unsigned { 0 } else { -128 });
            let b = random.bytes((tiles - 1) * b_tile + (steps - 1) * b_step + TILE * STEP, -127);
            let run = |kernels: &Kernels| {
                let mut c = vec![7; m * ldc];
                let product = Product { a: &a, unsigned, lda, m, b: &b, b_tile, b_step, n, k, c: &mut c, ldc };
                let done = (kernels.product)(product);
                assert!(done);
                c
            };
            let expected = run(Kernels::portable());
            for kernels in others() {
                prop_assert!(run(kernels) == expected, "{}", kernels.name);
            }
        }
    }

    /// Products that the check refuses write nothing, and none reads or writes outside.
    #[test]
    fn products_of_any_fields(
        (m, n, k) in (0_usize..20, 0_usize..70, 0_usize..40),
        (lda, ldc) in (0_usize..50, 0_usize..90),
        (b_tile, b_step) in (0_usize..3000, 0_usize..200),
        (a, b, c) in (0_usize..700, 0_usize..9000, 0_usize..1500),
    ) {
        let (a, b) = (vec![1; a], vec![1; b]);
        for kernels in Kernels::all() {
            let mut sums = vec![-1; c];
            let unsigned = n % 2 == 0;
            let product = Product { a: &a, unsigned, lda, m, b: &b, b_tile, b_step, n, k, c: &mut sums, ldc };
            let fits = product.check();
            prop_assert_eq!((kernels.product)(product), fits);
            prop_assert!(fits || sums.iter().all(|sum| *sum == -1));
        }
    }

    #[test]
    fn norms_and_quantisation(length in 1_usize..100, spare in 0_usize..5, bound in 1e-3_f32..1e3, seed: u64) {
        let mut random = Random(seed);
        let [x, gamma, beta] = [bound, 2.0, 1.0].map(|bound| random.floats(length, bound));
        let run = |kernels: &Kernels| {
            let (passes, norm) = (&kernels.passes, Norm { gamma: &gamma, beta: &beta });
            let mut y = vec![0.0; length];
            let (mut bytes, mut rounded) = (vec![9; length + spare], vec![9; length + spare]);
            let peak = (passes.norm)(&x, norm, 1e-6, &mut y);
            let scale = (passes.quantize)(&y, peak, &mut bytes);
            (passes.rounded)(&y, 1.0 / scale, &mut rounded);
            (bits(&y), bits(&[peak, scale, (passes.peak)(&y)]), bytes, rounded)
        };
        let expected = run(Kernels::portable());
        prop_assert!(expected.2[length..].iter().chain(&expected.3[length..]).all(|pad| *pad == 0));
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
    }

    #[test]
    fn linear_outputs(length in 1_usize..100, factor in 1e-4_f32..1e-1, seed: u64) {
        let mut random = Random(seed);
        let sums = random.sums(length);
        let [scale, bias, x] = [1e-3, 1.0, 5.0].map(|bound| random.floats(length, bound));
        let run = |kernels: &Kernels| {
            let scaling = Scaling { factor, scale: &scale, bias: &bias };
            let (mut x, mut out) = (x.clone(), vec![0.0; length]);
            (kernels.passes.add)(&mut x, &sums, scaling);
            let peak = (kernels.passes.gelu_of)(&sums, scaling, &mut out);
            (bits(&x), bits(&out), peak.to_bits())
        };
        let expected = run(Kernels::portable());
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
    }

    #[test]
    fn heads(width in 1_usize..70, heads in 1_usize..5, spare in 0_usize..20, seed: u64) {
        let mut random = Random(seed);
        let (length, slot) = (width * heads, width + spare);
        let sums = random.sums(length);
        let [scale, bias] = [1e-3, 1.0].map(|bound| random.floats(length, bound));
        let run = |kernels: &Kernels| {
            let (mut out, mut scales) = (vec![9; heads * slot], vec![0.0; heads * 16]);
            let target = Heads { width, out: &mut out, slot, scales: &mut scales };
            let scaling = Scaling { factor: 0.01, scale: &scale, bias: &bias };
            (kernels.passes.heads)(&sums, scaling, &mut vec![0.0; width], target);
            (out, bits(&scales))
        };
        let expected = run(Kernels::portable());
        for head in expected.0.chunks(slot) {
            prop_assert!(head[width..].iter().all(|pad| *pad == 0));
            prop_assert!(head[..width].iter().any(|value| value.abs() == 127));
        }
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
    }

    #[test]
    fn pixels(length in 1_usize..200, seed: u64) {
        let mut random = Random(seed);
        let x = random.floats(length, 3.0);
        let maps = [(); 2].map(|()| [(); 3].map(|()| core::array::from_fn(|_| random.float() * 60.0)));
        let run = |kernels: &Kernels| {
            let mut out = vec![0.0; length];
            let (least, greatest) = (kernels.passes.pixels)(&x, maps.each_ref(), &mut out);
            (bits(&out), bits(&[least, greatest]))
        };
        let expected = run(Kernels::portable());
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
    }

    /// Equal bits, and the weights that the digits stand for are those of a softmax in f64.
    #[test]
    fn softmax(tokens in 1_usize..100, heads in 1_usize..4, spread in 1e-4_f32..1e-2, seed: u64) {
        let mut random = Random(seed);
        let padded = padded_n(tokens);
        let scores = random.sums(padded);
        let stride = heads * TILE;
        let [key, value] = [(); 2].map(|()| {
            let mut scales: Vec<f32> = (0..padded * heads).map(|_| 0.01 + random.float().abs()).collect();
            scales[(tokens / TILE * heads) * TILE..].iter_mut().for_each(|scale| *scale += 0.1);
            scales
        });
        let scale_of = |scales: &[f32], token: usize| scales[token / TILE * stride + token % TILE];
        let greatest = (0..tokens).map(|token| scale_of(&value, token)).fold(0.0, f32::max);
        let run = |kernels: &Kernels| {
            let mut room = vec![f32::NAN; HeadScales::room(padded)];
            let scales = HeadScales::gather(&key, &value, stride, tokens, &mut room);
            let (mut high, mut low) = (vec![9; padded], vec![9; padded]);
            let top = (kernels.passes.top)(&scores, scales);
            let back = (kernels.passes.softmax)(&scores, scales, top, spread, &mut high, &mut low);
            (high, low, bits(&[top, back]))
        };
        let expected = run(Kernels::portable());
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
        let (high, low, back) = expected;
        let score = |token: usize| f64::from(scores[token]) * f64::from(scale_of(&key, token) * spread);
        let top = (0..tokens).map(score).fold(f64::MIN, f64::max);
        let numerators: Vec<f64> = (0..tokens).map(|token| (score(token) - top).exp2()).collect();
        let sum: f64 = numerators.iter().sum();
        for token in 0..padded {
            let digits = f64::from(high[token]) * 128.0 + f64::from(low[token]);
            if token >= tokens {
                prop_assert_eq!(digits, 0.0);
                continue;
            }
            let weight = numerators[token] / sum * f64::from(scale_of(&value, token));
            let found = digits * f64::from(f32::from_bits(back[1]));
            prop_assert!((weight - found).abs() < 1e-3 * weight + f64::from(greatest) / sum / 16_000.0);
        }
    }

    #[test]
    fn attended(width in 1_usize..70, seed: u64) {
        let mut random = Random(seed);
        let padded = padded_n(width);
        let (high, low) = (random.sums(padded), random.sums(padded));
        let run = |kernels: &Kernels| {
            let mut out = vec![0.0; width];
            (kernels.passes.attended)(&high, &low, 1e-5, &mut out);
            bits(&out)
        };
        let expected = run(Kernels::portable());
        for kernels in others() {
            prop_assert!(run(kernels) == expected, "{}", kernels.name);
        }
    }
}

/// The stated bound of `exp2`, over its whole range.
#[test]
fn powers_of_two() {
    for i in 0..=1_000_000 {
        let x = -100.0 * i as f32 / 1_000_000.0;
        let exact = f64::from(x).exp2();
        let error = (f64::from(crate::native::float::exp2(x)) - exact).abs() / exact;
        assert!(error < 3e-6, "{x}: {error}");
    }
    assert_eq!(crate::native::float::exp2(-1e30_f32), crate::native::float::exp2(-100.0));
}

/// The stated bound of GELU, against the error function in f64.
#[test]
fn gelu() {
    let exact = |x: f64| x * 0.5 * (1.0 + libm::erf(x * core::f64::consts::FRAC_1_SQRT_2));
    for i in -100_000..=100_000 {
        let x = i as f32 / 10_000.0;
        let found = crate::native::float::gelu(x);
        let error = (f64::from(found) - exact(f64::from(x))).abs();
        assert!(error < 2e-4, "{x}: {error}");
        assert!(x.abs() < 4.0 || found == x.max(0.0), "{x}: {found}");
    }
    assert_eq!(crate::native::float::gelu(-3e38_f32), 0.0);
    assert_eq!(crate::native::float::gelu(3e38_f32), 3e38);
}

/// Where a test run says what this machine has, nothing of it is passed over.
#[test]
fn expected_sets_are_here() {
    if let Ok(expected) = std::env::var("EXPECT_KERNELS") {
        let names: Vec<_> = Kernels::all().map(|kernels| kernels.name).collect();
        assert_eq!(names.join(" "), expected);
    }
}

#[test]
fn names_are_found() {
    for kernels in Kernels::all() {
        assert_eq!(Kernels::named(kernels.name).unwrap().name, kernels.name);
    }
    assert!(Kernels::named("none").is_none());
    assert_eq!(Kernels::all().count(), 1 + others().count());
    assert_eq!(<f32 as Lanes>::PARTS, CHUNK);
}
