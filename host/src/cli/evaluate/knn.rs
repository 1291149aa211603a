//! `host evaluate knn`.

use super::{
    encoders::{EncodeArgs, Encoders},
    options::Options,
    output::{finish, percent, write_confusion},
};
use crate::{
    evaluate::{
        backend::Encoder,
        confusion::Confusion,
        knn::{Labelled, Vote, predict},
        sets::Sets,
    },
    model::{Mae, MaeConfig, classifier::accuracy, weights},
    train::finetune::tuning::Folders,
};
use anyhow::Context as _;
use burn::tensor::Device;
use common::model::EncoderSpec;
use console::misuse;

/// Options of `host evaluate knn`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Neighbours; several numbers for a row each.
    #[arg(long, value_name = "K,K...", default_value = "20", value_delimiter = ',')]
    k: Vec<usize>,
    /// Votes are weighted by exp(cosine / temperature); several for a row each.
    #[arg(long, value_name = "T,T...", default_value = "0.07", value_delimiter = ',')]
    temperature: Vec<f64>,
    #[command(flatten)]
    encode: EncodeArgs,
    /// Also evaluate the same encoder with random weights, and raw pixels.
    #[arg(long)]
    baselines: bool,
}

/// Prints accuracies.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.k.contains(&0) || !args.temperature.iter().all(|t| t.is_finite() && *t > 0.0) {
        return Err(misuse("--k must be at least 1 and --temperature positive"));
    }
    let (picture, json) = (args.options.confusion()?, args.options.json);
    let Folders { model, train, test } = args.options.folders()?;
    let encoders = args.encode.open(&model)?;
    let spec = encoders.spec;
    let sets = Sets::read(&train, &test, &spec, args.encode.limit)?;
    let vote = |k: &usize| args.temperature.iter().map(|t| Vote { k: *k, temperature: *t }).collect::<Vec<_>>();
    let votes: Vec<Vote> = args.k.iter().flat_map(vote).collect();
    if !json {
        let (train, test) = (sets.train.images.len(), sets.test.images.len());
        console::say!(
            "kNN accuracy, cosine, {train} training and {test} test images, {} of the patches",
            args.encode.keep
        );
        console::say!("features          k  temperature  accuracy");
    }
    let mut table = Table { votes: &votes, sets: &sets, rows: Vec::new(), first: None, silent: json };
    for encoder in &encoders.list {
        let encode = |images: &[Vec<u8>]| encoders.encode(encoder, images, 0);
        table.add(&encoder.name(), encode(&sets.train.images)?, encode(&sets.test.images)?)?;
    }
    if args.baselines {
        let config = MaeConfig::for_encoder(&spec);
        let random = weights::to_tensors(&Mae::new(&config, 0, &Device::flex())?, &config.grid()?)?;
        let random = Encoders { list: vec![Encoder::burn(&spec, &random)?], ..encoders };
        let encode = |images: &[Vec<u8>]| random.encode(&random.list[0], images, 0);
        table.add("random weights", encode(&sets.train.images)?, encode(&sets.test.images)?)?;
        let pixels = |images: &[Vec<u8>]| images.iter().map(|pixels| raw(&spec, pixels)).collect::<Vec<_>>();
        table.add("raw pixels", pixels(&sets.train.images), pixels(&sets.test.images))?;
    }
    let Table { rows, first, .. } = table;
    let first = first.context("nothing was evaluated")?;
    let confusion = Confusion::new(&sets.classes, &first, &sets.test_labels);
    if let Some(path) = &picture {
        let title = format!("kNN, {}", percent(accuracy(&first, &sets.test_labels)));
        write_confusion(path, &title, &confusion)?;
    }
    let result = serde_json::json!({
        "rows": rows, "keep": args.encode.keep, "train_images": sets.train.images.len(),
        "test_images": sets.test.images.len(), "classes": confusion.per_class(),
    });
    finish("knn", &args.options, &model, result, true)
}

/// Judges features and prints a row for each way to vote.
struct Table<'a> {
    votes: &'a [Vote],
    sets: &'a Sets,
    rows: Vec<serde_json::Value>,
    /// Classes found by the first row.
    first: Option<Vec<usize>>,
    silent: bool,
}

impl Table<'_> {
    fn add(&mut self, name: &str, train: Vec<Vec<f32>>, test: Vec<Vec<f32>>) -> anyhow::Result<()> {
        let train = Labelled { rows: train, labels: self.sets.train_labels.clone() };
        let test = Labelled { rows: test, labels: self.sets.test_labels.clone() };
        for (vote, found) in self.votes.iter().zip(predict(&train, &test, self.votes)?) {
            let (Vote { k, temperature }, accuracy) = (vote, accuracy(&found, &test.labels));
            if !self.silent {
                console::say!("{name:<14}  {k:>3}  {temperature:>11}  {:>8}", percent(accuracy));
            }
            self.rows.push(serde_json::json!({
                "name": name, "k": k, "temperature": temperature, "accuracy": accuracy,
            }));
            self.first.get_or_insert(found);
        }
        Ok(())
    }
}

/// Normalised pixels, `[H * W * C]`.
fn raw(spec: &EncoderSpec, pixels: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    spec.pixels.normalize_image(pixels, spec.channels as usize, &mut out);
    out
}
