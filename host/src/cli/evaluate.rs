//! `host evaluate`.

use super::images::{Prepared, bar, class_numbers, prepared};
use crate::{
    checkpoint::Tensors,
    evaluate::{
        features::{Choice, pooled, with_burn},
        knn::{Labelled, accuracy},
        record,
    },
    model::{BurnEncoder, Mae, MaeConfig, weights},
    train::run_folder::load_encoder,
};
use burn::tensor::Device;
use common::model::{EncoderSpec, Pooling};
use edge::{exit::misuse, linux::run::Pool, select::Select};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Options of `host evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    how: How,
}

#[derive(Debug, clap::Subcommand)]
enum How {
    /// Classify by the nearest training images (no training).
    Knn(KnnArgs),
}

/// Options of `host evaluate knn`.
#[derive(Debug, clap::Args)]
struct KnnArgs {
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
    match args.how {
        How::Knn(args) => knn(args),
    }
}

fn knn(args: KnnArgs) -> anyhow::Result<()> {
    let choice = Choice::new(args.select, args.keep, 0)?;
    if args.k == 0 || !(args.temperature.is_finite() && args.temperature > 0.0) {
        return Err(misuse("--k must be at least 1 and --temperature positive"));
    }
    let (spec, tensors) = load_encoder(&args.model)?;
    let pooling = args.pool.map_or(spec.pooling, Pooling::from);
    let (train, test) = (labelled(&args.train, &spec)?, labelled(&args.test, &spec)?);
    let known: BTreeSet<&String> = train.labels.iter().collect();
    if let Some(unknown) = test.labels.iter().find(|class| !known.contains(class)) {
        return Err(misuse(format!(
            "the class {unknown} of {} has no images in {}: --train and --test need the same class folders",
            args.test.display(),
            args.train.display()
        )));
    }
    let (train_labels, test_labels) = class_numbers(&train.labels, &test.labels);

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
    let counts = (train.images.len(), test.images.len());
    if args.json {
        let accuracies: serde_json::Map<_, _> =
            rows.iter().map(|(name, accuracy)| (name.replace(' ', "_"), (*accuracy).into())).collect();
        edge::say!(
            "{}",
            serde_json::json!({
                "k": args.k, "temperature": args.temperature, "keep": args.keep, "train_images": counts.0,
                "test_images": counts.1, "accuracy": accuracies,
            })
        );
    }
    let listed: Vec<_> =
        rows.iter().map(|(name, accuracy)| serde_json::json!({ "name": name, "accuracy": accuracy })).collect();
    record::save(
        &args.model,
        "knn",
        &serde_json::json!({
            "rows": listed, "k": args.k, "temperature": args.temperature, "keep": args.keep,
            "train": args.train, "train_images": counts.0, "test": args.test, "test_images": counts.1,
        }),
    )?;
    Ok(())
}

fn labelled(folder: &Path, spec: &EncoderSpec) -> anyhow::Result<Prepared> {
    let images = prepared(folder, spec, None)?;
    if images.labels.len() != images.images.len() {
        return Err(misuse(format!(
            "{} has images outside class folders: put each in a folder of its class",
            folder.display()
        )));
    }
    Ok(images)
}

/// Normalised pixels, `[H * W * C]`.
fn raw(spec: &EncoderSpec, pixels: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    spec.pixels.normalize_image(pixels, spec.channels as usize, &mut out);
    out
}
