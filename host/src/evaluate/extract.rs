//! The features of a folder of images as a file.

use super::{
    features::{Choice, pooled, with_board, with_burn},
    images::prepared,
};
use crate::{
    device::precision::Precision as Arithmetic,
    files,
    link::{names::escaped, sink::names_path},
    model::BurnEncoder,
    progress::bar,
    run::load_encoder,
};
use anyhow::Context as _;
use burn::tensor::Device;
use common::model::Pooling;
use edge::{options::RuntimeArgs, runtime::ImageEncoder};
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

/// Encodes every readable image of the folder, one by one or in burn's batches.
///
/// # Errors
/// If model or images cannot be read, or do not fit each other.
pub fn extract(request: &Request<'_>) -> anyhow::Result<Extracted> {
    let Request { model, images, choice, pooling, runtime } = request;
    let (spec, features, names) = match runtime {
        Computes::Burn(arithmetic) => {
            let (spec, tensors) = load_encoder(model)?;
            let images = prepared(images, &spec, None)?;
            let bar = bar(images.images.len(), "encoding");
            let encoder = BurnEncoder::new(&spec, &tensors)?.with_ops(arithmetic.ops(&Device::flex()));
            let features = with_burn(&encoder, &spec, &images.images, *choice, |done| bar.set_position(done as u64))?;
            bar.finish_and_clear();
            (spec, features, images.names)
        }
        Computes::Board(runtime) => {
            let folder = edge::options::open_model(model)?;
            let file = runtime.open(&folder)?;
            let mut encoder = ImageEncoder::new(&folder, runtime, file.as_ref())?;
            let images = prepared(images, folder.spec(), None)?;
            let bar = bar(images.images.len(), "encoding");
            let tick = |done| bar.set_position(done as u64);
            let features = with_board(&mut encoder, &images.images, (*choice, 0), tick)?;
            bar.finish_and_clear();
            (*folder.spec(), features, images.names)
        }
    };
    let pooling = spec.pooling_for(*pooling);
    let (rows, dim) = (features.len(), spec.feature_dim as usize);
    let values: Vec<f32> = features.into_iter().flat_map(|features| pooled(features, pooling)).collect();
    Ok(Extracted { names, features: Array2::from_shape_vec((rows, dim), values)? })
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
