//! Features by the float encoder in burn, or by an exported form in the device's runtime, on all cores.

use super::features::{Choice, pooled, with_burn, with_tract};
use crate::{checkpoint::Tensors, model::BurnEncoder};
use common::model::{EncoderSpec, Pooling};
use edge::{
    model_folder::{ModelFolder, Precision},
    tract_runtime::TractEncoder,
};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What encodes.
#[derive(Debug)]
pub enum Encoder {
    /// The float encoder in burn, in batches.
    Burn {
        /// Its description.
        spec: Box<EncoderSpec>,
        /// The encoder.
        encoder: Box<BurnEncoder>,
    },
    /// An exported form in tract, image by image, one copy of it a thread.
    Tract {
        /// The model folder.
        folder: ModelFolder,
        /// The form.
        form: Precision,
    },
}

impl Encoder {
    /// The float encoder in burn.
    ///
    /// # Errors
    /// If a parameter is missing or misshapen.
    pub fn burn(spec: &EncoderSpec, tensors: &Tensors) -> anyhow::Result<Self> {
        let encoder = Box::new(BurnEncoder::new(spec, tensors)?);
        Ok(Self::Burn { spec: Box::new(*spec), encoder })
    }

    /// Runtime and form, for a person: `burn f32`, `tract int8`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Burn { .. } => "burn f32".into(),
            Self::Tract { form, .. } => format!("tract {form}"),
        }
    }

    /// Pooled features of images (`[H, W, C]` each), in their order; `tick` is called with the number done.
    ///
    /// # Errors
    /// If an image does not fit the encoder, or the form cannot be loaded or run.
    pub fn encode(
        &self,
        images: &[Vec<u8>],
        choice: Choice,
        pooling: Pooling,
        tick: impl Fn(usize) + Sync,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        match self {
            Self::Burn { spec, encoder } => {
                let features = with_burn(encoder, spec, images, choice, tick)?;
                Ok(features.into_iter().map(|features| pooled(features, pooling)).collect())
            }
            Self::Tract { folder, form } => {
                let share = images.len().div_ceil(rayon::current_num_threads()).max(1);
                let done = AtomicUsize::new(0);
                let encode = |(place, images): (usize, &[Vec<u8>])| -> anyhow::Result<Vec<Vec<f32>>> {
                    let mut encoder = TractEncoder::load(folder, *form)?;
                    let first = (place * share) as u64;
                    let step = |_| tick(done.fetch_add(1, Ordering::Relaxed) + 1);
                    let features = with_tract(&mut encoder, images, (choice, first), step)?;
                    Ok(features.into_iter().map(|features| pooled(features, pooling)).collect())
                };
                let parts: Vec<_> = images.par_chunks(share).enumerate().map(encode).collect::<Result<_, _>>()?;
                Ok(parts.into_iter().flatten().collect())
            }
        }
    }
}
