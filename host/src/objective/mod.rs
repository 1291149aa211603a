//! What pre-training minimises: what is predicted ([`target`]), by what ([`Learner`]), on which patches and with
//! which weight ([`Objective`]). The paper's own objective is in `model::mae`; every other begins here.

pub mod components;
pub mod joint;
pub mod learner;
pub mod seam;
pub mod target;

use crate::model::{Mae, MaskBatch, mae::normalize_patches};
use burn::tensor::Tensor;
use common::patch::PatchGrid;
pub use learner::Learner;
use seam::{Seam, SeamConfig};

/// The loss of a training.
#[derive(Debug, Clone)]
pub struct Objective {
    norm_pix_loss: bool,
    seam: Option<Seam>,
}

impl Objective {
    /// The mean squared error of removed patches, with the additions that `seam` asks for.
    #[must_use]
    pub fn new(norm_pix_loss: bool, seam: SeamConfig, grid: PatchGrid) -> Self {
        Self { norm_pix_loss, seam: Seam::new(seam, grid) }
    }

    /// The loss, `[1]`: without additions that of [`Mae::forward_loss`], for which nothing need be predicted for
    /// visible patches. `pred`: of the `K` patches of each image that `masks` predicts, which are the removed ones or
    /// some of them, `[B * K, P]`; `target`: what is to be predicted, `[B, L, P]`. The additions need all of them.
    pub fn loss(&self, pred: Tensor<2>, target: Tensor<3>, masks: &MaskBatch) -> Tensor<1> {
        let (error, unit) = self.error(pred, target, masks);
        match &self.seam {
            None => error.powi_scalar(2).mean(),
            Some(seam) => seam.loss(error, unit, masks),
        }
    }

    /// Prediction minus target of the predicted patches, `[B * K, P]`, and with `norm_pix_loss` its unit in each
    /// patch, `[B * K, 1]`: the patch's deviation.
    fn error(&self, pred: Tensor<2>, target: Tensor<3>, masks: &MaskBatch) -> (Tensor<2>, Option<Tensor<2>>) {
        let [batch, length, values] = target.dims();
        let rows = masks.predicted_rows(0, &target.device());
        let target = target.reshape([batch * length, values]).select(0, rows);
        if !self.norm_pix_loss {
            return (pred - target, None);
        }
        let (normalized, deviation) = normalize_patches(target.unsqueeze());
        (pred - normalized.squeeze_dim(0), Some(deviation.squeeze_dim(0)))
    }
}

/// The paper's loss as training computes it, `[1]`: nothing is predicted for visible patches, which it leaves out.
/// `patches`: `[B, L, P]`.
pub fn loss_as_trained(model: &Mae, patches: Tensor<3>, masks: &MaskBatch) -> Tensor<1> {
    let learner = Learner::from(model.clone());
    let objective = Objective { norm_pix_loss: model.norm_pix_loss, seam: None };
    objective.loss(learner.predict_removed(learner.encode(patches.clone(), masks), masks), patches, masks)
}
