//! `host verify`.

use crate::{
    evaluate::{features::Choice, images::prepared, sets::Sets, verify},
    progress::bar,
};
use edge::select::Select;
use std::path::PathBuf;

/// Options of `host verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Images to compare on.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// The run that the model was exported from, as reference [default: the model's own float weights].
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// At most this many images, spread over the folder.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// Share of patches to encode.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    keep: f64,
    /// How patches are chosen [default: all if --keep is 1, else random].
    #[arg(long, value_enum)]
    select: Option<Select>,
    /// Compare the forms' kNN accuracy too: training images, one folder a class.
    #[arg(long, value_name = "DIR", requires = "test")]
    train: Option<PathBuf>,
    /// Test images for kNN, one folder a class.
    #[arg(long, value_name = "DIR", requires = "train")]
    test: Option<PathBuf>,
    /// At most this many training and this many test images for kNN.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    knn_limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints how near each form comes to the float encoder.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let choice = Choice::new(args.select, args.keep, 0)?;
    if args.limit == 0 || args.knn_limit == 0 {
        return Err(console::misuse("--limit and --knn-limit must be at least 1"));
    }
    let (folder, spec, tensors) = verify::open(&args.model, args.run.as_deref())?;
    let images = prepared(&args.images, &spec, Some(args.limit))?.images;
    let bar = bar(images.len() * (folder.files().count() + 1), "verifying");
    let agreements = verify::verify(&folder, (&spec, &tensors), &images, choice, || bar.inc(1))?;
    bar.finish_and_clear();
    let knn = match (&args.train, &args.test) {
        (Some(train), Some(test)) => {
            let sets = Sets::read(train, test, &spec, Some(args.knn_limit))?;
            Some(verify::neighbours(&folder, (&spec, &tensors), &sets, choice)?)
        }
        _ => None,
    };
    if args.json {
        let mut json = serde_json::json!({ "images": images.len(), "keep": args.keep, "forms": agreements });
        if let Some(rows) = &knn {
            let rows = rows.iter().map(|(name, accuracy)| serde_json::json!({ "name": name, "accuracy": accuracy }));
            json["knn"] = rows.collect();
        }
        console::say!("{json}");
        return Ok(());
    }
    console::say!("{} images, {} of the patches, against burn in f32", images.len(), args.keep);
    console::say!("form    cosine of mean   (worst)   cosine of cls   (worst)   largest error");
    for row in agreements {
        console::say!(
            "{:<6}  {:>14.6}  {:>8.6}  {:>14.6}  {:>8.6}  {:>14.2e}",
            row.form,
            row.mean_cosine,
            row.worst_cosine,
            row.cls_mean_cosine,
            row.cls_worst_cosine,
            row.max_error
        );
    }
    for (name, accuracy) in knn.iter().flatten() {
        console::say!("kNN, {name:<10}  {:>6.2} %", accuracy * 100.0);
    }
    Ok(())
}
