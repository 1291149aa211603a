//! `host evaluate linear`.

use super::{
    encoders::EncodeArgs,
    options::Options,
    output::{finish, percent, write_confusion},
};
use crate::{
    evaluate::{
        confusion::Confusion,
        head,
        linear::{
            Method, Recipe,
            probe::{Probe, Probed, Row},
        },
        sets::Sets,
    },
    model::classifier::accuracy,
};
use console::misuse;
use edge::head_file::FILE_NAME;
use std::path::{Path, PathBuf};

/// Options of `host evaluate linear`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    encode: EncodeArgs,
    /// How the classifier is trained; several for a row each.
    #[arg(long, value_enum, value_name = "METHOD,...", default_value = "lars", value_delimiter = ',')]
    method: Vec<Method>,
    /// Passes over the images [default: 90 for lars, 30 for adamw].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images a step [default: the largest power of two with 48 steps an epoch, at most 16384 (lars) or 1024
    /// (adamw)].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Base learning rate, for a batch of 256 [default: such that the learning rate is 6.4 (lars) or 0.004
    /// (adamw)].
    #[arg(long, value_name = "X")]
    blr: Option<f64>,
    /// Encode this many random crops (with flips) of each training image too, as the paper's probe sees them; without
    /// it each is encoded once, as it is.
    #[arg(long, value_name = "N", default_value_t = 0)]
    views: u64,
    /// Save the first row's classifier here: a folder or FILE.safetensors.
    #[arg(long, value_name = "PATH")]
    out_head: Option<PathBuf>,
    /// Save the first row's classifier beside the encoder, in the model folder.
    #[arg(long)]
    save_head: bool,
}

/// Trains classifiers on frozen features and prints their accuracies.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (picture, json, folders) = (args.options.confusion()?, args.options.json, args.options.folders()?);
    let heads = check(&args, &folders.model)?;
    let encoders = args.encode.open(&folders.model)?;
    let sets = Sets::read(&folders.train, &folders.test, &encoders.spec, args.encode.limit)?;
    let images = sets.train.images.len();
    let recipes: Vec<Recipe> = args.method.iter().map(|method| recipe(&args, *method, images)).collect();
    let many = encoders.list.len() > 1;
    if !json {
        let (test, keep) = (sets.test.images.len(), args.encode.keep);
        console::say!("linear probe, {images} training and {test} test images, {keep} of the patches");
        console::say!("features    method  accuracy    train  {}", if many { "head of the first form" } else { "" });
    }
    let probe =
        Probe { encoders: &encoders, sets: &sets, folder: &folders.train, recipes: &recipes, views: args.views };
    let Probed { rows, head: classifier, first } = probe.run(|row| {
        if !json {
            print(row);
        }
    })?;
    let confusion = Confusion::new(&sets.classes, &first, &sets.test_labels);
    let right = accuracy(&first, &sets.test_labels);
    if let Some(path) = &picture {
        write_confusion(path, &format!("linear probe, {}, {}", recipes[0].method, percent(right)), &confusion)?;
    }
    for path in &heads {
        head::save(path, probe.describe(right), &classifier)?;
        if !json {
            console::say!("head     {}", path.display());
        }
    }
    let result = serde_json::json!({
        "rows": rows, "keep": args.encode.keep, "views": args.views, "train_images": images,
        "test_images": sets.test.images.len(), "classes": confusion.per_class(), "heads": heads,
    });
    finish("linear", &args.options, &folders.model, result, true)
}

fn print(row: &Row) {
    let Row { name, accuracy, train_seconds, accuracy_of_first_forms_head, .. } = row;
    let method = row.method.to_string();
    let foreign = accuracy_of_first_forms_head.map(percent).unwrap_or_default();
    console::say!("{name:<10}  {method:<6}  {:>8}  {train_seconds:>5.1} s  {foreign}", percent(*accuracy));
}

/// Refuses impossible options before the work is done; returns where the head goes.
fn check(args: &Args, model: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if args.epochs == Some(0) || args.batch_size == Some(0) {
        return Err(misuse("--epochs and --batch-size must be at least 1"));
    }
    if args.blr.is_some_and(|blr| !(blr.is_finite() && blr > 0.0)) {
        return Err(misuse("--blr must be positive"));
    }
    let descends = args.method.iter().any(|method| *method != Method::Closed);
    if !descends && (args.epochs.is_some() || args.batch_size.is_some() || args.blr.is_some()) {
        return Err(misuse("--epochs, --batch-size and --blr are for --method lars or adamw; closed has no steps"));
    }
    let mut heads = Vec::new();
    if args.save_head {
        if !model.join("model.toml").exists() {
            return Err(misuse(format!(
                "--save-head writes into a model folder, and {} is none: export it first, or name a file with \
                 --out-head",
                model.display()
            )));
        }
        heads.push(model.join(FILE_NAME));
    }
    heads.extend(args.out_head.as_deref().map(head_at).transpose()?);
    Ok(heads)
}

fn recipe(args: &Args, method: Method, images: usize) -> Recipe {
    let mut recipe = Recipe::new(method, images, args.batch_size, args.encode.seed);
    if method != Method::Closed {
        recipe.blr = args.blr.unwrap_or(recipe.blr);
        if let Some(epochs) = args.epochs {
            recipe = recipe.with_epochs(epochs);
        }
    }
    recipe
}

/// The file that `--out-head` means: a folder stands for the usual name in it.
fn head_at(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.join(FILE_NAME));
    }
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(misuse(format!(
            "--out-head {}: name a folder that is there, or a file that ends in .safetensors",
            path.display()
        )));
    }
    Ok(path.into())
}
