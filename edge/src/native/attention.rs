//! Queries, keys and values of a range of tokens, and attention.

use super::{
    float::{Heads, Scaling},
    format::Block,
    job::{Job, quantized_norm, run},
    layout::{STEP, TILE, padded_k, padded_n},
    product::Product,
    profile::{Profiler, Stage},
    softmax::HeadScales,
    token_range::{KeysValues, TokenRange, scales_at},
    workspace::Scratch,
};

/// From the residual stream to queries, keys and values.
pub(super) fn project(job: &Job<'_, impl Profiler>, block: &Block<'_>, range: TokenRange<'_>) {
    let Job { kernels, shape, plan, .. } = job;
    let passes = &kernels.passes;
    let TokenRange { count, x, queries, query_scales, next, scratch, .. } = range;
    let mut scratch = Scratch::new(plan, scratch);
    let (dim, heads) = (shape.dim, shape.heads);
    let width = dim / heads;
    let (key_row, value_row) = (heads * plan.key_slot, heads * plan.value_slot);
    let ldc = padded_n(3 * dim);
    let qkv = &block.qkv;

    for (index, x) in x[..count * dim].chunks(plan.rows * dim).enumerate() {
        let (start, rows) = (index * plan.rows, x.len() / dim);
        quantized_norm(job, block.norm1, x, &mut scratch);
        job.profiler.mark(Stage::Norm);
        run(kernels, qkv.product(scratch.quantized, padded_k(dim), rows, scratch.sums, ldc));
        job.profiler.mark(Stage::Product);

        // The activations are used up: their place takes four tokens' keys and values.
        let (four_keys, rest) = scratch.quantized.split_at_mut(4 * key_row);
        let four_values = &mut rest[..4 * value_row];
        for from in (0..rows).step_by(STEP) {
            let group = (rows - from).min(STEP);
            for member in 0..group {
                let row = from + member;
                let token = start + row;
                let at = scales_at(token, heads);
                let sums = &scratch.sums[row * ldc..][..3 * dim];
                let key = &mut four_keys[member * key_row..][..key_row];
                let value = &mut four_values[member * value_row..][..value_row];
                let query = &mut queries[token * key_row..][..key_row];
                let targets = [
                    Heads { width, out: query, slot: plan.key_slot, scales: &mut query_scales[at..] },
                    Heads { width, out: key, slot: plan.key_slot, scales: &mut next.key_scales[at..] },
                    Heads { width, out: value, slot: plan.value_slot, scales: &mut next.value_scales[at..] },
                ];
                for (third, target) in targets.into_iter().enumerate() {
                    let own = third * dim..(third + 1) * dim;
                    let (scale, bias) = (&qkv.scale[own.clone()], &qkv.bias[own.clone()]);
                    let scaling = Scaling { factor: scratch.scales[row], scale, bias };
                    (passes.heads)(&sums[own], scaling, scratch.wide, target);
                }
            }
            // The four tokens are neighbours in their tile.
            four_keys[group * key_row..].fill(0);
            let token = start + from;
            let tile = &mut next.keys[token / TILE * key_row * TILE..][..key_row * TILE];
            four_by_four(four_keys, key_row, tile, token % TILE * STEP);
            four_values[group * value_row..].fill(0);
            let values = &mut next.values[(start + from) * value_row..][..4 * value_row];
            interleave(four_values, value_row, values);
        }
        job.profiler.mark(Stage::Heads);
    }
}

/// `[4][K / 4][4]` to `[K / 4][4][4]`, each 16 bytes at `at` of the next 64.
fn four_by_four(rows: &[i8], width: usize, tile: &mut [i8], at: usize) {
    let (first, second) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
    let [a, b, c, d] = [a, b, c, d].map(|row| row.as_chunks::<STEP>().0);
    let targets = tile.as_chunks_mut::<{ TILE * STEP }>().0;
    for ((((target, a), b), c), d) in targets.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        for (to, from) in target[at..].as_chunks_mut::<STEP>().0.iter_mut().zip([a, b, c, d]) {
            *to = *from;
        }
    }
}

/// `[4][W]` to `[W][4]`.
fn interleave(rows: &[i8], width: usize, out: &mut [i8]) {
    let (first, second) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
    for ((((out, a), b), c), d) in out.as_chunks_mut::<4>().0.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *out = [*a, *b, *c, *d];
    }
}

