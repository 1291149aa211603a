//! What is not a product of integers, in f32: written once, compiled for each machine. Attention's part is in
//! [`softmax`](super::softmax).
//!
//! See [`Lanes`] for why all machines give the same bits.
#![expect(clippy::needless_range_loop, reason = "the part names its place in several arrays at once")]

use super::{
    format::Norm,
    fused::fused,
    lanes::{CHUNK, Lanes, MAGIC},
};

/// What turns integer sums into values: `sum * (factor * scale[n]) + bias[n]`.
#[derive(Debug, Clone, Copy)]
pub struct Scaling<'a> {
    /// The scale of the row's activations.
    pub factor: f32,
    /// `[N]`: the scale of each output's weights.
    pub scale: &'a [f32],
    /// `[N]`: added to each output.
    pub bias: &'a [f32],
}

/// Where [`heads`] puts the heads of a row.
#[derive(Debug)]
pub struct Heads<'a> {
    /// Width of a head.
    pub width: usize,
    /// `[H, slot]`: each head's values, then zeros up to `slot`.
    pub out: &'a mut [i8],
    /// Bytes from a head to the next, at least `width`.
    pub slot: usize,
    /// The scale of head h goes to `[h * 16]`.
    pub scales: &'a mut [f32],
}

/// Runs `$body` for each whole chunk of the slices and once for a chunk of what is left, padded with `$pad`.
macro_rules! chunks {
    ($x:expr, $pad:expr, |$chunk:ident| $body:block) => {
        let (whole, rest) = $x.as_chunks::<CHUNK>();
        for $chunk in whole {
            $body
        }
        if !rest.is_empty() {
            let $chunk = &padded(rest, $pad);
            $body
        }
    };
}

/// `x` and then `pad`.
#[inline(always)]
fn padded<T: Copy>(x: &[T], pad: T) -> [T; CHUNK] {
    let mut chunk = [pad; CHUNK];
    for (to, from) in chunk.iter_mut().zip(x) {
        *to = *from;
    }
    chunk
}

/// Writes as much of `chunk` as there is room.
#[inline(always)]
pub(super) fn cut<T: Copy>(chunk: &[T; CHUNK], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(chunk) {
        *to = *from;
    }
}

/// `e^x` needs `2^x`; here for x <= 0, those below -100 as -100. Relative error below 3e-6.
#[inline(always)]
pub fn exp2<L: Lanes>(x: L) -> L {
    let x = x.max(L::splat(-100.0));
    let shifted = x.add(L::splat(MAGIC));
    let rest = x.sub(shifted.sub(L::splat(MAGIC)));
    // By pairs (Estrin's scheme), which is shorter to wait for than term by term.
    let square = rest.mul(rest);
    let low = rest.mul_add(L::splat(0.693_121_85), L::splat(0.999_999_3));
    let high = rest.mul_add(L::splat(0.055_917_72), L::splat(0.240_247_46));
    let power = square.mul_add(L::splat(0.009_569_983), high).mul_add(square, low);
    power.times_two_to(shifted)
}

/// `x * Phi(x)`, the erf form of GELU. Absolute error below 2e-4; exactly x from 4 and exactly 0 down from -4, where
/// the true one differs by at most 1.3e-4.
#[inline(always)]
pub fn gelu<L: Lanes>(x: L) -> L {
    let t = x.min(L::splat(4.0)).max(L::splat(-4.0));
    let u = t.mul_add(t, L::splat(-16.0));
    // By pairs, as above.
    let square = u.mul(u);
    let low = u.mul_add(L::splat(2.707_752_6e-4), L::splat(-3.826_917e-3));
    let middle = u.mul_add(L::splat(7.396_443e-6), L::splat(2.772_988_6e-5));
    let high = u.mul_add(L::splat(2.258_822e-8), L::splat(5.796_413e-7));
    let q = high.mul_add(square, middle).mul_add(square, low);
    let slope = q.mul_add(u, L::splat(0.125));
    x.mul(slope.mul_add(t, L::splat(0.5)))
}

