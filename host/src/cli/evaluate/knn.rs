//! `host evaluate knn`.

use super::sets::Sets;
use crate::{
    checkpoint::Tensors,
    cli::images::{Prepared, bar},
    evaluate::{
        features::{Choice, pooled, with_burn},
        knn::{Labelled, accuracy},
    },
    model::{BurnEncoder, Mae, MaeConfig, weights},
    train::run_folder::load_encoder,
};
use burn::tensor::Device;
use common::model::{EncoderSpec, Pooling};
use edge::{exit::misuse, linux::run::Pool, select::Select};
use std::path::PathBuf;

/// Options of `host evaluate knn`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run folder or a model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Training images, one folder a class.
    #[arg(long, value_name = "DIR")]
    train: PathBuf,
    /// Test images, one folder a class.
    #[arg(long, value_name = "DIR")]
    test: PathBuf,
    /// Neighbours.
    #[arg(long, value_name = "K", default_value_t = 20)]
    k: usize,
    /// Votes are weighted by exp(cosine / temperature).
    #[arg(long, value_name = "T", default_value_t = 0.07)]
    temperature: f32,
    /// Share of patches to encode.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    keep: f64,
    /// How patches are chosen [default: all if --keep is 1, else random].
    #[arg(long, value_enum)]
    select: Option<Select>,
    /// Which feature to compare [default: the model's].
    #[arg(long, value_enum)]
    pool: Option<Pool>,
    /// Also evaluate the same encoder with random weights, and raw pixels.
    #[arg(long)]
    baselines: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints accuracies.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let choice = Choice::new(args.select, args.keep, 0)?;
    if args.k == 0 || !(args.temperature.is_finite() && args.temperature > 0.0) {
        return Err(misuse("--k must be at least 1 and --temperature positive"));
    }
    let (spec, tensors) = load_encoder(&args.model)?;
    let pooling = args.pool.map_or(spec.pooling, Pooling::from);
    let Sets { train, test, train_labels, test_labels, .. } = Sets::read(&args.train, &args.test, &spec, None)?;

    let mut rows = Vec::new();
    let mut judge = |name: &'static str, train: Vec<Vec<f32>>, test: Vec<Vec<f32>>| -> anyhow::Result<()> {
        let train = Labelled { rows: train, labels: train_labels.clone() };
        let test = Labelled { rows: test, labels: test_labels.clone() };
        let accuracy = accuracy(&train, &test, args.k, args.temperature)?;
        if !args.json {
            edge::say!("{name:<16} {:>6.2} %", accuracy * 100.0);
        }
        rows.push((name, accuracy));
        Ok(())
    };
    if !args.json {
        edge::say!(
            "kNN accuracy, k = {}, cosine, {} training and {} test images",
            args.k,
            train.images.len(),
            test.images.len()
        );
    }
    let encode = |tensors: &Tensors, images: &Prepared| -> anyhow::Result<Vec<Vec<f32>>> {
        let bar = bar(images.images.len(), "encoding");
        let encoder = BurnEncoder::new(&spec, tensors)?;
        let features = with_burn(&encoder, &spec, &images.images, choice, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(features.into_iter().map(|features| pooled(features, pooling)).collect())
    };
    judge("trained", encode(&tensors, &train)?, encode(&tensors, &test)?)?;
    if args.baselines {
        let config = MaeConfig::for_encoder(&spec);
        let random = weights::to_tensors(&Mae::new(&config, 0, &Device::flex())?, &config.grid()?)?;
        judge("random weights", encode(&random, &train)?, encode(&random, &test)?)?;
        let pixels = |images: &Prepared| images.images.iter().map(|pixels| raw(&spec, pixels)).collect::<Vec<_>>();
        judge("raw pixels", pixels(&train), pixels(&test))?;
    }
    if args.json {
        let rows: serde_json::Map<_, _> =
            rows.iter().map(|(name, accuracy)| (name.replace(' ', "_"), (*accuracy).into())).collect();
        let counts = (train.images.len(), test.images.len());
        edge::say!(
            "{}",
            serde_json::json!({
                "k": args.k, "temperature": args.temperature, "keep": args.keep, "train_images": counts.0,
                "test_images": counts.1, "accuracy": rows,
            })
        );
    }
    Ok(())
}

/// Normalised pixels, `[H * W * C]`.
fn raw(spec: &EncoderSpec, pixels: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    spec.pixels.normalize_image(pixels, spec.channels as usize, &mut out);
    out
}
