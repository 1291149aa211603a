//! Which encoders are evaluated on which patches: the options that every way on frozen features shares.

use crate::{
    cli::runtime::{PrecisionArg, Runtime, not_burns},
    device::precision::Precision as Arithmetic,
    evaluate::{
        encoders::{Choosing, Encoders, Request, Wanted},
        features::Choice,
    },
};
use clap::{ValueEnum, builder::PossibleValue};
use common::model::Pooling;
use console::misuse;
use edge::select::Select;
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
    precision: Vec<FormArg>,
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

/// `--precision` of several encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormArg {
    One(PrecisionArg),
    Native,
    All,
}

impl ValueEnum for FormArg {
    fn value_variants<'a>() -> &'a [Self] {
        use PrecisionArg::{Bf16, F32, Int8, W8};
        &[Self::One(F32), Self::One(Bf16), Self::One(W8), Self::One(Int8), Self::Native, Self::All]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::One(precision) => precision.to_possible_value(),
            Self::Native => Some(PossibleValue::new("native").help("The native encoder")),
            Self::All => Some(PossibleValue::new("all").help("Every form that the model folder has")),
        }
    }
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
        let burns = forms.is_empty() || forms.contains(&FormArg::One(PrecisionArg::Bf16));
        let runtime = self.runtime.unwrap_or(if burns { Runtime::Burn } else { Runtime::Tract });
        let arithmetic = |form: &FormArg| match form {
            FormArg::One(precision) => precision.arithmetic(),
            FormArg::Native | FormArg::All => Err(not_burns()),
        };
        let form = |form: &FormArg| match form {
            FormArg::One(precision) => precision.form().map(Wanted::Onnx),
            FormArg::Native => Ok(Wanted::Native),
            // A wish for tract is one for all that it can run.
            FormArg::All if self.runtime.is_some() => Ok(Wanted::AllOnnx),
            FormArg::All => Ok(Wanted::All),
        };
        match runtime {
            Runtime::Native if forms.iter().any(|form| *form != FormArg::Native) => {
                Err(misuse("--precision is for --runtime tract; the native encoder computes in 8 bits"))
            }
            Runtime::Tract if self.runtime.is_some() && forms.contains(&FormArg::Native) => {
                Err(misuse("tract does not run the native form: leave --runtime out"))
            }
            Runtime::Burn if forms.is_empty() => Ok(Choosing::Burn(vec![Arithmetic::Fp32])),
            Runtime::Burn => Ok(Choosing::Burn(forms.iter().map(arithmetic).collect::<Result<_, _>>()?)),
            Runtime::Native => Ok(Choosing::Board(vec![Wanted::Native])),
            Runtime::Tract if forms.is_empty() => Ok(Choosing::Board(vec![Wanted::MostExact])),
            Runtime::Tract => Ok(Choosing::Board(forms.iter().map(form).collect::<Result<_, _>>()?)),
        }
    }
}