/// LayerNorm of a token. `x`, `out`: `[D]`. The greatest magnitude of the result.
#[inline(always)]
pub fn norm<L: Lanes>(x: &[f32], norm: Norm<'_>, eps: f32, out: &mut [f32]) -> f32 {
    let count = x.len() as f32;
    let mut sums = [L::splat(0.0); CHUNK];
    chunks!(x, 0.0, |chunk| {
        for part in 0..L::PARTS {
            sums[part] = sums[part].add(L::load(chunk, part));
        }
    });
    let mean = L::sum(&sums) / count;
    let mut squares = [L::splat(0.0); CHUNK];
    chunks!(x, mean, |chunk| {
        for part in 0..L::PARTS {
            let centred = L::load(chunk, part).sub(L::splat(mean));
            squares[part] = centred.mul_add(centred, squares[part]);
        }
    });
    let inverse = 1.0 / L::root(L::sum(&squares) / count + eps);

    let mut peaks = [L::splat(0.0); CHUNK];
    let (x, x_rest) = x.as_chunks::<CHUNK>();
    let (gamma, gamma_rest) = norm.gamma.as_chunks::<CHUNK>();
    let (beta, beta_rest) = norm.beta.as_chunks::<CHUNK>();
    let (out, out_rest) = out.as_chunks_mut::<CHUNK>();
    for (((x, gamma), beta), out) in x.iter().zip(gamma).zip(beta).zip(out) {
        for part in 0..L::PARTS {
            let y = normed::<L>([x, gamma, beta], mean, inverse, part);
            y.store(out, part);
            peaks[part] = peaks[part].max(y.abs());
        }
    }
    if !x_rest.is_empty() {
        let mut last = [0.0; CHUNK];
        let (x, gamma, beta) = (padded(x_rest, mean), padded(gamma_rest, 0.0), padded(beta_rest, 0.0));
        for part in 0..L::PARTS {
            let y = normed::<L>([&x, &gamma, &beta], mean, inverse, part);
            y.store(&mut last, part);
            peaks[part] = peaks[part].max(y.abs());
        }
        cut(&last, out_rest);
    }
    L::greatest(&peaks)
}

#[inline(always)]
fn normed<L: Lanes>([x, gamma, beta]: [&[f32; CHUNK]; 3], mean: f32, inverse: f32, part: usize) -> L {
    let centred = L::load(x, part).sub(L::splat(mean)).mul(L::splat(inverse));
    centred.mul_add(L::load(gamma, part), L::load(beta, part))
}

/// The greatest magnitude of `x`.
#[inline(always)]
pub fn peak<L: Lanes>(x: &[f32]) -> f32 {
    let mut peaks = [L::splat(0.0); CHUNK];
    chunks!(x, 0.0, |chunk| {
        for part in 0..L::PARTS {
            peaks[part] = peaks[part].max(L::load(chunk, part).abs());
        }
    });
    L::greatest(&peaks)
}

/// Quantises a row whose greatest magnitude is `peak` to -127..=127, ties to even; what is left of `out` becomes
/// zero. The row's scale.
#[inline(always)]
pub fn quantize<L: Lanes>(x: &[f32], peak: f32, out: &mut [i8]) -> f32 {
    let (inverse, scale) = scale_of(peak);
    rounded::<L>(x, inverse, out);
    scale
}

/// Multiplies by `inverse` and rounds, ties to even; what is left of `out` becomes zero.
#[inline(always)]
pub fn rounded<L: Lanes>(x: &[f32], inverse: f32, out: &mut [i8]) {
    let (used, left) = out.split_at_mut(x.len().min(out.len()));
    let (x, x_rest) = x.as_chunks::<CHUNK>();
    let (out, out_rest) = used.as_chunks_mut::<CHUNK>();
    for (x, out) in x.iter().zip(out) {
        let mut whole = [L::splat(0.0); CHUNK];
        for part in 0..L::PARTS {
            whole[part] = round::<L>(L::load(x, part), inverse);
        }
        L::store_all_bytes(&whole, out);
    }
    if !x_rest.is_empty() {
        let (x, mut last) = (padded(x_rest, 0.0), [0; CHUNK]);
        for part in 0..L::PARTS {
            round::<L>(L::load(&x, part), inverse).store_bytes(&mut last, part);
        }
        cut(&last, out_rest);
    }
    left.fill(0);
}

#[inline(always)]
fn round<L: Lanes>(x: L, inverse: f32) -> L {
    x.mul_add(L::splat(inverse), L::splat(MAGIC))
}

/// What a row with this greatest magnitude is multiplied by, and the scale that this undoes. Rows of zeros, too.
#[inline(always)]
fn scale_of(peak: f32) -> (f32, f32) {
    let peak = if peak > 1e-30 { peak } else { 1e-30 };
    (127.0 / peak, peak * (1.0 / 127.0))
}

/// Queries, keys or values of one token: `sums` (`[H * width]`, padded to whole chunks if it is the row's end) become
/// values, each head is quantised with a scale of its own. `scratch`: at least the head's width in whole chunks.
#[inline(always)]
pub fn heads<L: Lanes>(sums: &[i32], scaling: Scaling<'_>, scratch: &mut [f32], heads: Heads<'_>) {
    let Heads { width, out, slot, scales } = heads;
    let rows = sums.chunks_exact(width).zip(scaling.scale.chunks_exact(width)).zip(scaling.bias.chunks_exact(width));
    for ((((sums, scale), bias), out), to) in rows.zip(out.chunks_exact_mut(slot)).zip(scales.chunks_mut(CHUNK)) {
        let values = &mut scratch[..width];
        let peak = scaled::<L, false>(sums, Scaling { factor: scaling.factor, scale, bias }, values);
        let (inverse, own) = scale_of(peak);
        rounded::<L>(values, inverse, out);
        if let Some(to) = to.first_mut() {
            *to = own;
        }
    }
}

