//! Speed of the kernels alone: `cargo run --release -p kernels --example speed`.
use kernels::{block::*, product::*};
use pulp::Arch;
use std::time::Instant;
fn time(label: &str, flops: f64, mut f: impl FnMut()) {
    f();
    let mut best = f64::MAX;
    for _ in 0..20 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
    }
    println!("{label:40} {:8.3} ms {:7.1} GFLOP/s", best * 1e3, flops / best / 1e9);
}
fn main() {
    let arch = Arch::new();
    let vals = |n: usize| (0..n).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect::<Vec<f32>>();
    for (m, k, n) in [
        (130, 192, 768),
        (130, 768, 192),
        (130, 192, 576),
        (130, 192, 192),
        (136, 128, 512),
        (136, 128, 384),
        (128, 512, 512),
    ] {
        let (a, b, mut c) = (vals(m * k), vals(k * n), vec![0.0; m * n]);
        let p = Panels::pack(arch, &b, n, k, n);
        let fl = 2.0 * (m * k * n) as f64;
        time(&format!("fwd packed {m}x{k}x{n}"), fl, || {
            product(arch, m, n, k, Left::Rows(&a, k), Right::Panels(&p), Init::Zero, &mut c, n)
        });
        time(&format!("fwd unpacked {m}x{k}x{n}"), fl, || {
            product(arch, m, n, k, Left::Rows(&a, k), Right::Rows(&b, n), Init::Zero, &mut c, n)
        });
        // dW[k, n] += A^T[k, m] G[m, n]
        let (g, mut w) = (vals(m * n), vec![0.0; k * n]);
        time(&format!("dW {k}x{m}x{n}"), fl, || {
            product(arch, k, n, m, Left::Columns(&a, k), Right::Rows(&g, n), Init::Sum, &mut w, n)
        });
        time(&format!("pack {k}x{n}"), 0.0, || drop(Panels::pack(arch, &b, n, k, n)));
        time(&format!("pack_t {k}x{n}"), 0.0, || drop(Panels::pack_transposed(arch, &b, n, n, k)));
    }
    for (images, tokens, dim, heads) in [(7, 17, 192, 3), (2, 65, 192, 3), (7, 17, 128, 4), (2, 65, 96, 3)] {
        let rows = images * tokens;
        let label = |what: &str| format!("{what} {images}x{tokens}x{dim}");
        let (x, mut y) = (vals(rows * dim * 4), vec![0.0; rows * dim * 4]);
        let mut g = vals(rows * dim * 4);
        time(&label("gelu forward"), 0.0, || kernels::gelu::forward(arch, &x, &mut y));
        time(&label("gelu backward"), 0.0, || kernels::gelu::backward(arch, &x, &mut g, &mut y));
        let (w, mut st, mut s1) = (vals(dim), vec![[0.0; 2]; rows], vec![0.0; 4 * dim]);
        let mut s2 = vec![0.0; dim];
        time(&label("norm forward"), 0.0, || {
            kernels::norm::forward(arch, &x[..rows * dim], &w, &w, 1e-6, &mut y[..rows * dim], &mut st)
        });
        time(&label("norm backward"), 0.0, || {
            kernels::norm::backward(
                arch,
                &g[..rows * dim],
                &x[..rows * dim],
                &w,
                &st,
                &mut y[..rows * dim],
                &mut s1[..dim],
                &mut s2,
            )
        });
        time(&label("column sums of 4D"), 0.0, || kernels::vector::add_rows(arch, &mut s1, &x));
        let shape = kernels::attention::Shape { tokens, dim, heads };
        let (mut sc, mut o) = (vec![0.0; shape.backward_scratch()], vec![0.0; rows * 3 * dim]);
        let fl = (4 * tokens * rows * dim) as f64;
        time(&label("attention forward"), fl, || {
            for i in 0..images {
                kernels::attention::forward(
                    arch,
                    shape,
                    &x[i * tokens * 3 * dim..][..tokens * 3 * dim],
                    &mut y[..tokens * dim],
                    &mut sc[..shape.forward_scratch()],
                )
            }
        });
        time(&label("attention backward"), 2.5 * fl, || {
            for i in 0..images {
                kernels::attention::backward(
                    arch,
                    shape,
                    &x[i * tokens * 3 * dim..][..tokens * 3 * dim],
                    &g[..tokens * dim],
                    &mut o[..tokens * 3 * dim],
                    &mut sc,
                )
            }
        });
    }
    for (batch, tokens, dim, heads) in [(128, 17, 192, 3), (128, 65, 192, 3), (128, 17, 128, 4), (128, 65, 96, 3)] {
        let size = Block { batch, tokens, dim, heads, hidden: 4 * dim, eps: 1e-6 };
        let all: Vec<Vec<f32>> =
            size.parameter_lens().into_array().iter().map(|l| vals(*l).iter().map(|v| v * 0.05).collect()).collect();
        let p = Parameters::from_array(std::array::from_fn(|i| &all[i][..]));
        let x = vals(size.rows() * dim);
        let fl = 2.0 * (size.rows() * (12 * dim * dim + 2 * tokens * dim)) as f64;
        let plan = Plan::detect();
        time(&format!("block forward {batch}x{tokens}x{dim}"), fl, || {
            let _ = size.forward(plan, &x, &p, true);
        });
        let (_, s) = size.forward(plan, &x, &p, true);
        let s = s.unwrap();
        time(&format!("block backward {batch}x{tokens}x{dim}"), 2.0 * fl, || {
            let _ = size.backward(plan, &x, &x, &p, &s);
        });
    }
}
