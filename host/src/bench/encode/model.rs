//! The model that every contender runs.

use super::EncodeError;
use crate::{
    export::{self, precision::EncoderPrecision},
    preset::Preset,
    tensors::{NamedTensor, Tensors, encoder_hash},
};
use common::{
    model::{EncoderSpec, ModelHash},
    normalize::PixelStats,
};
use edge::{
    model_folder::{ModelFolder, Precision},
    native::random::random_parameters,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A model folder with the forms f32 and native.
#[derive(Debug)]
pub struct Model {
    /// What a person calls it: a preset's name or a folder's path.
    pub name: String,
    /// The folder's path.
    pub path: PathBuf,
    /// The folder.
    pub folder: ModelFolder,
    /// Owns the folder of random weights until the end.
    _staging: Option<TempDir>,
}

impl Model {
    /// The model folder at `path`.
    ///
    /// # Errors
    /// If it is none, or lacks a form.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::at(path.display().to_string(), path.into(), None)
    }

    /// Random weights of a preset's size.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn random(name: &str, preset: &Preset) -> anyhow::Result<Self> {
        let staging = tempfile::tempdir()?;
        let path = staging.path().join("model");
        write_random(&path, preset.model.encoder_spec(PixelStats::IMAGENET, ModelHash::default()))?;
        Self::at(name.into(), path, Some(staging))
    }

    fn at(name: String, path: PathBuf, staging: Option<TempDir>) -> anyhow::Result<Self> {
        let folder = edge::options::open_model(&path)?;
        for (form, there) in [("f32", folder.precisions().contains(&Precision::F32)), ("native", folder.has_native())]
        {
            if !there {
                return Err(EncodeError::NoForm { name, form }.into());
            }
        }
        Ok(Self { name, path, folder, _staging: staging })
    }

    /// The numbers of visible patches to measure: `asked`, or those of 16, 49, 64 and 196 that the model has.
    ///
    /// # Errors
    /// If the model does not have as many.
    pub fn visible(&self, asked: &[usize]) -> anyhow::Result<Vec<usize>> {
        let patches = self.folder.spec().grid()?.patches();
        let mut found = asked.to_vec();
        if found.is_empty() {
            found.extend([16, 49, 64, 196].into_iter().filter(|visible| *visible <= patches));
            if found.is_empty() {
                found.push(patches);
            }
        }
        match found.iter().find(|visible| !(1..=patches).contains(*visible)) {
            Some(visible) => Err(EncodeError::Visible { visible: *visible, patches }.into()),
            None => Ok(found),
        }
    }
}

/// A model folder of random weights.
fn write_random(path: &Path, mut spec: EncoderSpec) -> anyhow::Result<()> {
    let parameters = random_parameters(&spec, 0);
    let shapes = edge::native::write::parameters(&spec).into_iter();
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let data = parameters.get(&name).cloned().unwrap_or_default();
        (name, NamedTensor { shape, data })
    };
    let tensors: Tensors = shapes.map(tensor).collect();
    spec.hash = encoder_hash(&tensors);
    export::write(
        path,
        &spec,
        &tensors,
        &[EncoderPrecision::F32, EncoderPrecision::Int8, EncoderPrecision::Native],
        "random weights",
    )?;
    Ok(())
}
