//! `host features`.

use super::runtime::{Runtime, bf16};
use crate::{
    device::precision::Precision as Arithmetic,
    evaluate::{
        extract::{Computes, Request, extract},
        features::Choice,
    },
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

/// `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionArg {
    /// 32-bit floating point.
    F32,
    /// Products in bf16, sums in f32.
    Bf16,
    /// Weights in 8 bits.
    W8,
    /// Weights and activations in 8 bits.
    Int8,
}

impl PrecisionArg {
    /// The form of a model folder.
    fn form(self) -> Option<Precision> {
        match self {
            Self::F32 => Some(Precision::F32),
            Self::W8 => Some(Precision::W8),
            Self::Int8 => Some(Precision::Int8),
            Self::Bf16 => None,
        }
    }
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
    let board = |runtime, precision| {
        Computes::Board(RuntimeArgs { runtime: Some(runtime), precision, ..RuntimeArgs::default() })
    };
    let runtime = match (args.runtime, args.precision) {
        (Runtime::Burn, None | Some(PrecisionArg::F32)) => Computes::Burn(Arithmetic::Fp32),
        (Runtime::Burn, Some(PrecisionArg::Bf16)) => Computes::Burn(bf16()?),
        (Runtime::Burn, Some(PrecisionArg::W8 | PrecisionArg::Int8)) => {
            return Err(misuse("--precision in 8 bits is for --runtime tract; burn computes in f32 or bf16"));
        }
        (_, Some(PrecisionArg::Bf16)) => return Err(misuse("--precision bf16 is for --runtime burn")),
        (Runtime::Tract, precision) => board(options::Runtime::Tract, precision.and_then(PrecisionArg::form)),
        (Runtime::Native, precision) => board(options::Runtime::Native, precision.and_then(PrecisionArg::form)),
    };
    let found = extract(&Request { model: &args.model, images: &args.images, choice, pooling: args.pool, runtime })?;
    found.write(&args.out)?;
    let (rows, dim) = found.features.dim();
    console::say!("{rows} features of {dim} values: {}", args.out.display());
    Ok(())
}
