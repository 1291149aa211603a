//! The parity files: a model of the official implementation, a batch, and what became of them.

use super::Setup;
use crate::{
    model::{DecoderKind, Mae, MaeConfig, MaskBatch, layers::NORM_EPS, weights},
    tensors::{NamedTensor, Tensors, safetensors},
};
use anyhow::{Context as _, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use common::{
    mask::{Mask, len_keep},
    model::PositionKind,
    patch::PatchGrid,
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{fs, path::PathBuf};

/// `config.json`.
#[derive(Debug, Deserialize)]
struct Description {
    img_size: usize,
    patch_size: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    decoder_embed_dim: usize,
    decoder_depth: usize,
    decoder_num_heads: usize,
    mlp_ratio: f64,
    norm_eps: f64,
    mask_ratio: f64,
}

/// A folder without parity files.
#[derive(Debug, thiserror::Error)]
#[error("no parity files in {}; those of the source tree are in tests/parity/mae-32", .0.display())]
pub struct NoParity(pub PathBuf);

/// A folder of parity files.
#[derive(Debug)]
pub struct Parity {
    folder: PathBuf,
    mask_ratio: f64,
    config: MaeConfig,
    grid: PatchGrid,
    /// The model's parameters, with the official names.
    pub checkpoint: Tensors,
    /// Inputs and outputs of one pass over the batch.
    pub forward: Tensors,
}

impl Parity {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`NoParity`]; or if a file is missing or damaged.
    pub fn open(folder: &std::path::Path) -> anyhow::Result<Self> {
        if !folder.join("config.json").is_file() {
            return Err(NoParity(folder.into()).into());
        }
        let folder = folder.to_owned();
        let description: Description = read_json(&folder.join("config.json"))?;
        ensure!(
            description.norm_eps == NORM_EPS,
            "{}: norm_eps {} is not this model's {NORM_EPS}",
            folder.join("config.json").display(),
            description.norm_eps
        );
        let config = MaeConfig {
            image_height: description.img_size,
            image_width: description.img_size,
            channels: 3,
            patch_size: description.patch_size,
            dim: description.embed_dim,
            depth: description.depth,
            heads: description.num_heads,
            decoder_dim: description.decoder_embed_dim,
            decoder_depth: description.decoder_depth,
            decoder_heads: description.decoder_num_heads,
            decoder: DecoderKind::SelfAttention,
            mlp_ratio: description.mlp_ratio,
            norm_pix_loss: true,
            position: PositionKind::SinCos2d,
        };
        let unusable = || format!("{} is not usable", folder.join("config.json").display());
        config.validate().with_context(unusable)?;
        let grid = config.grid().with_context(unusable)?;
        let read = |file: &str| safetensors::read(&folder.join(file)).map(|(tensors, _)| tensors);
        let (checkpoint, forward) = (read("checkpoint.safetensors")?, read("forward.safetensors")?);
        Ok(Self { mask_ratio: description.mask_ratio, config, grid, checkpoint, forward, folder })
    }

    /// The model's geometry.
    #[must_use]
    pub fn config(&self, norm_pix_loss: bool) -> MaeConfig {
        MaeConfig { norm_pix_loss, ..self.config.clone() }
    }

    /// The patch grid.
    #[must_use]
    pub fn grid(&self) -> &PatchGrid {
        &self.grid
    }

    /// A file of the folder.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// All tensors of a file.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn tensors(&self, file: &str) -> anyhow::Result<Tensors> {
        Ok(safetensors::read(&self.path(file))?.0)
    }

    /// A file of JSON.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> anyhow::Result<T> {
        read_json(&self.path(file))
    }

    /// The model of the checkpoint, on the device of `setup` with its operations.
    ///
    /// # Errors
    /// If a parameter is missing or misshapen.
    pub fn model(&self, norm_pix_loss: bool, setup: &Setup, autodiff: bool) -> anyhow::Result<Mae> {
        let device = device(setup, autodiff);
        let model = Mae::new(&self.config(norm_pix_loss), 1, &device)?;
        Ok(weights::load_tensors(model, &self.checkpoint, &self.grid)?.with_ops(setup.ops))
    }

    /// A tensor of the pass over the batch.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn of_forward(&self, name: &str) -> anyhow::Result<&NamedTensor> {
        tensor(&self.forward, name)
    }

    /// The masks that the noise of the batch gives.
    ///
    /// # Errors
    /// If there is no noise for whole images.
    pub fn masks(&self) -> anyhow::Result<MaskBatch> {
        let (noise, patches) = (self.of_forward("noise")?, self.grid.patches());
        let kept = len_keep(patches, self.mask_ratio);
        ensure!(noise.data.len().is_multiple_of(patches) && kept > 0, "`noise` does not fit the model");
        let masks = noise.data.chunks_exact(patches).map(|noise| Mask::from_noise(noise, kept));
        MaskBatch::from_masks(masks.collect()).context("`noise` is empty")
    }

    /// The batch, `[B, L, P]`.
    ///
    /// # Errors
    /// If its shape does not fit the model.
    pub fn patches(&self, device: &Device) -> anyhow::Result<Tensor<3>> {
        let patches = self.of_forward("patches")?;
        let shape = [self.masks()?.batch(), self.grid.patches(), self.grid.patch_dim()];
        ensure!(patches.shape == shape, "`patches` is {:?} where {shape:?} is needed", patches.shape);
        Ok(Tensor::from_data(TensorData::new(patches.data.clone(), shape), device))
    }
}

/// The device of `setup`, with or without gradients.
pub(super) fn device(setup: &Setup, autodiff: bool) -> Device {
    let device = setup.device.clone();
    if autodiff { device.autodiff() } else { device.without_autodiff() }
}

/// A tensor by name.
///
/// # Errors
/// If there is none.
pub fn tensor<'a>(tensors: &'a Tensors, name: &str) -> anyhow::Result<&'a NamedTensor> {
    tensors.get(name).with_context(|| format!("the parity files lack the tensor `{name}`"))
}

/// Reads a tensor back.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> anyhow::Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|error| anyhow::anyhow!("{error}")).context("reading from the device")
}

fn read_json<T: DeserializeOwned>(path: &std::path::Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not usable", path.display()))
}
