//! How fast each kernel is on this machine, on the chunk sizes of pico-32 and tiny-32, best of twenty:
//! `cargo run --release -p kernels --example speed` (`RAYON_NUM_THREADS=1` for whole blocks on one thread); in f32,
//! then with products in bf16 if this machine has instructions for them.

use kernels::{
    Engine,
    attention::{self, InputGrads, Inputs, Shape},
    block::{Block, Input, Parameters, Plan},
    gelu, norm,
    product::{Init, Left, Panels, Right, product},
    vector,
};
use std::{hint::black_box, time::Instant};

fn main() {
    println!("{:34} {:>9} {:>10}", "", "ms", "GFLOP/s");
    for engine in std::iter::once(Engine::f32()).chain(Engine::bf16()) {
        println!("{}", engine.products().map_or("f32", |bf16| bf16.name()));
        products(engine);
        parts(engine);
        blocks(engine);
    }
}

/// Prints the best time of a function that does `flops` operations in matrix products.
fn time(label: &str, flops: usize, mut function: impl FnMut()) {
    function();
    let run = |_| {
        let begun = Instant::now();
        function();
        begun.elapsed().as_secs_f64()
    };
    let best = (0..20).map(run).fold(f64::MAX, f64::min);
    let speed = if flops > 0 { format!("{:.0}", flops as f64 / best / 1e9) } else { String::new() };
    println!("{label:34} {:9.3} {speed:>10}", best * 1e3);
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

fn products(engine: Engine) {
    for (rows, depth, columns) in [(130, 192, 768), (130, 768, 192), (130, 192, 192), (119, 128, 512), (130, 96, 384)]
    {
        let size = format!("{rows}x{depth}x{columns}");
        let (a, b, grad) = (values(rows * depth), values(depth * columns), values(rows * columns));
        let (mut c, mut weight) = (vec![0.0; rows * columns], vec![0.0; depth * columns]);
        let panels = Panels::pack(engine, &b, columns, depth, columns);
        let flops = 2 * rows * depth * columns;
        time(&format!("x w         {size}"), flops, || {
            let (a, b) = (Left::Rows(&a, depth), Right::Panels(&panels));
            product(engine, rows, columns, depth, a, b, Init::Zero, &mut c, columns);
        });
        time(&format!("dw += x' dy {size}"), flops, || {
            let (a, b) = (Left::Columns(&a, depth), Right::Rows(&grad, columns));
            product(engine, depth, columns, rows, a, b, Init::Sum, &mut weight, columns);
        });
        time(&format!("pack w'     {depth}x{columns}"), 0, || {
            black_box(Panels::pack_transposed(engine, &b, columns, columns, depth));
        });
    }
}

/// What a chunk needs beside its large products.
fn parts(engine: Engine) {
    let arch = engine.arch();
    for (images, tokens, dim, heads) in [(7, 17, 192, 3), (1, 65, 192, 3), (7, 17, 128, 4), (1, 65, 96, 3)] {
        let (rows, size) = (images * tokens, format!("{images}x{tokens}x{dim}"));
        let (x, mut grad, mut out) = (values(rows * dim * 4), values(rows * dim * 4), vec![0.0; rows * dim * 4]);
        time(&format!("gelu forward       {size}"), 0, || gelu::forward(arch, &x, &mut out));
        time(&format!("gelu backward      {size}"), 0, || gelu::backward(arch, &x, &mut grad, &mut out));
        let (weight, mut sums, mut statistics) = (values(dim), vec![0.0; 4 * dim], vec![[0.0; 2]; rows]);
        let narrow = rows * dim;
        time(&format!("norm forward       {size}"), 0, || {
            norm::forward(arch, &x[..narrow], &weight, &weight, 1e-6, &mut out[..narrow], &mut statistics);
        });
        let (mut weight_grad, mut bias_grad) = (vec![0.0; dim], vec![0.0; dim]);
        time(&format!("norm backward      {size}"), 0, || {
            let (grad, x, out) = (&grad[..narrow], &x[..narrow], &mut out[..narrow]);
            norm::backward(arch, grad, x, &weight, &statistics, out, &mut weight_grad, &mut bias_grad);
        });
        time(&format!("bias gradient      {size}"), 0, || vector::add_rows(arch, &mut sums, &x));
        let shape = Shape { queries: tokens, keys: tokens, dim, heads };
        let mut scratch = vec![0.0; shape.backward_scratch()];
        let flops = 4 * tokens * rows * dim;
        let image = tokens * dim;
        time(&format!("attention forward  {size}"), flops, || {
            for (qkv, out) in x.chunks_exact(3 * image).zip(out.chunks_exact_mut(image)).take(images) {
                attention::forward(
                    engine,
                    shape,
                    Inputs::Together(qkv),
                    out,
                    &mut scratch[..shape.forward_scratch()],
                );
            }
        });
        time(&format!("attention backward {size}"), flops * 5 / 2, || {
            let images = x.chunks_exact(3 * image).zip(grad.chunks_exact(image)).take(images);
            for ((qkv, grad), out) in images.zip(out.chunks_exact_mut(3 * image)) {
                attention::backward(
                    engine,
                    shape,
                    Inputs::Together(qkv),
                    grad,
                    InputGrads::Together(out),
                    &mut scratch,
                );
            }
        });
    }
}

/// Blocks on 128 images: encoders, and the paper's decoders of pico-32 and tiny-96 beside those that predict half of
/// the removed patches, that attend to visible tokens alone, and that do both.
fn blocks(engine: Engine) {
    for (tokens, context, dim, heads) in [
        (17, 0, 192, 3),
        (17, 0, 128, 4),
        (65, 0, 96, 3),
        (41, 0, 96, 3),
        (48, 17, 96, 3),
        (24, 17, 96, 3),
        (145, 0, 192, 3),
        (91, 0, 192, 3),
        (108, 37, 192, 3),
        (54, 37, 192, 3),
    ] {
        block(engine, Block { batch: 128, tokens, context, dim, heads, hidden: 4 * dim, eps: 1e-6 });
    }
}

fn block(engine: Engine, block: Block) {
    let plan = Plan::with(engine);
    let Block { batch, tokens, context, dim, .. } = block;
    let parameter = |len: usize| values(len).iter().map(|v| v * 0.05).collect::<Vec<f32>>();
    let parameters = block.parameter_lens().into_array().map(parameter);
    let parameters = Parameters::from_array(parameters.each_ref().map(Vec::as_slice));
    let (x, other) = (values(block.rows() * dim), values(batch * context * dim));
    let keys = if context == 0 { tokens } else { context };
    let linears = 10 * tokens * dim * dim + 2 * keys * dim * dim;
    let flops = 2 * batch * (linears + 2 * tokens * keys * dim);
    let size = if context == 0 { format!("{tokens}x{dim}") } else { format!("{tokens} to {context}x{dim}") };
    let input = Input { x: &x, context: &other, parameters: &parameters, branches: None };
    time(&format!("block forward      128x{size}"), flops, || {
        black_box(block.forward(plan, input, true));
    });
    let (_, Some(saved)) = block.forward(plan, input, true) else { return };
    time(&format!("block backward     128x{size}"), 2 * flops, || {
        black_box(block.backward(plan, &x, input, &saved));
    });
}
