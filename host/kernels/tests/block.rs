//! The block against the same mathematics in f64, written plainly, on random sizes.

use kernels::{
    block::{Block, Branches, Parameters, Plan},
    vector::every_arch,
};
use proptest::prelude::*;

type Matrix = Vec<Vec<f64>>;

fn values(count: usize, seed: u32, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32 * 2.0 - 1.0
    };
    (0..count).map(|_| next() * scale).collect()
}

fn matrix(data: &[f32], width: usize) -> Matrix {
    data.chunks(width).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect()
}

fn linear(x: &Matrix, weight: &[f32], bias: &[f32]) -> Matrix {
    let outputs = bias.len();
    let one = |row: &Vec<f64>, j: usize| {
        let sum: f64 = row.iter().enumerate().map(|(i, x)| x * f64::from(weight[i * outputs + j])).sum();
        sum + f64::from(bias[j])
    };
    x.iter().map(|row| (0..outputs).map(|j| one(row, j)).collect()).collect()
}

fn norm(x: &Matrix, weight: &[f32], bias: &[f32], eps: f64) -> Matrix {
    let one = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = (variance + eps).sqrt();
        let columns = row.iter().zip(weight).zip(bias);
        columns.map(|((v, w), b)| (v - mean) / scale * f64::from(*w) + f64::from(*b)).collect()
    };
    x.iter().map(one).collect()
}

