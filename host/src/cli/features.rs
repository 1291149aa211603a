//! `host features`.

use super::runtime::Runtime;
use crate::evaluate::{
    extract::{Request, extract},
    features::Choice,
};
use common::model::Pooling;
use console::misuse;
use edge::{
    model_folder::Precision,
    options::{self, RuntimeArgs},
    select::Select,
};
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
    let board = |runtime| RuntimeArgs { runtime: Some(runtime), precision: args.precision, ..RuntimeArgs::default() };
    let runtime = match args.runtime {
        Runtime::Burn => None,
        Runtime::Tract => Some(board(options::Runtime::Tract)),
        Runtime::Native => Some(board(options::Runtime::Native)),
    };
    let found = extract(&Request { model: &args.model, images: &args.images, choice, pooling: args.pool, runtime })?;
    found.write(&args.out)?;
    let (rows, dim) = found.features.dim();
    console::say!("{rows} features of {dim} values: {}", args.out.display());
    Ok(())
}
