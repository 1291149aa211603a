//! Resizing in one dimension to the bit as Pillow does it, for spans where few values weigh much.

use super::{Source, Span};

/// Bits of weights behind the point.
const PRECISION: u32 = 22;

/// The weights of all values of a result.
struct Weights {
    /// Of each value: the first value that weighs, and where its weights end in `all`.
    parts: Vec<(usize, usize)>,
    all: Vec<i32>,
}

impl Weights {
    fn new(span: Span, count: usize) -> Self {
        // Pillow's borders are of 32 bits.
        let (from, to) = (span.from as f32, span.to as f32);
        let scale = f64::from(to - from) / span.size as f64;
        let stretch = scale.max(1.0);
        let support = 2.0 * stretch;
        let (mut parts, mut all) = (Vec::with_capacity(span.size), Vec::with_capacity(span.size * 5));
        let mut weights = Vec::new();
        for at in 0..span.size {
            let center = f64::from(from) + (at as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(count);
            weights.clear();
            weights.extend((first..last).map(|at| catmull_rom((at as f64 - center + 0.5) / stretch)));
            let one = f64::from(1 << PRECISION) / weights.iter().sum::<f64>();
            all.extend(weights.iter().map(|weight| (weight * one).round() as i32));
            parts.push((first, all.len()));
        }
        Self { parts, all }
    }

    /// For each value of the result: the first value that weighs, and the weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut begin = 0;
        self.parts.iter().map(move |(first, end)| (*first, &self.all[std::mem::replace(&mut begin, *end)..*end]))
    }
}

fn catmull_rom(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

fn cut(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

/// Brings a part of every row to a new width.
pub(super) fn rows<const C: usize>((data, rows, columns): Source<'_>, span: Span) -> Vec<u8> {
    let weights = Weights::new(span, columns);
    let mut out = Vec::with_capacity(rows * span.size * C);
    for row in data.chunks_exact(columns * C) {
        let (pixels, _) = row.as_chunks::<C>();
        for (first, weights) in weights.iter() {
            let mut sums = [HALF; C];
            for (pixel, weight) in pixels[first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            out.extend_from_slice(&sums.map(cut));
        }
    }
    out
}

/// Brings a part of every column to a new height.
pub(super) fn columns<const C: usize>((data, rows, columns): Source<'_>, span: Span) -> Vec<u8> {
    let mut out = Vec::with_capacity(span.size * columns * C);
    let mut sums = vec![HALF; columns * C];
    for (first, weights) in Weights::new(span, rows).iter() {
        sums.fill(HALF);
        for (row, weight) in data.chunks_exact(columns * C).skip(first).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.extend(sums.iter().map(|sum| cut(*sum)));
    }
    out
}
