//! Time of a bare training step: `cargo run --release -p host --example step_time [PRESET] [BATCH]`.
use burn::tensor::{Device, Tensor, TensorData};
use common::mask::MaskKind;
use host::{
    model::{Mae, MaskBatch},
    train::{
        config::Preset,
        optimizer::{AdamWHyper, Optimizer},
    },
};
use std::time::Instant;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let preset = Preset::named(args.get(1).map_or("pico-32", |s| s)).unwrap();
    let batch: usize = args.get(2).map_or(128, |s| s.parse().unwrap());
    let device = Device::flex().autodiff();
    let grid = preset.model.grid().unwrap();
    let mut model = Mae::new(&preset.model, 0, &device).unwrap();
    let mut opt = Optimizer::new(AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: 0.05 });
    let mut times = vec![];
    for step in 0..15 {
        let n = batch * grid.image_len();
        let v: Vec<f32> = (0..n).map(|i| ((i * 7 + step) % 97) as f32 / 50.0 - 1.0).collect();
        let t = Instant::now();
        let masks = MaskBatch::draw(MaskKind::Random, &grid, grid.patches() / 4, 0, (step * batch) as u64, batch);
        let x = Tensor::from_data(TensorData::new(v, [batch, grid.patches(), grid.patch_dim()]), &device);
        let loss = model.forward(x, &masks).loss;
        let t1 = t.elapsed();
        let g = loss.backward();
        let t2 = t.elapsed();
        model = opt.step(model, g, 1e-3);
        let l: f32 = loss.inner().into_scalar();
        times.push(t.elapsed().as_secs_f64() * 1e3);
        if step > 10 {
            println!("{step} loss {l:.5} fwd {t1:?} bwd {:?} opt {:?}", t2 - t1, t.elapsed() - t2);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("median {:.1} ms, {:.0} img/s", times[7], batch as f64 / times[7] * 1e3);
}
