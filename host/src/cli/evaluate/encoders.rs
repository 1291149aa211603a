//! Which encoders are evaluated on which patches: the options that every way on frozen features shares.

use crate::{
    cli::features::Runtime,
    evaluate::{backend::Encoder, features::Choice},
    progress::bar,
    run::load_encoder,
};
use common::model::{EncoderSpec, Pooling};
use console::misuse;
use edge::{model_folder::Precision, select::Select};
use std::path::Path;

/// Options of every evaluation on frozen features.
#[derive(Debug, clap::Args)]
pub struct EncodeArgs {
    /// What encodes: burn in batches, or as on a board (model folders only) tract or the native encoder [default: burn,
    /// or what --precision needs].
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Forms of the model to evaluate side by side: in tract, and the native one [default of tract: its most exact].
    #[arg(long, value_enum, value_name = "FORM,FORM...", value_delimiter = ',')]
    precision: Vec<Form>,
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
enum Form {
    /// 32-bit floating point.
    F32,
    /// Weights in 8 bits.
    W8,
    /// Weights and activations in 8 bits.
    Int8,
    /// The native encoder.
    Native,
    /// Every form that the model folder has.
    All,
}

/// Encoders of one model, and what they encode.
#[derive(Debug)]
pub struct Encoders {
    /// The model.
    pub spec: EncoderSpec,
    /// One a form.
    pub list: Vec<Encoder>,
    /// Patches.
    pub choice: Choice,
    /// Feature.
    pub pooling: Pooling,
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
        let runtime = self.runtime.unwrap_or(match self.precision.is_empty() {
            true => Runtime::Burn,
            false => Runtime::Tract,
        });
        let forms = self.precision.as_slice();
        match runtime {
            Runtime::Burn if !forms.is_empty() => {
                return Err(misuse("--precision is for --runtime tract; burn computes in f32"));
            }
            Runtime::Native if forms.iter().any(|form| *form != Form::Native) => {
                return Err(misuse("--precision is for --runtime tract; the native encoder computes in 8 bits"));
            }
            Runtime::Tract if self.runtime.is_some() && forms.contains(&Form::Native) => {
                return Err(misuse("tract does not run the native form: leave --runtime out"));
            }
            _ => {}
        }
        let (spec, list) = if runtime != Runtime::Burn {
            let folder = edge::options::open_model(model)?;
            let mut list: Vec<Encoder> = Vec::new();
            for form in forms {
                list.extend(match form {
                    Form::F32 => vec![Encoder::tract(&folder, Precision::F32)],
                    Form::W8 => vec![Encoder::tract(&folder, Precision::W8)],
                    Form::Int8 => vec![Encoder::tract(&folder, Precision::Int8)],
                    Form::Native => vec![Encoder::native(&folder)],
                    // A wish for tract is one for all that it can run.
                    Form::All if self.runtime.is_some() => {
                        folder.forms().into_iter().map(|form| Encoder::tract(&folder, form)).collect()
                    }
                    Form::All => Encoder::all(&folder),
                });
            }
            if list.is_empty() {
                list.push(match runtime {
                    Runtime::Native => Encoder::native(&folder),
                    _ => Encoder::tract(&folder, folder.default_form()),
                });
            }
            let mut seen = std::collections::BTreeSet::new();
            list.retain(|encoder| seen.insert(encoder.form()));
            let present: Vec<String> = Encoder::all(&folder).iter().map(Encoder::form).collect();
            if let Some(form) = list.iter().map(Encoder::form).find(|form| !present.contains(form)) {
                let present = present.join(", ");
                return Err(misuse(format!("{} has no {form} form; it has {present}", model.display())));
            }
            (*folder.spec(), list)
        } else {
            let (spec, tensors) = load_encoder(model)?;
            (spec, vec![Encoder::burn(&spec, &tensors)?])
        };
        let pooling = spec.pooling_for(self.pool);
        Ok(Encoders { spec, list, choice, pooling })
    }
}

impl Encoders {
    /// Features of `images` with a progress bar; random patches differ from view to view (0: the images as they are).
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(&self, encoder: &Encoder, images: &[Vec<u8>], view: u64) -> anyhow::Result<Vec<Vec<f32>>> {
        let bar = bar(images.len(), "encoding");
        let choice = Choice { seed: self.choice.seed.wrapping_add(view), ..self.choice };
        let features = encoder.encode(images, choice, self.pooling, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        features
    }
}
