//! `host evaluate seam`.

use super::output;
use crate::{
    cli::told,
    evaluate::{images::prepared, seam::SeamSums},
    model::MaskBatch,
    pictures::fill,
    preset::validate::mask_ratio,
    run::RunFolder,
};
use common::{
    mask::{self, MaskKind},
    model::ModelHash,
};
use console::misuse;
use serde_json::json;
use std::path::PathBuf;

/// Images that are reconstructed at once.
const BATCH: usize = 64;

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
    let grid = config.model.grid()?;
    let ratio = args.mask_ratio.unwrap_or(config.train.mask_ratio);
    mask_ratio(ratio, grid.patches()).map_err(told::recipe)?;
    if args.limit == 0 {
        return Err(misuse("--limit must be at least 1"));
    }
    let (model, target) = fill::load(&run, &config)?;
    let spec = config.model.encoder_spec(config.pixels, ModelHash::default());
    let images = prepared(&args.test, &spec, Some(args.limit))?.images;
    let (kept, kind) = (mask::len_keep(grid.patches(), ratio), args.mask);
    let (mut sums, bar) = (SeamSums::default(), crate::progress::bar(images.len(), "reconstructing"));
    for (batch, views) in images.chunks(BATCH).enumerate() {
        let masks = MaskBatch::draw(kind, &grid, kept, args.seed, (batch * BATCH) as u64, views.len());
        let filled = fill::fill(&model, (&config, &target), views, &masks)?;
        for ((view, filled), mask) in views.iter().zip(&filled).zip(masks.masks()) {
            sums.add(&grid, view, filled, &mask.removed());
        }
        bar.inc(views.len() as u64);
    }
    bar.finish_and_clear();
    let found = sums.figures();
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
        "images": images.len(), "mask": kind, "mask_ratio": ratio, "seed": args.seed, "seam": found.seam,
        "across_over_inside": { "original": found.original, "reconstruction": found.reconstruction },
        "rmse": { "near": found.rmse_near, "far": found.rmse_far, "all": found.rmse },
    });
    output::publish("seam", &args.model, result, (args.json, true))
}
