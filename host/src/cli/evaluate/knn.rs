//! `host evaluate knn`.

use super::{
    encoders::EncodeArgs,
    options::Options,
    output::{finish, percent, write_confusion},
};
use crate::{
    evaluate::{
        confusion::Confusion,
        knn::Vote,
        neighbours::{Row, Table, classify},
        sets::Sets,
    },
    model::classifier::accuracy,
    train::finetune::tuning::Folders,
};
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
    let sets = Sets::read(&train, &test, &encoders.spec, args.encode.limit)?;
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
    let Table { rows, first } = classify(encoders, &sets, &votes, args.baselines, |row| {
        if !json {
            let Row { name, k, temperature, accuracy } = row;
            console::say!("{name:<14}  {k:>3}  {temperature:>11}  {:>8}", percent(*accuracy));
        }
    })?;
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
