//! `host features`.

use super::runtime::{PrecisionArg, Runtime};
use crate::evaluate::{
    extract::{Computes, Request, extract},
    features::Choice,
};
use common::model::Pooling;
use console::misuse;
use edge::{
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
    /// For burn, f32 or products in bf16 [default: f32]; for tract, the form of the model [default: its most exact].
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
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
    let board = |runtime| -> anyhow::Result<Computes> {
        let precision = args.precision.map(PrecisionArg::form).transpose()?;
        Ok(Computes::Board(RuntimeArgs { runtime: Some(runtime), precision, ..RuntimeArgs::default() }))
    };
    let runtime = match args.runtime {
        Runtime::Burn => Computes::Burn(args.precision.unwrap_or(PrecisionArg::F32).arithmetic()?),
        Runtime::Tract => board(options::Runtime::Tract)?,
        Runtime::Native => board(options::Runtime::Native)?,
    };
    let found = extract(&Request { model: &args.model, images: &args.images, choice, pooling: args.pool, runtime })?;
    found.write(&args.out)?;
    let (rows, dim) = found.features.dim();
    console::say!("{rows} features of {dim} values: {}", args.out.display());
    Ok(())
}