/// GELU of a linear layer's outputs. `sums`, `out`: `[N]`. The greatest magnitude.
#[inline(always)]
pub fn gelu_of<L: Lanes>(sums: &[i32], scaling: Scaling<'_>, out: &mut [f32]) -> f32 {
    scaled::<L, true>(sums, scaling, out)
}

#[inline(always)]
fn scaled<L: Lanes, const GELU: bool>(sums: &[i32], scaling: Scaling<'_>, out: &mut [f32]) -> f32 {
    let mut peaks = [L::splat(0.0); CHUNK];
    let (out, out_rest) = out.as_chunks_mut::<CHUNK>();
    let rest = out_rest.len();
    let at = out.len() * CHUNK;
    let whole = sums.as_chunks().0.iter().zip(scaling.scale.as_chunks().0).zip(scaling.bias.as_chunks().0);
    for (((sums, scale), bias), out) in whole.zip(out) {
        for part in 0..L::PARTS {
            let y = activated::<L, GELU>(value::<L>(sums, scaling.factor, [scale, bias], part));
            y.store(out, part);
            peaks[part] = peaks[part].max(y.abs());
        }
    }
    if rest > 0 {
        let (sums, scale) = (padded(&sums[at..at + rest], 0), padded(&scaling.scale[at..at + rest], 0.0));
        let (bias, mut last) = (padded(&scaling.bias[at..at + rest], 0.0), [0.0; CHUNK]);
        for part in 0..L::PARTS {
            let y = activated::<L, GELU>(value::<L>(&sums, scaling.factor, [&scale, &bias], part));
            y.store(&mut last, part);
            peaks[part] = peaks[part].max(y.abs());
        }
        cut(&last, out_rest);
    }
    L::greatest(&peaks)
}

#[inline(always)]
fn activated<L: Lanes, const GELU: bool>(x: L) -> L {
    if GELU { gelu(x) } else { x }
}

#[inline(always)]
fn value<L: Lanes>(sums: &[i32; CHUNK], factor: f32, [scale, bias]: [&[f32; CHUNK]; 2], part: usize) -> L {
    L::convert(sums, part).mul_add(L::splat(factor).mul(L::load(scale, part)), L::load(bias, part))
}

/// Adds a linear layer's outputs to `x`, the residual stream. `x`: `[D]`.
#[inline(always)]
pub fn add<L: Lanes>(x: &mut [f32], sums: &[i32], scaling: Scaling<'_>) {
    let (x, x_rest) = x.as_chunks_mut::<CHUNK>();
    let at = x.len() * CHUNK;
    let whole = sums.as_chunks().0.iter().zip(scaling.scale.as_chunks().0).zip(scaling.bias.as_chunks().0);
    for (((sums, scale), bias), x) in whole.zip(x) {
        for part in 0..L::PARTS {
            let y = value::<L>(sums, scaling.factor, [scale, bias], part);
            L::load(x, part).add(y).store(x, part);
        }
    }
    let rest = sums[at..].iter().zip(&scaling.scale[at..]).zip(&scaling.bias[at..]);
    for (((sum, scale), bias), x) in rest.zip(x_rest) {
        *x += fused(*sum as f32, scaling.factor * scale, *bias);
    }
}

/// Brings normalised pixels back to where 8 bits hold them: `out = x * factor + offset`, with the channels' factors
/// and offsets repeated over 48 values. The least and the greatest result. `x`, `out`: `[P]`.
#[inline(always)]
pub fn pixels<L: Lanes>(x: &[f32], [factor, offset]: [&[[f32; CHUNK]; 3]; 2], out: &mut [f32]) -> (f32, f32) {
    let (mut least, mut greatest) = ([L::splat(0.0); CHUNK], [L::splat(0.0); CHUNK]);
    let (x, x_rest) = x.as_chunks::<CHUNK>();
    let (out, out_rest) = out.as_chunks_mut::<CHUNK>();
    let mut third = 0;
    for (x, out) in x.iter().zip(out) {
        for part in 0..L::PARTS {
            let y = L::load(x, part).mul_add(L::load(&factor[third], part), L::load(&offset[third], part));
            y.store(out, part);
            least[part] = least[part].max(L::splat(0.0).sub(y));
            greatest[part] = greatest[part].max(y);
        }
        third = if third == 2 { 0 } else { third + 1 };
    }
    let (mut least, mut greatest) = (-L::greatest(&least), L::greatest(&greatest));
    for (((x, factor), offset), out) in x_rest.iter().zip(&factor[third]).zip(&offset[third]).zip(out_rest) {
        let y = fused(*x, *factor, *offset);
        *out = y;
        least = if y < least { y } else { least };
        greatest = if y > greatest { y } else { greatest };
    }
    (least, greatest)
}
