//! The block against the same mathematics in f64, written plainly, on random sizes.

use kernels::{
    Engine,
    block::{Block, Branches, Gradients, Input, Parameters, Plan},
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

/// What a block reads, in vectors.
#[derive(Clone)]
struct Case {
    x: Vec<f32>,
    context: Vec<f32>,
    parameters: Vec<Vec<f32>>,
    factors: Option<[Vec<f32>; 2]>,
}

impl Case {
    fn draw(size: &Block, seed: u32, drop: bool) -> Self {
        Self {
            x: values(size.rows() * size.dim, seed + 77, 1.0),
            context: values(size.batch * size.context * size.dim, seed + 88, 1.0),
            parameters: parameters(size, seed),
            factors: factors(size, seed, drop),
        }
    }

    /// Calls `function` with the block's view of this.
    fn read<T>(&self, function: impl FnOnce(Input<'_>) -> T) -> T {
        let branches = self.factors.as_ref().map(|[attention, mlp]| Branches { attention, mlp });
        function(Input { x: &self.x, context: &self.context, parameters: &slices(&self.parameters), branches })
    }
}

fn block(size: &Block, case: &Case) -> Matrix {
    let (d, eps, p) = (size.dim, f64::from(size.eps), slices(&case.parameters));
    let x = matrix(&case.x, d);
    let qkv = linear(&norm(&x, p.norm1_weight, p.norm1_bias, eps), p.qkv_weight, p.qkv_bias);
    let others = linear(&matrix(&case.context, d), p.qkv_weight, p.qkv_bias);
    let (others, keys) = if size.context == 0 { (&qkv, size.tokens) } else { (&others, size.context) };
    let width = d / size.heads;
    let mut attended = vec![vec![0.0; d]; x.len()];
    let images = qkv.chunks(size.tokens).zip(others.chunks(keys)).zip(attended.chunks_mut(size.tokens));
    for ((image, others), out) in images {
        for head in 0..size.heads {
            for (query, out) in image.iter().zip(out.iter_mut()) {
                let at = |part: usize| part * d + head * width..part * d + (head + 1) * width;
                let dot = |key: &Vec<f64>| query[at(0)].iter().zip(&key[at(1)]).map(|(q, k)| q * k).sum::<f64>();
                let scores: Vec<f64> = others.iter().map(|key| (dot(key) / (width as f64).sqrt()).exp()).collect();
                let total: f64 = scores.iter().sum();
                for (i, out) in out[head * width..(head + 1) * width].iter_mut().enumerate() {
                    *out = scores.iter().zip(others).map(|(s, v)| s / total * v[at(2)][i]).sum();
                }
            }
        }
    }
    let factors = case.factors.as_ref();
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
    let context = prop_oneof![Just(0), 1..20_usize];
    (1..4_usize, 1..20_usize, context, 1..4_usize, 1..7_usize, 1..30_usize).prop_map(
        |(batch, tokens, context, heads, width, hidden)| Block {
            batch,
            tokens,
            context,
            dim: heads * width,
            heads,
            hidden,
            eps: 1e-6,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn outputs_equal_the_plain_block(
        size in sizes(), seed in 0..1000_u32, shards in 1..5_usize, save: bool, drop: bool,
    ) {
        // A row of one or two numbers is all rounding after its norm.
        prop_assume!(size.dim > 2);
        let case = Case::draw(&size, seed, drop);
        let expected = block(&size, &case);
        for arch in every_arch() {
            let (found, saved) = case.read(|input| size.forward(Plan { engine: arch.into(), shards }, input, save));
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
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gradients_equal_central_differences(size in sizes(), seed in 0..1000_u32, shards in 1..5_usize, drop: bool) {
        prop_assume!(size.dim > 2);
        let case = Case::draw(&size, seed, drop);
        let weights = values(case.x.len(), seed + 99, 1.0);
        // A slope by central differences in f64, with two steps, so that the error is of fourth order. The steps are
        // those that f32 really makes.
        let slope = |place: &dyn Fn(&mut Case) -> &mut f32| {
            let loss = |value: f32| -> f64 {
                let mut case = case.clone();
                *place(&mut case) = value;
                let out = block(&size, &case);
                out.iter().flatten().zip(&weights).map(|(z, w)| z * f64::from(*w)).sum()
            };
            let at = *place(&mut case.clone());
            let difference = |step: f32| {
                let (above, below) = (at + step, at - step);
                (loss(above) - loss(below)) / (f64::from(above) - f64::from(below))
            };
            (4.0 * difference(1.0 / 2048.0) - difference(1.0 / 1024.0)) / 3.0
        };
        let largest = |found: &[f32]| found.iter().fold(1.0, |m: f64, v| m.max(f64::from(v.abs())));
        for arch in every_arch() {
            let plan = Plan { engine: arch.into(), shards };
            let gradients = case.read(|input| {
                let (_, saved) = size.forward(plan, input, true);
                size.backward(plan, &weights, input, &saved.expect("saved"))
            });
            let close = |found: f32, exact: f64, scale: f64| (f64::from(found) - exact).abs() < 2e-4 * scale;
            for (which, found) in gradients.parameters.into_array().iter().enumerate() {
                prop_assert_eq!(found.len(), case.parameters[which].len());
                let scale = largest(found);
                for at in [0, found.len() / 2, found.len() - 1] {
                    let exact = slope(&|case| &mut case.parameters[which][at]);
                    let found = found[at];
                    prop_assert!(close(found, exact, scale), "{arch:?}: parameter {which}[{at}]: {found} {exact}");
                }
            }
            let (x, context) = (&gradients.x, &gradients.context);
            prop_assert_eq!((x.len(), context.len()), (case.x.len(), case.context.len()));
            for at in [0, x.len() / 3, x.len() - 1] {
                let exact = slope(&|case| &mut case.x[at]);
                prop_assert!(close(x[at], exact, largest(x)), "{arch:?}: x[{at}]: {} {exact}", x[at]);
            }
            for at in [0, context.len() / 3, context.len().max(1) - 1].into_iter().filter(|at| *at < context.len()) {
                let (exact, found) = (slope(&|case| &mut case.context[at]), context[at]);
                prop_assert!(close(found, exact, largest(context)), "{arch:?}: context[{at}]: {found} {exact}");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing_for_the_same_shards() {
    let engines = || std::iter::once(Engine::f32()).chain(Engine::bf16());
    for (context, engine) in [0, 11].into_iter().flat_map(|context| engines().map(move |engine| (context, engine))) {
        let size = Block { batch: 9, tokens: 17, context, dim: 24, heads: 3, hidden: 40, eps: 1e-6 };
        let case = Case::draw(&size, 5, false);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                case.read(|input| {
                    let plan = Plan { shards: 4, engine };
                    let (out, saved) = size.forward(plan, input, true);
                    let gradients = size.backward(plan, &out, input, &saved.expect("saved"));
                    (out, gradients.x, gradients.context, gradients.parameters)
                })
            })
        };
        assert_eq!(run(1), run(3));
    }
}

/// Tokens that attend to a context do not see one another.
#[test]
fn with_a_context_a_token_is_computed_by_itself() {
    let size = Block { batch: 2, tokens: 6, context: 5, dim: 12, heads: 3, hidden: 20, eps: 1e-6 };
    let case = Case::draw(&size, 8, false);
    let plan = Plan { shards: 1, ..Plan::detect() };
    let (all, _) = case.read(|input| size.forward(plan, input, false));
    let rows = |data: &[f32]| -> Vec<f32> { data.chunks(6 * 12).flat_map(|image| image[24..48].to_vec()).collect() };
    let some = Case { x: rows(&case.x), ..case };
    let (found, _) = some.read(|input| Block { tokens: 2, ..size }.forward(plan, input, false));
    assert_eq!(found, rows(&all));
}

/// Outputs and gradients of an encoder's and a decoder's block.
fn run_in(engine: Engine, size: &Block, case: &Case, grad: &[f32]) -> Vec<Vec<f32>> {
    let plan = Plan { engine, shards: 2 };
    case.read(|input| {
        let (out, saved) = size.forward(plan, input, true);
        let Gradients { parameters, x, context } = size.backward(plan, grad, input, &saved.expect("saved"));
        parameters.into_array().into_iter().chain([out, x, context]).collect()
    })
}

/// Length of a difference beside that of what it is compared with.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let differences = &mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
    length(differences) / length(&mut expected.iter().map(|v| f64::from(*v))).max(1e-9)
}

/// A number rounded to bf16 is off by a 256th at most, and a sum of such products by less, as their errors are
/// independent; a gradient goes through four products, and a norm's statistics.
#[test]
fn in_bf16_outputs_and_gradients_are_near_those_in_f32() {
    for (tokens, context) in [(17, 0), (65, 0), (24, 17)] {
        let size = Block { batch: 5, tokens, context, dim: 64, heads: 4, hidden: 256, eps: 1e-6 };
        let case = Case::draw(&size, 21, false);
        let smaller = |p: Vec<f32>| p.iter().map(|v| v * 0.3).collect();
        let case = Case { parameters: case.parameters.into_iter().map(smaller).collect(), ..case };
        let grad = values(case.x.len(), 4, 1.0);
        let exact = run_in(Engine::f32(), &size, &case, &grad);
        let portable = run_in(Engine::portable_bf16(Engine::f32().arch()), &size, &case, &grad);
        let native = Engine::bf16().map(|engine| run_in(engine, &size, &case, &grad));
        for (which, (exact, portable)) in exact.iter().zip(&portable).enumerate() {
            let off = distance(portable, exact);
            assert!(off < 0.008, "{tokens}, {context}: {which} is off by {off}");
            // A sum in another order may round to the next bf16.
            let off = native.as_ref().map_or(0.0, |native| distance(&native[which], portable));
            assert!(off < 0.002, "{tokens}, {context}: {which} is off the emulation by {off}");
        }
    }
}
