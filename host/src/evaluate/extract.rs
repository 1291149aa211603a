//! The features of a folder of images as a file.

use super::{backend::Backend, features::Choice, images::prepared};
use crate::{
    device::precision::Precision as Arithmetic,
    files,
    link::{names::escaped, sink::names_path},
    progress::bar,
    run::load_encoder,
};
use anyhow::Context as _;
use common::model::Pooling;
use edge::options::RuntimeArgs;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt as _;
use std::path::Path;

/// What is encoded, and by what.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// A run folder or a model folder.
    pub model: &'a Path,
    /// The folder of the images.
    pub images: &'a Path,
    /// Patches.
    pub choice: Choice,
    /// Feature; the model's without it.
    pub pooling: Option<Pooling>,
    /// What computes.
    pub runtime: Computes,
}

/// What computes the features.
#[derive(Debug, Clone)]
pub enum Computes {
    /// Burn, in this arithmetic.
    Burn(Arithmetic),
    /// A board's runtime.
    Board(RuntimeArgs),
}

/// Features by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// Paths of the images within their folder.
    pub names: Vec<String>,
    /// `[N, D]`.
    pub features: Array2<f32>,
}

/// Encodes every readable image of the folder.
///
/// # Errors
/// If model or images cannot be read, or do not fit each other.
pub fn extract(request: &Request<'_>) -> anyhow::Result<Extracted> {
    let Request { model, images, choice, pooling, runtime } = request;
    let (spec, backend) = match runtime {
        Computes::Burn(arithmetic) => {
            let (spec, tensors) = load_encoder(model)?;
            (spec, Backend::burn(&spec, &tensors, *arithmetic)?)
        }
        Computes::Board(runtime) => {
            let folder = edge::options::open_model(model)?;
            // What the folder cannot do is told before images are read.
            runtime.choose(&folder)?;
            (*folder.spec(), Backend::Board { folder: Box::new(folder), runtime: runtime.clone() })
        }
    };
    let images = prepared(images, &spec, None)?;
    let bar = bar(images.images.len(), "encoding");
    let tick = |done| bar.set_position(done as u64);
    let features = backend.encode(&images.images, *choice, spec.pooling_for(*pooling), tick)?;
    bar.finish_and_clear();
    let shape = (features.len(), spec.feature_dim as usize);
    let values = features.into_iter().flatten().collect();
    Ok(Extracted { names: images.names, features: Array2::from_shape_vec(shape, values)? })
}

impl Extracted {
    /// Writes the features as `.npy` to `out`, and the names beside it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, out: &Path) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        self.features.write_npy(&mut bytes)?;
        let cannot = || format!("cannot write {}", out.display());
        let text: String = self.names.iter().map(|name| escaped(name) + "\n").collect();
        files::write_file(&names_path(out), text.as_bytes()).with_context(cannot)?;
        files::write_file(out, &bytes).with_context(cannot)
    }
}
