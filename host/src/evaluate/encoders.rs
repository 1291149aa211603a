//! The encoders of one model that are evaluated side by side, and what they encode.

use super::{backend::Encoder, features::Choice};
use crate::{progress::bar, run::load_encoder};
use common::model::{EncoderSpec, Pooling};
use console::misuse;
use edge::model_folder::Precision;
use std::{collections::BTreeSet, path::Path};

/// What encodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// The float encoder of a run or model folder, in burn.
    Burn,
    /// Exported forms of a model folder, as on a board.
    Board(Vec<Form>),
}

/// Exported forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// This one, in tract.
    Onnx(Precision),
    /// The most exact one, in tract.
    MostExact,
    /// All that tract can run.
    AllOnnx,
    /// The native one.
    Native,
    /// All.
    All,
}

/// What is encoded, and by what.
#[derive(Debug, Clone)]
pub struct Request {
    /// What encodes.
    pub backend: Backend,
    /// Patches.
    pub choice: Choice,
    /// Feature; the model's without it.
    pub pooling: Option<Pooling>,
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

impl Encoders {
    /// Opens the model.
    ///
    /// # Errors
    /// If there is none at `model`, or it lacks a form.
    pub fn open(model: &Path, request: &Request) -> anyhow::Result<Self> {
        let (spec, list) = match &request.backend {
            Backend::Burn => {
                let (spec, tensors) = load_encoder(model)?;
                (spec, vec![Encoder::burn(&spec, &tensors)?])
            }
            Backend::Board(forms) => board(model, forms)?,
        };
        let pooling = spec.pooling_for(request.pooling);
        Ok(Self { spec, list, choice: request.choice, pooling })
    }

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

/// The encoders of a model folder, each form once.
fn board(model: &Path, forms: &[Form]) -> anyhow::Result<(EncoderSpec, Vec<Encoder>)> {
    let folder = edge::options::open_model(model)?;
    let mut list: Vec<Encoder> = Vec::new();
    for form in forms {
        match form {
            Form::Onnx(form) => list.push(Encoder::tract(&folder, *form)),
            Form::MostExact => list.push(Encoder::tract(&folder, folder.default_form())),
            Form::AllOnnx => list.extend(folder.forms().into_iter().map(|form| Encoder::tract(&folder, form))),
            Form::Native => list.push(Encoder::native(&folder)),
            Form::All => list.extend(Encoder::all(&folder)),
        }
    }
    let mut seen = BTreeSet::new();
    list.retain(|encoder| seen.insert(encoder.form()));
    let present: Vec<String> = Encoder::all(&folder).iter().map(Encoder::form).collect();
    if let Some(form) = list.iter().map(Encoder::form).find(|form| !present.contains(form)) {
        let present = present.join(", ");
        return Err(misuse(format!("{} has no {form} form; it has {present}", model.display())));
    }
    Ok((*folder.spec(), list))
}