/// Attention of some queries to all tokens.
pub(super) struct Attention<'w> {
    /// `[R, H * slot]`, the queries of these rows.
    pub(super) queries: &'w [i8],
    /// `[.., H][16]`, the scales of the range's queries.
    pub(super) query_scales: &'w [f32],
    /// The first of these rows in the range.
    pub(super) start: usize,
    /// Rows (R).
    pub(super) rows: usize,
    /// All keys and values.
    pub(super) seen: KeysValues<'w>,
}

impl Attention<'_> {
    /// Writes the attended values, `[R, D]`, into `scratch.wide`.
    pub(super) fn run(&self, job: &Job<'_, impl Profiler>, scratch: &mut Scratch<'_>) {
        let shape = job.shape;
        let room = core::mem::take(&mut scratch.head_scales);
        for head in 0..shape.heads {
            let scales = self.scales(job, head, room);
            for from in (0..self.rows).step_by(job.plan.attention_rows) {
                let rows = (self.rows - from).min(job.plan.attention_rows);
                self.some(job, scratch, head, scales, from, rows);
            }
        }
        scratch.head_scales = room;
    }

    fn scales<'r>(&self, job: &Job<'_, impl Profiler>, head: usize, room: &'r mut [f32]) -> HeadScales<'r> {
        let (keys, values) = (&self.seen.key_scales[head * TILE..], &self.seen.value_scales[head * TILE..]);
        let room = &mut room[..HeadScales::room(padded_n(job.tokens))];
        HeadScales::gather(keys, values, job.shape.heads * TILE, job.tokens, room)
    }

    /// One head of some rows.
    fn some(
        &self,
        job: &Job<'_, impl Profiler>,
        scratch: &mut Scratch<'_>,
        head: usize,
        scales: HeadScales<'_>,
        from: usize,
        rows: usize,
    ) {
        let Job { kernels, shape, plan, tokens, .. } = job;
        let width = shape.dim / shape.heads;
        let (key_row, value_row) = (shape.heads * plan.key_slot, shape.heads * plan.value_slot);
        let padded = padded_n(*tokens);
        let (scores, outputs) = scratch.sums.split_at_mut(rows * padded);
        run(
            kernels,
            Product {
                a: &self.queries[from * key_row + head * plan.key_slot..],
                unsigned: false,
                lda: key_row,
                m: rows,
                b: &self.seen.keys[head * plan.key_slot * TILE..],
                b_tile: key_row * TILE,
                b_step: TILE * STEP,
                n: *tokens,
                k: plan.key_slot,
                c: scores,
                ldc: padded,
            },
        );
        job.profiler.mark(Stage::AttentionProduct);

        let to_powers_of_two = core::f32::consts::LOG2_E / libm::sqrtf(width as f32);
        let (high, low) = scratch.digits.split_at_mut(rows * padded);
        let digits = high.chunks_exact_mut(padded).zip(low.chunks_exact_mut(padded));
        // The tops of all rows first: then no row waits for its own.
        for (top, scores) in scratch.peaks.iter_mut().zip(scores.chunks_exact(padded)) {
            *top = (kernels.passes.top)(scores, scales);
        }
        for (row, (scores, (high, low))) in scores.chunks_exact(padded).zip(digits).enumerate() {
            let at = scales_at(self.start + from + row, shape.heads) + head * TILE;
            let factor = self.query_scales[at] * to_powers_of_two;
            scratch.scales[row] = (kernels.passes.softmax)(scores, scales, scratch.peaks[row], factor, high, low);
        }
        job.profiler.mark(Stage::Softmax);
        run(
            kernels,
            Product {
                a: scratch.digits,
                unsigned: true,
                lda: padded,
                m: 2 * rows,
                b: &self.seen.values[head * plan.value_slot * STEP..],
                b_tile: TILE * STEP,
                b_step: value_row * STEP,
                n: width,
                k: padded_k(*tokens),
                c: outputs,
                ldc: plan.value_slot,
            },
        );
        job.profiler.mark(Stage::AttentionProduct);

        let (high, low) = outputs.split_at(rows * plan.value_slot);
        let sums = high.chunks_exact(plan.value_slot).zip(low.chunks_exact(plan.value_slot));
        for (row, (high, low)) in sums.take(rows).enumerate() {
            let out = &mut scratch.wide[(from + row) * shape.dim + head * width..][..width];
            (kernels.passes.attended)(high, low, scratch.scales[row], out);
        }
        job.profiler.mark(Stage::Softmax);
    }
}
