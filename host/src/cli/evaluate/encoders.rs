//! Which encoders are evaluated on which patches: the options that every way on frozen features shares.

use crate::{
    cli::runtime::{Runtime, bf16},
    device::precision::Precision as Arithmetic,
    evaluate::{
        encoders::{self, Choosing, Encoders, Request},
        features::Choice,
    },
};
use common::model::Pooling;
use console::misuse;
use edge::{model_folder::Precision, select::Select};
use std::path::Path;

/// Options of every evaluation on frozen features.
#[derive(Debug, clap::Args)]
pub struct EncodeArgs {
    /// What encodes: burn in batches, or as on a board (model folders only) tract or the native encoder [default:
    /// burn, or what --precision needs].
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Forms of the model to evaluate side by side: in tract, and the native one [default of tract: its most exact];
    /// with bf16 or --runtime burn, arithmetic of burn: f32, bf16.
    #[arg(long, value_enum, value_name = "FORM,FORM...", value_delimiter = ',')]
    precision: Vec<PrecisionArg>,
    /// Share of patches to encode.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub keep: f64,
    /// How patches are chosen [default: all if --keep is 1, else random].
    #[arg(long, value_enum)]
    select: Option<Select>,
    /// Which feature to use [default: the model's].
    #[arg(long, value_enum)]
    pool: Option<Pooling>,
    /// Random choices come from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// At most this many training and this many test images, spread over the classes.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionArg {
    /// 32-bit floating point.
    F32,
    /// Products in bf16, in burn.
    Bf16,
    /// Weights in 8 bits.
    W8,
    /// Weights and activations in 8 bits.
    Int8,
    /// The native encoder.
    Native,
    /// Every form that the model folder has.
    All,
}

impl EncodeArgs {
    /// Opens the model.
    ///
    /// # Errors
    /// If options contradict each other, or the model lacks a form.
    pub fn open(&self, model: &Path) -> anyhow::Result<Encoders> {
        let choice = Choice::new(self.select, self.keep, self.seed)?;
        if self.limit == Some(0) {
            return Err(misuse("--limit must be at least 1"));
        }
        Encoders::open(model, &Request { backend: self.backend()?, choice, pooling: self.pool })
    }

    fn backend(&self) -> anyhow::Result<Choosing> {
        let forms = self.precision.as_slice();
        let burns = forms.is_empty() || forms.contains(&PrecisionArg::Bf16);
        let runtime = self.runtime.unwrap_or(if burns { Runtime::Burn } else { Runtime::Tract });
        let arithmetic = |form: &PrecisionArg| match form {
            PrecisionArg::F32 => Ok(Arithmetic::Fp32),
            PrecisionArg::Bf16 => bf16(),
            _ => Err(misuse("--precision in 8 bits is for --runtime tract; burn computes in f32 or bf16")),
        };
        let form = |form: &PrecisionArg| {
            Ok(match form {
                PrecisionArg::F32 => encoders::Wanted::Onnx(Precision::F32),
                PrecisionArg::Bf16 => return Err(misuse("--precision bf16 is for --runtime burn")),
                PrecisionArg::W8 => encoders::Wanted::Onnx(Precision::W8),
                PrecisionArg::Int8 => encoders::Wanted::Onnx(Precision::Int8),
                PrecisionArg::Native => encoders::Wanted::Native,
                // A wish for tract is one for all that it can run.
                PrecisionArg::All if self.runtime.is_some() => encoders::Wanted::AllOnnx,
                PrecisionArg::All => encoders::Wanted::All,
            })
        };
        match runtime {
            Runtime::Native if forms.iter().any(|form| *form != PrecisionArg::Native) => {
                Err(misuse("--precision is for --runtime tract; the native encoder computes in 8 bits"))
            }
            Runtime::Tract if self.runtime.is_some() && forms.contains(&PrecisionArg::Native) => {
                Err(misuse("tract does not run the native form: leave --runtime out"))
            }
            Runtime::Burn if forms.is_empty() => Ok(Choosing::Burn(vec![Arithmetic::Fp32])),
            Runtime::Burn => Ok(Choosing::Burn(forms.iter().map(arithmetic).collect::<Result<_, _>>()?)),
            Runtime::Native => Ok(Choosing::Board(vec![encoders::Wanted::Native])),
            Runtime::Tract if forms.is_empty() => Ok(Choosing::Board(vec![encoders::Wanted::MostExact])),
            Runtime::Tract => Ok(Choosing::Board(forms.iter().map(form).collect::<Result<_, _>>()?)),
        }
    }
}
