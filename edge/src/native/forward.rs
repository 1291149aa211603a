//! The forward pass over a range of tokens: patch embedding, and attention with the MLP of one block.

use super::{
    attention::Attention,
    float::Scaling,
    format::{Block, Linear},
    job::{Job, Patches, quantized_norm, run},
    layout::{TILE, padded_k, padded_n},
    pack::{PACKED_STEP, packed_tile},
    product::Product,
    profile::{Profiler, Stage},
    token_range::{KeysValues, TokenRange},
    workspace::{PANEL, Scratch},
};

/// Patches to tokens, with their positions, and the class token.
pub(super) fn embed(job: &Job<'_, impl Profiler>, range: TokenRange<'_>) {
    let Job { kernels, shape, plan, .. } = job;
    let TokenRange { first, count, x, scratch, .. } = range;
    let Scratch { quantized, sums, wide, scales, .. } = Scratch::new(plan, scratch);
    let (dim, linear, positions) = (shape.dim, job.model.patch_embed(), job.model.positions());
    let (lda, ldc) = (padded_k(shape.patch_dim), padded_n(dim));
    for (index, x) in x[..count * dim].chunks_mut(plan.rows * dim).enumerate() {
        let token = first + index * plan.rows;
        // The first token is the class token, patch i is token i + 1.
        let (class, x) = x.split_at_mut(if token == 0 { dim } else { 0 });
        if token == 0 {
            class.copy_from_slice(job.model.cls());
        }
        let (patch, rows) = (token.saturating_sub(1), x.len() / dim);
        for row in 0..rows {
            let out = &mut quantized[row * lda..][..lda];
            scales[row] = patch_row(job, patch + row, out, wide);
        }
        run(kernels, linear.product(quantized, lda, rows, sums, ldc));
        for (row, x) in x.chunks_exact_mut(dim).enumerate() {
            let position = &positions[job.ids_keep[patch + row] as usize * dim..][..dim];
            x.fill(0.0);
            let scaling = Scaling { factor: scales[row], scale: &linear.scale[..dim], bias: position };
            (kernels.passes.add)(x, &sums[row * ldc..][..dim], scaling);
        }
        job.profiler.mark(Stage::Embedding);
    }
}

/// One patch as 8-bit integers, and their scale.
fn patch_row(job: &Job<'_, impl Profiler>, patch: usize, out: &mut [i8], scratch: &mut [f32]) -> f32 {
    let (length, passes) = (job.shape.patch_dim, &job.kernels.passes);
    match job.patches {
        Patches::Pixels(pixels) => {
            for (out, pixel) in out.iter_mut().zip(&pixels[patch * length..][..length]) {
                *out = (pixel ^ 0x80) as i8;
            }
            out[length..].fill(0);
            1.0
        }
        Patches::Values(values) => {
            let raw = &mut scratch[..length];
            let (least, greatest) =
                (passes.pixels)(&values[patch * length..][..length], job.pixel_map.each_ref(), raw);
            // Pixels that were normalised come back with a small error, which must not make the scale greater than 1;
            // 127.25 still rounds to 127.
            let scale = [1.0, greatest / 127.25, least / -128.25].into_iter().fold(0.0, f32::max);
            (passes.rounded)(raw, 1.0 / scale, out);
            scale
        }
    }
}

/// Attention and the MLP of one block.
pub(super) fn mix(job: &Job<'_, impl Profiler>, block: &Block<'_>, seen: KeysValues<'_>, range: TokenRange<'_>) {
    let Job { kernels, shape, plan, .. } = job;
    let passes = &kernels.passes;
    let TokenRange { count, x, queries, query_scales, scratch, .. } = range;
    let mut scratch = Scratch::new(plan, scratch);
    let (dim, key_row) = (shape.dim, shape.heads * plan.key_slot);
    for (index, x) in x[..count * dim].chunks_mut(plan.rows * dim).enumerate() {
        let (start, rows) = (index * plan.rows, x.len() / dim);
        let queries = &queries[start * key_row..];
        Attention { queries, query_scales, start, rows, seen }.run(job, &mut scratch);

        let lda = padded_k(dim);
        let values = scratch.wide.chunks_exact(dim).zip(scratch.quantized.chunks_exact_mut(lda));
        for ((values, out), scale) in values.zip(&mut scratch.scales[..rows]) {
            *scale = (passes.quantize)(values, (passes.peak)(values), out);
        }
        job.profiler.mark(Stage::Residual);
        residual(job, &block.proj, lda, x, &mut scratch);
        quantized_norm(job, block.norm2, x, &mut scratch);
        job.profiler.mark(Stage::Norm);
        hidden(job, &block.fc1, rows, &mut scratch);
        residual(job, &block.fc2, padded_k(shape.mlp_dim), x, &mut scratch);
    }
}

/// Adds a linear layer of the rows in `scratch.quantized` to `x`.
fn residual(job: &Job<'_, impl Profiler>, linear: &Linear<'_>, lda: usize, x: &mut [f32], scratch: &mut Scratch<'_>) {
    let (dim, ldc) = (job.shape.dim, padded_n(job.shape.dim));
    run(job.kernels, linear.product(scratch.quantized, lda, x.len() / dim, scratch.sums, ldc));
    job.profiler.mark(Stage::Product);
    let rows = x.chunks_exact_mut(dim).zip(scratch.sums.chunks_exact(ldc)).zip(scratch.scales.iter());
    for ((x, sums), factor) in rows {
        let scaling = Scaling { factor: *factor, scale: &linear.scale[..dim], bias: &linear.bias[..dim] };
        (job.kernels.passes.add)(x, &sums[..dim], scaling);
    }
    job.profiler.mark(Stage::Residual);
}

/// The MLP's first layer and GELU, of the rows in `scratch.quantized`, quantised again into the same place.
fn hidden(job: &Job<'_, impl Profiler>, linear: &Linear<'_>, rows: usize, scratch: &mut Scratch<'_>) {
    let passes = &job.kernels.passes;
    let Scratch { quantized, sums, wide, scales, peaks, .. } = scratch;
    let (lda, mlp) = (padded_k(job.shape.dim), job.shape.mlp_dim);
    peaks.fill(0.0);
    for column in (0..mlp).step_by(PANEL) {
        let n = (mlp - column).min(PANEL);
        let ldc = padded_n(n);
        let b_tile = packed_tile(linear.k);
        let b = &linear.weight[column / TILE * b_tile..];
        let (b_step, k) = (PACKED_STEP, linear.k_padded);
        run(
            job.kernels,
            Product { a: quantized, unsigned: false, lda, m: rows, b, b_tile, b_step, n, k, c: sums, ldc },
        );
        job.profiler.mark(Stage::Product);
        let (scale, bias) = (&linear.scale[column..][..n], &linear.bias[column..][..n]);
        for (row, (sums, out)) in sums.chunks_exact(ldc).zip(wide.chunks_exact_mut(mlp)).take(rows).enumerate() {
            let scaling = Scaling { factor: scales[row], scale, bias };
            let peak = (passes.gelu_of)(&sums[..n], scaling, &mut out[column..][..n]);
            peaks[row] = if peak > peaks[row] { peak } else { peaks[row] };
        }
        job.profiler.mark(Stage::Gelu);
    }
    let values = wide.chunks_exact(mlp).zip(quantized.chunks_exact_mut(padded_k(mlp))).take(rows);
    for (row, (values, out)) in values.enumerate() {
        scales[row] = (passes.quantize)(values, peaks[row], out);
    }
    job.profiler.mark(Stage::Residual);
}
