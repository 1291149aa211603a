//! `host features`.

use crate::{
    evaluate::{
        features::{Choice, pooled, with_board, with_burn},
        images::prepared,
    },
    files,
    link::sink::names_path,
    model::BurnEncoder,
    progress::bar,
    run::load_encoder,
};
use anyhow::Context as _;
use common::model::Pooling;
use console::misuse;
use edge::{
    model_folder::Precision,
    options::{Runtime as BoardRuntime, RuntimeArgs},
    runtime::ImageEncoder,
    select::Select,
};
use ndarray::Array2;
use ndarray_npy::WriteNpyExt as _;
use std::path::PathBuf;

/// Options of `host features`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run folder or a model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Images.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Share of patches to encode.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    keep: f64,
    /// How patches are chosen [default: all if --keep is 1, else random].
    #[arg(long, value_enum)]
    select: Option<Select>,
    /// Which feature to write [default: the model's].
    #[arg(long, value_enum)]
    pool: Option<Pooling>,
    /// What computes: burn in batches, or as on a board (model folders only) tract or the native encoder.
    #[arg(long, value_enum, default_value = "burn")]
    runtime: Runtime,
    /// Form of the model for tract [default: its most exact].
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Random choices come from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where to write: `[N, D]` f32, with the images' names in FILE.names.txt.
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
}

/// `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// The float encoder in batches.
    Burn,
    /// The exported encoder in tract, image by image.
    Tract,
    /// The native int8 encoder, image by image.
    Native,
}

/// Writes the features of a folder of images.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let choice = Choice::new(args.select, args.keep, args.seed)?;
    if args.out.extension().is_none_or(|extension| extension != "npy") {
        return Err(misuse(format!("--out {}: the name must end in .npy", args.out.display())));
    }
    if args.precision.is_some() && args.runtime == Runtime::Burn {
        return Err(misuse("--precision is for --runtime tract; burn computes in f32"));
    }
    let (spec, features, names) = match args.runtime {
        Runtime::Burn => {
            let (spec, tensors) = load_encoder(&args.model)?;
            let images = prepared(&args.images, &spec, None)?;
            let bar = bar(images.images.len(), "encoding");
            let encoder = BurnEncoder::new(&spec, &tensors)?;
            let features = with_burn(&encoder, &spec, &images.images, choice, |done| bar.set_position(done as u64))?;
            bar.finish_and_clear();
            (spec, features, images.names)
        }
        Runtime::Tract | Runtime::Native => {
            let folder = edge::options::open_model(&args.model)?;
            let runtime = match args.runtime {
                Runtime::Native => BoardRuntime::Native,
                _ => BoardRuntime::Tract,
            };
            let runtime = RuntimeArgs { runtime: Some(runtime), precision: args.precision, ..RuntimeArgs::default() };
            let file = runtime.open(&folder)?;
            let mut encoder = ImageEncoder::new(&folder, &runtime, file.as_ref())?;
            let images = prepared(&args.images, folder.spec(), None)?;
            let bar = bar(images.images.len(), "encoding");
            let features =
                with_board(&mut encoder, &images.images, (choice, 0), |done| bar.set_position(done as u64))?;
            bar.finish_and_clear();
            (*folder.spec(), features, images.names)
        }
    };
    let pooling = spec.pooling_for(args.pool);
    let (rows, dim) = (features.len(), spec.feature_dim as usize);
    let values: Vec<f32> = features.into_iter().flat_map(|features| pooled(features, pooling)).collect();
    let mut bytes = Vec::new();
    Array2::from_shape_vec((rows, dim), values)?.write_npy(&mut bytes)?;
    let cannot = || format!("cannot write {}", args.out.display());
    let text: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    files::write_file(&names_path(&args.out), text.as_bytes()).with_context(cannot)?;
    files::write_file(&args.out, &bytes).with_context(cannot)?;
    console::say!("{rows} features of {dim} values: {}", args.out.display());
    Ok(())
}