/// Phi(x) by integrating the density (Simpson).
fn gelu(x: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let (steps, h) = (200, x / 200.0);
    let weight = |i: i32| {
        if i == 0 || i == steps {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let integral: f64 = (0..=steps).map(|i| weight(i) * density(f64::from(i) * h)).sum::<f64>() * h / 3.0;
    x * (0.5 + integral)
}

fn block(size: &Block, x: &[f32], p: &Parameters<&[f32]>, factors: Option<&[Vec<f32>; 2]>) -> Matrix {
    let (d, eps) = (size.dim, f64::from(size.eps));
    let x = matrix(x, d);
    let qkv = linear(&norm(&x, p.norm1_weight, p.norm1_bias, eps), p.qkv_weight, p.qkv_bias);
    let width = d / size.heads;
    let mut attended = vec![vec![0.0; d]; x.len()];
    for (image, out) in qkv.chunks(size.tokens).zip(attended.chunks_mut(size.tokens)) {
        for head in 0..size.heads {
            for (query, out) in image.iter().zip(out.iter_mut()) {
                let at = |part: usize| part * d + head * width..part * d + (head + 1) * width;
                let dot = |key: &Vec<f64>| query[at(0)].iter().zip(&key[at(1)]).map(|(q, k)| q * k).sum::<f64>();
                let scores: Vec<f64> = image.iter().map(|key| (dot(key) / (width as f64).sqrt()).exp()).collect();
                let total: f64 = scores.iter().sum();
                for (i, out) in out[head * width..(head + 1) * width].iter_mut().enumerate() {
                    *out = scores.iter().zip(image).map(|(s, v)| s / total * v[at(2)][i]).sum();
                }
            }
        }
    }
    let add = |a: &Matrix, b: Matrix, branch: usize| -> Matrix {
        let factor = |row: usize| factors.map_or(1.0, |factors| f64::from(factors[branch][row / size.tokens]));
        let rows = a.iter().zip(b).enumerate();
        rows.map(|(row, (a, b))| a.iter().zip(b).map(|(a, b)| a + factor(row) * b).collect()).collect()
    };
    let middle = add(&x, linear(&attended, p.proj_weight, p.proj_bias), 0);
    let mut hidden = linear(&norm(&middle, p.norm2_weight, p.norm2_bias, eps), p.fc1_weight, p.fc1_bias);
    hidden.iter_mut().flatten().for_each(|v| *v = gelu(*v));
    add(&middle, linear(&hidden, p.fc2_weight, p.fc2_bias), 1)
}

/// Nothing, or factors of the branches of which some are 0.
fn factors(size: &Block, seed: u32, some: bool) -> Option<[Vec<f32>; 2]> {
    let draw = |seed| values(size.batch, seed, 2.0).iter().map(|v| v.max(0.0)).collect();
    some.then(|| [draw(seed + 11), draw(seed + 12)])
}

fn branches(factors: &Option<[Vec<f32>; 2]>) -> Option<Branches<'_>> {
    factors.as_ref().map(|[attention, mlp]| Branches { attention, mlp })
}

fn parameters(size: &Block, seed: u32) -> Vec<Vec<f32>> {
    let lens = size.parameter_lens().into_array();
    let mut all: Vec<Vec<f32>> = lens.iter().zip(seed..).map(|(len, seed)| values(*len, seed, 0.4)).collect();
    for norm in [0, 6] {
        all[norm].iter_mut().for_each(|v| *v += 1.0);
    }
    all
}

fn slices(all: &[Vec<f32>]) -> Parameters<&[f32]> {
    Parameters::from_array(std::array::from_fn(|i| &all[i][..]))
}

fn sizes() -> impl Strategy<Value = Block> {
    (1..4_usize, 1..20_usize, 1..4_usize, 1..7_usize, 1..30_usize).prop_map(
        |(batch, tokens, heads, width, hidden)| Block { batch, tokens, dim: heads * width, heads, hidden, eps: 1e-6 },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn outputs_equal_the_plain_block(
        size in sizes(), seed in 0..1000_u32, shards in 1..5_usize, save: bool, drop: bool,
    ) {
        // A row of one or two numbers is all rounding after its norm.
        prop_assume!(size.dim > 2);
        let (x, all) = (values(size.rows() * size.dim, seed + 77, 1.0), parameters(&size, seed));
        let factors = factors(&size, seed, drop);
        let expected = block(&size, &x, &slices(&all), factors.as_ref());
        for arch in every_arch() {
            let (found, saved) = size.forward(Plan { arch, shards }, &x, &slices(&all), branches(&factors), save);
            prop_assert_eq!(saved.is_some(), save);
            for (found, expected) in found.iter().zip(expected.iter().flatten()) {
                let bound = 1e-5 * expected.abs().max(1.0);
                prop_assert!((f64::from(*found) - expected).abs() < bound, "{arch:?} {found} {expected}");
            }
        }
    }

}

proptest! {
    // Fewer, for the many evaluations of each.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_equal_central_differences(size in sizes(), seed in 0..1000_u32, shards in 1..5_usize, drop: bool) {
        prop_assume!(size.dim > 2);
        let (x, all) = (values(size.rows() * size.dim, seed + 77, 1.0), parameters(&size, seed));
        let (weights, factors) = (values(x.len(), seed + 99, 1.0), factors(&size, seed, drop));
        let loss = |x: &[f32], all: &[Vec<f32>]| -> f64 {
            let out = block(&size, x, &slices(all), factors.as_ref());
            out.iter().flatten().zip(&weights).map(|(z, w)| z * f64::from(*w)).sum()
        };
        // A slope by central differences in f64, with two steps, so that the error is of fourth order. The steps are
        // those that f32 really makes.
        let slope = |at: f32, loss: &dyn Fn(f32) -> f64| {
            let difference = |step: f32| {
                let (above, below) = (at + step, at - step);
                (loss(above) - loss(below)) / (f64::from(above) - f64::from(below))
            };
            (4.0 * difference(1.0 / 2048.0) - difference(1.0 / 1024.0)) / 3.0
        };
        for arch in every_arch() {
            let plan = Plan { arch, shards };
            let (_, saved) = size.forward(plan, &x, &slices(&all), branches(&factors), true);
            let saved = saved.expect("saved");
            let gradients = size.backward(plan, &weights, &x, &slices(&all), branches(&factors), &saved);
            let close = |found: f32, exact: f64, scale: f64| (f64::from(found) - exact).abs() < 2e-4 * scale.max(1.0);
            for (which, found) in gradients.parameters.into_array().iter().enumerate() {
                prop_assert_eq!(found.len(), all[which].len());
                let scale = found.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
                for at in [0, found.len() / 2, found.len() - 1] {
                    let exact = slope(all[which][at], &|value| {
                        let mut all = all.clone();
                        all[which][at] = value;
                        loss(&x, &all)
                    });
                    let found = found[at];
                    prop_assert!(close(found, exact, scale), "{arch:?}: parameter {which}[{at}]: {found} {exact}");
                }
            }
            let scale = gradients.x.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
            for at in [0, x.len() / 3, x.len() - 1] {
                let exact = slope(x[at], &|value| {
                    let mut x = x.clone();
                    x[at] = value;
                    loss(&x, &all)
                });
                prop_assert!(close(gradients.x[at], exact, scale), "{arch:?}: x[{at}]: {} {exact}", gradients.x[at]);
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing_for_the_same_shards() {
    let size = Block { batch: 9, tokens: 17, dim: 24, heads: 3, hidden: 40, eps: 1e-6 };
    let (x, all) = (values(size.rows() * size.dim, 5, 1.0), parameters(&size, 6));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let plan = Plan { shards: 4, ..Plan::detect() };
            let (out, saved) = size.forward(plan, &x, &slices(&all), None, true);
            let gradients = size.backward(plan, &out, &x, &slices(&all), None, &saved.expect("saved"));
            (out, gradients.x, gradients.parameters)
        })
    };
    assert_eq!(run(1), run(3));
}
