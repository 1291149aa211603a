//! The projector: an MLP with batch normalisation between the feature and the space where views are compared. It is
//! trained with the encoder and dropped after pre-training (Chen et al. 2020, arXiv 2002.05709, §4.2: what lies
//! before it is the better feature).

use super::JointConfig;
use crate::model::{init::Init, layers::Linear, ops};
use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, activation},
};

/// Added to variances, as in PyTorch's `BatchNorm1d`.
const EPS: f64 = 1e-5;

/// A hidden layer: a product without bias, batch normalisation, ReLU.
#[derive(Module, Debug)]
pub struct Hidden {
    /// `[in, H]`; its bias is the normalisation's.
    fc: Linear,
    /// Scale after normalisation, `[H]`.
    scale: Param<Tensor<1>>,
}

/// Hidden layers and a Linear.
#[derive(Module, Debug)]
pub struct Projector {
    hidden: Vec<Hidden>,
    out: Linear,
}

impl Projector {
    /// A fresh projector from features of width `dim`.
    pub fn new(config: &JointConfig, dim: usize, init: &mut Init, device: &Device) -> Self {
        let (mut width, mut hidden) = (dim, Vec::new());
        for _ in 0..config.projector_depth {
            let fc = init.linear(width, config.projector_hidden, device);
            width = config.projector_hidden;
            hidden.push(Hidden { fc, scale: Param::from_tensor(Tensor::ones([width], device)) });
        }
        Self { hidden, out: init.linear(width, config.projector_dim, device) }
    }

    /// The same projector with other operations.
    #[must_use]
    pub fn with_ops(mut self, ops: ops::Ops) -> Self {
        self.hidden.iter_mut().for_each(|layer| layer.fc.ops = ops);
        self.out.ops = ops;
        self
    }

    /// `features`: `[views * B, D]`, the first views of all images first; the statistics are those of the views with
    /// the same number. Returns `[views * B, K]`.
    pub fn forward(&self, features: Tensor<2>, views: usize) -> Tensor<2> {
        let x = self.hidden.iter().fold(features, |x, layer| layer.forward(x, views));
        self.out.forward(x)
    }
}

impl Hidden {
    fn forward(&self, x: Tensor<2>, views: usize) -> Tensor<2> {
        let x = ops::product(x, self.fc.weight.val(), self.fc.ops);
        let [rows, width] = x.dims();
        let x = x.reshape([views, rows / views, width]);
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().powi_scalar(2).mean_dim(1);
        let x = (centred / (variance + EPS).sqrt()).reshape([rows, width]);
        activation::relu(x * self.scale.val().unsqueeze() + self.fc.bias.val().unsqueeze())
    }
}
