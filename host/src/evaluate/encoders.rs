//! The encoders of one model that are evaluated side by side, and what they encode.

use super::{backend::Backend, features::Choice};
use crate::{device::precision::Precision as Arithmetic, progress::bar, run::load_encoder};
use common::model::{EncoderSpec, Pooling};
use console::misuse;
use edge::model_folder::Precision;
use std::{collections::BTreeSet, path::Path};

/// Which backends encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choosing {
    /// The float encoder of a run or model folder, in burn, once in each arithmetic.
    Burn(Vec<Arithmetic>),
    /// Exported forms of a model folder, as on a board.
    Board(Vec<Wanted>),
}

/// Exported forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
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
    /// Which backends encode.
    pub backend: Choosing,
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
    pub list: Vec<Backend>,
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
            Choosing::Burn(arithmetics) => {
                let (spec, tensors) = load_encoder(model)?;
                let list = arithmetics.iter().map(|arithmetic| Backend::burn(&spec, &tensors, *arithmetic));
                (spec, list.collect::<Result<_, _>>()?)
            }
            Choosing::Board(forms) => board(model, forms)?,
        };
        let pooling = spec.pooling_for(request.pooling);
        Ok(Self { spec, list, choice: request.choice, pooling })
    }

    /// Features of `images` with a progress bar; random patches differ from view to view (0: the images as they are).
    ///
    /// # Errors
    /// As [`Backend::encode`].
    pub fn encode(&self, encoder: &Backend, images: &[Vec<u8>], view: u64) -> anyhow::Result<Vec<Vec<f32>>> {
        let bar = bar(images.len(), "encoding");
        let choice = Choice { seed: self.choice.seed.wrapping_add(view), ..self.choice };
        let features = encoder.encode(images, choice, self.pooling, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        features
    }
}

/// The encoders of a model folder, each form once.
fn board(model: &Path, forms: &[Wanted]) -> anyhow::Result<(EncoderSpec, Vec<Backend>)> {
    let folder = edge::options::open_model(model)?;
    let mut list: Vec<Backend> = Vec::new();
    for form in forms {
        match form {
            Wanted::Onnx(form) => list.push(Backend::tract(&folder, *form)),
            Wanted::MostExact => list.push(Backend::tract(&folder, folder.default_precision())),
            Wanted::AllOnnx => list.extend(folder.precisions().into_iter().map(|form| Backend::tract(&folder, form))),
            Wanted::Native => list.push(Backend::native(&folder)),
            Wanted::All => list.extend(Backend::all(&folder)),
        }
    }
    let mut seen = BTreeSet::new();
    list.retain(|encoder| seen.insert(encoder.precision()));
    let present: Vec<String> = Backend::all(&folder).iter().map(Backend::precision).collect();
    if let Some(form) = list.iter().map(Backend::precision).find(|form| !present.contains(form)) {
        let present = present.join(", ");
        return Err(misuse(format!("{} has no {form} form; it has {present}", model.display())));
    }
    Ok((*folder.spec(), list))
}
