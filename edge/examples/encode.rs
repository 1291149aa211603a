//! Times the native encoder with random parameters: `cargo run --release -p edge --example encode
//! --no-default-features --features std -- [--kernels NAME] [--threads N] [--rows N] [--profile] [--visible V]
//! [--encodes N]`. ViT-Tiny/16 at 224 pixels.

use common::{
    model::{EncoderSpec, ModelHash, Pooling, PositionKind},
    normalize::PixelStats,
};
use edge::native::{
    Encoder, Kernels, Model, Patches,
    profile::{Profile, Stage},
    random::random_parameters,
    write,
};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: usize| value(name).map_or(default, |text| text.parse().expect("a number"));
    let kernels = value("--kernels").map_or(Kernels::best(), |name| Kernels::named(name).expect("usable kernels"));
    let (threads, rows) = (number("--threads", 1), number("--rows", kernels.rows));

    let spec = EncoderSpec {
        image_height: 224,
        image_width: 224,
        channels: 3,
        patch_size: 16,
        dim: 192,
        depth: 12,
        heads: 3,
        mlp_ratio: 4.0,
        norm_eps: 1e-6,
        position: PositionKind::SinCos2d,
        pooling: Pooling::Cls,
        feature_dim: 192,
        pixels: PixelStats::IMAGENET,
        hash: ModelHash([0; 8]),
    };
    let parameters = random_parameters(&spec, 1);
    let file = write::encoder(&spec, |name| parameters.get(name).map(Vec::as_slice)).expect("a model");
    let mut aligned = vec![edge::native::Line::ZERO; file.len() / 64 + 1];
    bytemuck::cast_slice_mut(&mut aligned)[..file.len()].copy_from_slice(&file);
    let bytes = &bytemuck::cast_slice(&aligned)[..file.len()];
    let start = Instant::now();
    let model = Model::parse(bytes).expect("a model");
    let workspace = edge::native::Shape::of(&spec).expect("a shape").workspace(196, rows, threads) * 64;
    println!("workspace {workspace} bytes, model {} bytes", bytes.len());
    println!("{} threads {threads} rows {rows}; parse {:.2} ms", kernels.name, start.elapsed().as_secs_f64() * 1e3);

    let start = Instant::now();
    if let Some(products) = kernels.peak(200_000) {
        println!("peak {:.0} G multiply-adds/s", products as f64 / start.elapsed().as_secs_f64() / 1e9);
    }

    let only = number("--visible", 0);
    for visible in [16_usize, 49, 64, 196] {
        if only != 0 && only != visible {
            continue;
        }
        let mut encoder = Encoder::allocate_rows(model, kernels, 196, threads, rows).expect("an encoder");
        let ids: Vec<u32> = (0..visible as u32).collect();
        let pixels: Vec<u8> = (0..visible * 768).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
        // A fixed number, for counting instructions.
        let encodes = number("--encodes", 0);
        for _ in 0..encodes {
            std::hint::black_box(encoder.encode(Patches::Pixels(&pixels), &ids).expect("features"));
        }
        if encodes > 0 {
            continue;
        }
        let mut times = Vec::new();
        let until = Instant::now();
        while until.elapsed().as_secs_f64() < 1.0 || times.len() < 10 {
            let start = Instant::now();
            std::hint::black_box(encoder.encode(Patches::Pixels(&pixels), &ids).expect("features"));
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("V {visible:3}: median {:.3} ms, least {:.3} ms", times[times.len() / 2], times[0]);
        if arguments.iter().any(|a| a == "--profile") {
            let profile = Profile::start();
            for _ in 0..100 {
                std::hint::black_box(
                    encoder.encode_with(Patches::Pixels(&pixels), &ids, &profile).expect("features"),
                );
            }
            for (stage, seconds) in Stage::ALL.iter().zip(profile.seconds()) {
                println!("      {:18} {:.3} ms", stage.name(), seconds * 10.0);
            }
        }
    }
}
