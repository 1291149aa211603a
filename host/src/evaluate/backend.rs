//! Features by the float encoder in burn, or by an exported form in a board's runtime, on all cores.

use super::features::{Choice, pooled, with_board, with_burn};
use crate::{
    device::precision::Precision as Arithmetic,
    model::{BurnEncoder, encode::Features},
    tensors::Tensors,
};
use burn::tensor::Device;
use common::model::{EncoderSpec, Pooling};
use edge::{
    model_folder::{ModelFolder, Precision},
    options::{Runtime, RuntimeArgs},
    runtime::ImageEncoder,
};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What encodes.
#[derive(Debug)]
pub enum Backend {
    /// The float encoder in burn, in batches.
    Burn {
        /// Its description.
        spec: Box<EncoderSpec>,
        /// The encoder.
        encoder: Box<BurnEncoder>,
        /// Its arithmetic.
        arithmetic: Arithmetic,
    },
    /// An exported form in a board's runtime, image by image, one encoder a thread.
    Board {
        /// The model folder.
        folder: Box<ModelFolder>,
        /// Runtime and form.
        runtime: RuntimeArgs,
    },
}

impl Backend {
    /// The float encoder in burn, on the CPU.
    ///
    /// # Errors
    /// If a parameter is missing or misshapen.
    pub fn burn(spec: &EncoderSpec, tensors: &Tensors, arithmetic: Arithmetic) -> anyhow::Result<Self> {
        let encoder = BurnEncoder::new(spec, tensors)?.with_ops(arithmetic.ops(&Device::flex()));
        Ok(Self::Burn { spec: Box::new(*spec), encoder: Box::new(encoder), arithmetic })
    }

    /// An ONNX form in tract.
    #[must_use]
    pub fn tract(folder: &ModelFolder, form: Precision) -> Self {
        let runtime = RuntimeArgs { runtime: Some(Runtime::Tract), precision: Some(form), ..RuntimeArgs::default() };
        Self::Board { folder: Box::new(folder.clone()), runtime }
    }

    /// The native encoder.
    #[must_use]
    pub fn native(folder: &ModelFolder) -> Self {
        let runtime = RuntimeArgs { runtime: Some(Runtime::Native), ..RuntimeArgs::default() };
        Self::Board { folder: Box::new(folder.clone()), runtime }
    }

    /// Every form that the folder has.
    #[must_use]
    pub fn all(folder: &ModelFolder) -> Vec<Self> {
        let mut all: Vec<Self> = folder.precisions().into_iter().map(|form| Self::tract(folder, form)).collect();
        all.extend(folder.has_native().then(|| Self::native(folder)));
        all
    }

    /// The form as a model folder names it: `f32`, `int8`, `native`; or `bf16`.
    #[must_use]
    pub fn precision(&self) -> String {
        match self {
            Self::Burn { arithmetic: Arithmetic::Fp32, .. } => "f32".into(),
            Self::Burn { arithmetic: Arithmetic::Bf16, .. } => "bf16".into(),
            Self::Board { runtime, .. } => runtime.precision.map_or_else(|| "native".into(), |form| form.to_string()),
        }
    }

    /// Runtime and form, for a person: `burn f32`, `burn bf16`, `tract int8`, `native`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Burn { .. } => format!("burn {}", self.precision()),
            Self::Board { runtime, .. } => {
                runtime.precision.map_or_else(|| "native".into(), |form| format!("tract {form}"))
            }
        }
    }

    /// Features of images (`[H, W, C]` each), in their order; `tick` is called with the number done.
    ///
    /// # Errors
    /// If an image does not fit the encoder, or the form cannot be loaded or run.
    pub fn features(
        &self,
        images: &[Vec<u8>],
        choice: Choice,
        tick: impl Fn(usize) + Sync,
    ) -> anyhow::Result<Vec<Features>> {
        match self {
            Self::Burn { spec, encoder, .. } => with_burn(encoder, spec, images, choice, tick),
            Self::Board { folder, runtime } => {
                let share = images.len().div_ceil(rayon::current_num_threads()).max(1);
                let done = AtomicUsize::new(0);
                let encode = |(place, images): (usize, &[Vec<u8>])| -> anyhow::Result<Vec<Features>> {
                    let file = runtime.open(folder)?;
                    let mut encoder = ImageEncoder::new(folder, runtime, file.as_ref())?;
                    let first = (place * share) as u64;
                    let step = |_| tick(done.fetch_add(1, Ordering::Relaxed) + 1);
                    with_board(&mut encoder, images, (choice, first), step)
                };
                let parts: Vec<_> = images.par_chunks(share).enumerate().map(encode).collect::<Result<_, _>>()?;
                Ok(parts.into_iter().flatten().collect())
            }
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
        let features = self.features(images, choice, tick)?;
        Ok(features.into_iter().map(|features| pooled(features, pooling)).collect())
    }
}
