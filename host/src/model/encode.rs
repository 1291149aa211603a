//! The trained encoder as a function from visible patches to features, in burn.

use super::{Encoder, MaeConfig, init::Init, ops::Ops, weights};
use crate::tensors::Tensors;
use anyhow::{Context as _, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use common::{
    model::{EncoderSpec, Pooling},
    patch::PatchGrid,
};

/// The two pooled features of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The class token after the final norm, `[D]`.
    pub cls: Vec<f32>,
    /// Mean of the visible patch tokens after the final norm, or as [`Pooling::MeanNorm`] where the model is meant to
    /// be read so, `[D]`.
    pub mean: Vec<f32>,
}

/// The float encoder that every exported form is compared with.
#[derive(Debug)]
pub struct BurnEncoder {
    encoder: Encoder,
    grid: PatchGrid,
    pooling: Pooling,
    device: Device,
}

impl BurnEncoder {
    /// An encoder on the CPU from named parameters; a decoder's are ignored.
    ///
    /// # Errors
    /// If the description is unusable, or a parameter is missing or has another shape.
    pub fn new(spec: &EncoderSpec, tensors: &Tensors) -> anyhow::Result<Self> {
        Self::on(spec, tensors, &Device::flex())
    }

    /// As [`Self::new`], on `device`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(spec: &EncoderSpec, tensors: &Tensors, device: &Device) -> anyhow::Result<Self> {
        spec.validate()?;
        let config = MaeConfig::for_encoder(spec);
        let grid = config.grid()?;
        let encoder = Encoder::new(&config, &mut Init::new(0), device)?;
        let encoder = weights::load_tensors(encoder, tensors, &grid)?;
        Ok(Self { encoder, grid, pooling: spec.pooling, device: device.clone() })
    }

    /// The same encoder with other operations.
    #[must_use]
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.encoder.set_ops(ops);
        self
    }

    /// The patch grid of an image.
    #[must_use]
    pub fn grid(&self) -> &PatchGrid {
        &self.grid
    }

    /// Encodes a batch of images that each keep `visible` patches. `patches`: `[B * V, P]` normalised pixels;
    /// `ids_keep`: `[B * V]`.
    ///
    /// # Errors
    /// If the lengths disagree or a patch number lies outside the grid.
    pub fn encode(&self, patches: &[f32], ids_keep: &[u32], visible: usize) -> anyhow::Result<Vec<Features>> {
        let values = self.grid.patch_dim();
        ensure!(visible > 0 && ids_keep.len().is_multiple_of(visible), "ids_keep is not a multiple of {visible}");
        ensure!(patches.len() == ids_keep.len() * values, "patches and ids_keep disagree");
        ensure!(ids_keep.iter().all(|id| (*id as usize) < self.grid.patches()), "a patch lies outside the grid");
        let (rows, batch) = (ids_keep.len(), ids_keep.len() / visible);
        let patches = Tensor::<2>::from_data(TensorData::new(patches.to_vec(), [rows, values]), &self.device);
        let ids: Vec<i32> = ids_keep.iter().map(|id| *id as i32).collect();
        let positions = Tensor::from_data(TensorData::new(ids, [rows]), &self.device);
        let tokens = self.encoder.forward_blocks(patches, positions, batch);
        self.encoder.features(tokens, batch, self.pooling)
    }
}

impl Encoder {
    /// The pooled features of what the last block gives, `[B * (1 + V), D]`, the mean as `pooling` says.
    ///
    /// # Errors
    /// If the device cannot give them back.
    pub fn features(&self, tokens: Tensor<2>, batch: usize, pooling: Pooling) -> anyhow::Result<Vec<Features>> {
        let [rows, dim] = tokens.dims();
        let visible = rows / batch - 1;
        let normed = self.norm.forward(tokens.clone()).reshape([batch, 1 + visible, dim]);
        let cls = normed.clone().narrow(1, 0, 1);
        let mean = match pooling {
            Pooling::Cls | Pooling::Mean => normed.narrow(1, 1, visible).mean_dim(1),
            Pooling::MeanNorm => {
                let mean = tokens.reshape([batch, 1 + visible, dim]).narrow(1, 1, visible).mean_dim(1);
                self.norm.forward(mean.reshape([batch, dim])).unsqueeze()
            }
        };
        let read = |t: Tensor<3>| t.try_into_vec_as::<f32>().map_err(|e| anyhow::anyhow!("{e}"));
        let (cls, mean) = (read(cls).context("reading features")?, read(mean).context("reading features")?);
        let features = cls.chunks_exact(dim).zip(mean.chunks_exact(dim));
        Ok(features.map(|(cls, mean)| Features { cls: cls.to_vec(), mean: mean.to_vec() }).collect())
    }
}
