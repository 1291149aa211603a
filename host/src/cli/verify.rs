//! `host verify`.

use super::images::{bar, prepared};
use crate::{
    evaluate::{features::Choice, verify},
    train::run_folder::load_encoder,
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
    if args.limit == 0 {
        return Err(edge::exit::misuse("--limit must be at least 1"));
    }
    let folder = edge::linux::open_model(&args.model)?;
    let reference = args.run.as_ref().unwrap_or(&args.model);
    let (spec, tensors) = load_encoder(reference)?;
    if spec.hash != folder.spec().hash
        && (args.run.is_some() || folder.forms().contains(&edge::model_folder::Precision::F32))
    {
        anyhow::bail!(
            "{} (model {}) was not exported from {} (model {})",
            args.model.display(),
            folder.spec().hash,
            reference.display(),
            spec.hash
        );
    }
    let images = prepared(&args.images, &spec, Some(args.limit))?.images;
    let bar = bar(images.len() * (folder.forms().len() + 1), "verifying");
    let agreements = verify::verify(&folder, (&spec, &tensors), &images, choice, || bar.inc(1))?;
    bar.finish_and_clear();
    if args.json {
        edge::say!("{}", serde_json::json!({ "images": images.len(), "keep": args.keep, "forms": agreements }));
        return Ok(());
    }
    edge::say!("{} images, {} of the patches, tract against burn in f32", images.len(), args.keep);
    edge::say!("form   cosine of mean   (worst)   cosine of cls   (worst)   largest error");
    for row in agreements {
        edge::say!(
            "{:<5}  {:>14.6}  {:>8.6}  {:>14.6}  {:>8.6}  {:>14.2e}",
            row.form.to_string(),
            row.mean_cosine,
            row.worst_cosine,
            row.cls_mean_cosine,
            row.cls_worst_cosine,
            row.max_error
        );
    }
    Ok(())
}
