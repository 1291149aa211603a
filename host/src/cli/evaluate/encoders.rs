//! Which encoders are evaluated on which patches: the options that every way on frozen features shares.

use crate::{
    cli::{features::Runtime, images::bar},
    evaluate::{features::Choice, forms::Encoder},
    train::run_folder::load_encoder,
};
use common::model::{EncoderSpec, Pooling};
use edge::{exit::misuse, linux::run::Pool, model_folder::Precision, select::Select};
use std::path::Path;

/// Options of every evaluation on frozen features.
#[derive(Debug, clap::Args)]
pub struct EncodeArgs {
    /// What encodes: burn in batches, or tract as on a board (model folders only) [default: burn, or tract if
    /// --precision is given].
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Forms of the model to evaluate in tract, side by side [default: its most exact].
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
    pool: Option<Pool>,
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
        let tract = self.runtime.map_or(!self.precision.is_empty(), |runtime| runtime == Runtime::Tract);
        if !tract && !self.precision.is_empty() {
            return Err(misuse("--precision is for --runtime tract; burn computes in f32"));
        }
        let (spec, list) = if tract {
            let folder = edge::linux::open_model(model)?;
            let mut forms: Vec<Precision> = Vec::new();
            for form in &self.precision {
                forms.extend(match form {
                    Form::F32 => vec![Precision::F32],
                    Form::W8 => vec![Precision::W8],
                    Form::Int8 => vec![Precision::Int8],
                    Form::All => folder.forms(),
                });
            }
            if forms.is_empty() {
                forms.push(folder.default_form());
            }
            let mut seen = std::collections::BTreeSet::new();
            forms.retain(|form| seen.insert(*form));
            if let Some(form) = forms.iter().find(|form| !folder.forms().contains(form)) {
                let present = folder.forms().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(misuse(format!("{} has no {form} form; it has {present}", model.display())));
            }
            let list = forms.iter().map(|form| Encoder::Tract { folder: folder.clone(), form: *form }).collect();
            (*folder.spec(), list)
        } else {
            let (spec, tensors) = load_encoder(model)?;
            (spec, vec![Encoder::burn(&spec, &tensors)?])
        };
        let pooling = spec.pooling_for(self.pool.map(Pooling::from));
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
