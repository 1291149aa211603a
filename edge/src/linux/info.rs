//! `edge info`.

use crate::{
    head_file::{HeadDescription, HeadFile},
    native_file::NativeFile,
    options::open_model,
};
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
    for (file, _) in folder.files() {
        folder.read_file(file)?;
    }
    if folder.has_native() {
        // Its own checks, too: a right checksum says only that it was copied whole.
        NativeFile::open(&folder)?.model(&folder)?;
    }
    if args.json {
        console::say!("{}", serde_json::to_string(folder.description())?);
        return Ok(());
    }
    console::say!("model    {} ({})", spec.hash, folder.description().made_by);
    console::say!(
        "images   {}x{} with {} channels; {} patches of {p}x{p}",
        spec.image_height,
        spec.image_width,
        spec.channels,
        grid.patches(),
        p = spec.patch_size
    );
    console::say!(
        "encoder  {} wide, {} blocks, {} heads; features of {} values",
        spec.dim,
        spec.depth,
        spec.heads,
        spec.feature_dim
    );
    let forms = folder.precisions().into_iter().map(|form| form.to_string()).chain(["native".into()]);
    for (form, (file, _)) in forms.zip(folder.files()) {
        let bytes = folder.read_file(file)?.len();
        console::say!("{form:<8} {file} ({:.2} MB)", bytes as f64 / 1e6);
    }
    if folder.has_native() {
        console::say!("boards   {}", super::boards::line(spec)?);
    }
    if let Ok(head) = HeadFile::open(&args.model, spec) {
        let HeadDescription { classes, accuracy, made_by, .. } = head.description();
        let known = accuracy.map_or("accuracy unknown".into(), |accuracy| format!("{:.2} %", accuracy * 100.0));
        console::say!("head     {} classes, {known} ({made_by})", classes.len());
    }
    Ok(())
}
