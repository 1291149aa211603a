//! `host evaluate linear`.

use super::{
    encoders::{EncodeArgs, Encoders},
    options::Options,
    output::{finish, percent, write_confusion},
    views::augmented,
};
use crate::{
    evaluate::{
        backend::Encoder,
        confusion::Confusion,
        head,
        linear::{LinearHead, Method, Recipe, TrainingSet, train},
        sets::Sets,
    },
    model::classifier::accuracy,
    progress::bar,
    train::finetune::tuning::Folders,
};
use anyhow::Context as _;
use console::misuse;
use edge::head_file::{FILE_NAME, HeadDescription};
use ndarray::Array2;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

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
    /// Images a step [default: the largest power of two with 48 steps an epoch, at most 16384 (lars) or 1024 (adamw)].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Base learning rate, for a batch of 256 [default: such that the learning rate is 6.4 (lars) or 0.004
    /// (adamw)].
    #[arg(long, value_name = "X")]
    blr: Option<f64>,
    /// Encode this many random crops (with flips) of each training image too, as the paper's probe sees them; without it
    /// each is encoded once, as it is.
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
    let mut rows = Vec::new();
    let mut first: Option<(LinearHead, Vec<usize>)> = None;
    // Heads of the first form, one a recipe: what becomes of them on the others?
    let mut of_first_form: Vec<LinearHead> = Vec::new();
    for encoder in &encoders.list {
        let set = training_set(&args, &folders, &encoders, encoder, &sets)?;
        let test = matrix(encoders.encode(encoder, &sets.test.images, 0)?)?;
        for (place, recipe) in recipes.iter().enumerate() {
            let begun = Instant::now();
            let bar = bar(recipe.epochs, "training");
            let head = train(&set, recipe, |done| bar.set_position(done as u64));
            bar.finish_and_clear();
            let (head, seconds) = (head?, begun.elapsed().as_secs_f64());
            let found = head.predict(test.view());
            let right = accuracy(&found, &sets.test_labels);
            let foreign =
                of_first_form.get(place).map(|head| accuracy(&head.predict(test.view()), &sets.test_labels));
            if !json {
                let (name, method) = (encoder.name(), recipe.method.to_string());
                let foreign = foreign.map(percent).unwrap_or_default();
                console::say!("{name:<10}  {method:<6}  {:>8}  {seconds:>5.1} s  {foreign}", percent(right));
            }
            let mut row = serde_json::json!({
                "name": encoder.name(), "method": recipe.method, "accuracy": right, "train_seconds": seconds, "recipe": recipe,
            });
            if let Some(foreign) = foreign {
                row["accuracy_of_first_forms_head"] = foreign.into();
            }
            rows.push(row);
            first.get_or_insert_with(|| (head.clone(), found));
            if of_first_form.len() == place {
                of_first_form.push(head);
            }
        }
    }
    let (classifier, found) = first.context("nothing was evaluated")?;
    let confusion = Confusion::new(&sets.classes, &found, &sets.test_labels);
    let right = accuracy(&found, &sets.test_labels);
    if let Some(path) = &picture {
        write_confusion(path, &format!("linear probe, {}, {}", recipes[0].method, percent(right)), &confusion)?;
    }
    let description = describe(&args, &encoders, &sets, &recipes[0], right);
    for path in &heads {
        head::save(path, description.clone(), &classifier)?;
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
    heads.extend(args.out_head.as_deref().map(head::file_at).transpose()?);
    Ok(heads)
}

fn recipe(args: &Args, method: Method, images: usize) -> Recipe {
    let mut recipe = Recipe::new(method, images, args.batch_size, args.encode.seed);
    if method != Method::Closed {
        recipe.blr = args.blr.unwrap_or(recipe.blr);
        if let Some(epochs) = args.epochs {
            // A short training warms up for a tenth of it.
            recipe.warmup_epochs = recipe.warmup_epochs.min(epochs as f64 / 10.0);
            recipe.epochs = epochs;
        }
    }
    recipe
}

/// Features of the training images, and of augmented views of them.
fn training_set(
    args: &Args,
    folders: &Folders,
    encoders: &Encoders,
    encoder: &Encoder,
    sets: &Sets,
) -> anyhow::Result<TrainingSet> {
    let mut rows = encoders.encode(encoder, &sets.train.images, 0)?;
    for view in 1..=args.views {
        let images = augmented(&folders.train, &sets.train.names, &encoders.spec, (args.encode.seed, view))?;
        rows.extend(encoders.encode(encoder, &images, view)?);
    }
    Ok(TrainingSet { rows: matrix(rows)?, labels: sets.train_labels.clone(), classes: sets.classes.len() })
}

/// `[N, D]`.
fn matrix(rows: Vec<Vec<f32>>) -> anyhow::Result<Array2<f32>> {
    let dim = rows.first().map_or(0, Vec::len);
    Ok(Array2::from_shape_vec((rows.len(), dim), rows.into_iter().flatten().collect())?)
}

fn describe(args: &Args, encoders: &Encoders, sets: &Sets, recipe: &Recipe, accuracy: f64) -> HeadDescription {
    let Recipe { method, epochs, batch_size, blr, .. } = *recipe;
    let how = match method {
        Method::Closed => "ridge regression in closed form".to_owned(),
        Method::Lars | Method::Adamw => format!("{method}, {epochs} epochs, batch {batch_size}, blr {blr}"),
    };
    let features = encoders.list.first().map(Encoder::name).unwrap_or_default();
    let (version, images) = (env!("CARGO_PKG_VERSION"), sets.train.images.len());
    let views = if args.views > 0 { format!(" and {} crops of each", args.views) } else { String::new() };
    HeadDescription {
        format: edge::head_file::FORMAT,
        encoder: encoders.spec.hash,
        pooling: encoders.pooling,
        classes: sets.classes.clone(),
        keep: args.encode.keep,
        made_by: format!("host {version}: {how}, {images} images{views}, {features}"),
        accuracy,
        sha256: String::new(),
    }
}
