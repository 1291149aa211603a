//! `host evaluate seam`.

use super::output;
use crate::{
    evaluate::{
        images::prepared,
        seam::{Masks, measure},
    },
    pictures::fill,
    preset::validate::mask_ratio,
    run::RunFolder,
};
use common::{mask::MaskKind, model::ModelHash};
use console::misuse;
use serde_json::json;
use std::path::PathBuf;

/// Options of `host evaluate seam`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder of a training.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder of images that are reconstructed.
    #[arg(long, value_name = "DIR")]
    test: PathBuf,
    /// At most this many images, spread over all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// How patches are chosen for removal.
    #[arg(long, value_enum, default_value = "random")]
    mask: MaskKind,
    /// Share of patches that are removed [default: the run's own].
    #[arg(long, value_name = "R")]
    mask_ratio: Option<f64>,
    /// The masks come from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures the borders of patches in reconstructions.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (run, config) = RunFolder::open(&args.model)?;
    let ratio = args.mask_ratio.unwrap_or(config.train.mask_ratio);
    mask_ratio(ratio, config.model.grid()?.patches())?;
    if args.limit == 0 {
        return Err(misuse("--limit must be at least 1"));
    }
    let model = fill::load(&run, &config)?;
    let spec = config.encoder_spec(ModelHash::default());
    let images = prepared(&args.test, &spec, Some(args.limit))?.images;
    let found = measure(&model, &config, &images, Masks { kind: args.mask, ratio, seed: args.seed })?;
    if !args.json {
        console::say!("images  seam   steps across / inside   error near   far   all  (of 255)");
        console::say!(
            "{:<6}  {:.3}  {:.3}, original {:.3}    {:>10.2}  {:.2}  {:.2}",
            images.len(),
            found.seam,
            found.reconstruction,
            found.original,
            found.rmse_near,
            found.rmse_far,
            found.rmse
        );
    }
    let result = json!({
        "images": images.len(), "mask": args.mask, "mask_ratio": ratio, "seed": args.seed, "seam": found.seam,
        "across_over_inside": { "original": found.original, "reconstruction": found.reconstruction },
        "rmse": { "near": found.rmse_near, "far": found.rmse_far, "all": found.rmse },
    });
    output::publish("seam", &args.model, result, (args.json, true))
}
