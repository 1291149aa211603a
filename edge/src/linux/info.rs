//! `edge info`.

use super::open_model;
use crate::head_file::{HeadDescription, HeadFile};
use std::path::PathBuf;

/// Options of `edge info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Describes the model.
///
/// # Errors
/// If it is no model folder, or damaged.
pub fn run(args: Args) -> anyhow::Result<()> {
    let folder = open_model(&args.model)?;
    let spec = folder.spec();
    let grid = spec.grid()?;
    if args.json {
        crate::say!("{}", serde_json::to_string(folder.description())?);
        return Ok(());
    }
    crate::say!("model    {} ({})", spec.hash, folder.description().made_by);
    crate::say!(
        "images   {}x{} with {} channels; {} patches of {p}x{p}",
        spec.image_height,
        spec.image_width,
        spec.channels,
        grid.patches(),
        p = spec.patch_size
    );
    crate::say!(
        "encoder  {} wide, {} blocks, {} heads; features of {} values",
        spec.dim,
        spec.depth,
        spec.heads,
        spec.feature_dim
    );
    for form in folder.forms() {
        let bytes = folder.read(form)?.len();
        crate::say!("{:<8} {} ({:.2} MB)", form.to_string(), form.file_name(), bytes as f64 / 1e6);
    }
    if let Ok(head) = HeadFile::open(&args.model, spec) {
        let HeadDescription { classes, accuracy, made_by, .. } = head.description();
        crate::say!("head     {} classes, {:.2} % ({made_by})", classes.len(), accuracy * 100.0);
    }
    Ok(())
}
