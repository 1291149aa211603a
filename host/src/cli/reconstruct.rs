//! `host reconstruct`.

use crate::{data::folder::find, pictures, preset::validate::mask_ratio, run::RunFolder};
use common::mask::MaskKind;
use console::misuse;
use std::{path::PathBuf, sync::Arc};

/// Options of `host reconstruct`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder of a training.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Images, or folders of images [default: eight images of the run's own data].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    images: Vec<PathBuf>,
    /// At most this many images, spread over all.
    #[arg(long, value_name = "N", default_value_t = 8)]
    limit: usize,
    /// Only this kind of mask [default: all three].
    #[arg(long, value_enum)]
    mask: Option<MaskKind>,
    /// Share of patches that are removed [default: the run's own].
    #[arg(long, value_name = "R")]
    mask_ratio: Option<f64>,
    /// The PNG to write.
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
}

/// Draws originals, masks and reconstructions.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (run, config) = RunFolder::open(&args.run)?;
    let ratio = args.mask_ratio.unwrap_or(config.train.mask_ratio);
    mask_ratio(ratio, config.model.grid()?.patches())?;
    if args.limit == 0 {
        return Err(misuse("--limit must be at least 1"));
    }
    if args.out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        return Err(misuse(format!("--out {}: the name must end in .png", args.out.display())));
    }
    let images = if args.images.is_empty() {
        pictures::samples(&config.open_data()?, args.limit)
    } else {
        let mut files = Vec::new();
        for path in &args.images {
            files.extend(find(path).map_err(|e| misuse(e.to_string()))?);
        }
        // Spread over all, so that a folder ordered by class shows several of them.
        let count = args.limit.min(files.len());
        let mut images = Vec::new();
        for file in (0..count).map(|i| &files[i * files.len() / count]) {
            match imaging::open(file, config.model.channels) {
                Ok(image) => images.push(Arc::new(image)),
                Err(error) => console::note!("warning: skipped {error}"),
            }
        }
        anyhow::ensure!(!images.is_empty(), "none of the {count} images can be decoded; are they damaged?");
        images
    };
    pictures::reconstruct(&run, &config, &images, args.mask, ratio, &args.out)?;
    console::say!("{} images reconstructed: {}", images.len(), args.out.display());
    Ok(())
}
