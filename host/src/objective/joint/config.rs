//! The recipe of the joint term.

use serde::{Deserialize, Serialize};

/// What keeps the features of different images apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum JointKind {
    /// There is no joint term: the paper's masked autoencoder.
    #[default]
    None,
    /// Their distribution is drawn to a Gaussian.
    Sigreg,
    /// Each is told from those of the other images of the batch.
    Infonce,
}

/// The feature that is projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JointPool {
    /// The mean of the normed visible patch tokens.
    #[default]
    Mean,
    /// The normed class token.
    Cls,
}

/// The joint term (`[train.joint]`); fields that do not belong to its kind are without effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JointConfig {
    /// Which.
    pub kind: JointKind,
    /// Its factor in the loss.
    pub weight: f64,
    /// The reconstruction's factor in the loss; with 0 no patch is decoded and the decoder is not trained.
    pub reconstruction_weight: f64,
    /// Views of an image.
    pub views: usize,
    /// Share of the patches that are visible in all views but the first; as in the first if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view_keep: Option<f64>,
    /// The feature that is projected.
    pub pool: JointPool,
    /// Width of the projector's hidden layers.
    pub projector_hidden: usize,
    /// Number of the projector's hidden layers.
    pub projector_depth: usize,
    /// Width of the projections (`K`).
    pub projector_dim: usize,
    /// InfoNCE: what cosines are divided by.
    pub temperature: f64,
    /// SIGReg: the share of the distribution's term; the rest is the distance between views.
    pub sigreg_share: f64,
    /// SIGReg: directions in which the distribution is tested.
    pub slices: usize,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self {
            kind: JointKind::None,
            weight: 1.0,
            reconstruction_weight: 1.0,
            views: 2,
            view_keep: None,
            pool: JointPool::Mean,
            projector_hidden: 512,
            projector_depth: 1,
            projector_dim: 128,
            temperature: 0.2,
            sigreg_share: 0.05,
            slices: 256,
        }
    }
}

/// Why a joint term is impossible. Fields have their names in `[train.joint]`; the command line tells its own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JointError {
    /// A factor of the loss.
    #[error("joint.weight must be above 0")]
    Weight,
    /// The reconstruction's factor.
    #[error("joint.reconstruction_weight must be 0 or more, and above 0 without a joint term")]
    Reconstruction,
    /// There is nothing to compare.
    #[error("joint.views must be from 2 to 16")]
    Views,
    /// The share of the further views.
    #[error("joint.view_keep must be above 0 and at most 1")]
    ViewKeep,
    /// Statistics of one image.
    #[error("a joint term compares images with each other, so batch_size must be at least 2")]
    Batch,
    /// A width or number of the projector.
    #[error(
        "joint.projector_hidden and joint.projector_dim must be from 1 to 65536, joint.projector_depth from 0 to 8"
    )]
    Projector,
    /// The temperature.
    #[error("joint.temperature must be from 0.05 to 10")]
    Temperature,
    /// SIGReg's own numbers.
    #[error("joint.sigreg_share must be above 0 and at most 1, joint.slices from 1 to 65536")]
    Sigreg,
    /// There are no features of visible patches alone.
    #[error("encoder_mask_tokens go without a joint term, which compares features of visible patches alone")]
    MaskTokens,
}

impl JointConfig {
    /// Whether there is nothing that differs from the paper's.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is a joint term.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.kind != JointKind::None
    }

    /// Whether the decoder is trained.
    #[must_use]
    pub fn reconstructs(&self) -> bool {
        self.reconstruction_weight > 0.0
    }

    /// Views of an image that a batch has.
    #[must_use]
    pub fn views(&self) -> usize {
        if self.is_on() { self.views } else { 1 }
    }

    /// Refuses what is impossible for batches of `batch` images.
    ///
    /// # Errors
    /// Names the first number that is.
    pub fn validate(&self, batch: usize, mask_tokens: bool) -> Result<(), JointError> {
        let weight = self.reconstruction_weight;
        if !(weight.is_finite() && weight >= 0.0) || (!self.is_on() && weight == 0.0) {
            return Err(JointError::Reconstruction);
        }
        if !self.is_on() {
            return Ok(());
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(JointError::Weight);
        }
        if !(2..=16).contains(&self.views) {
            return Err(JointError::Views);
        }
        if self.view_keep.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
            return Err(JointError::ViewKeep);
        }
        if batch < 2 {
            return Err(JointError::Batch);
        }
        if mask_tokens {
            return Err(JointError::MaskTokens);
        }
        let width = |width: usize| (1..=65536).contains(&width);
        if !width(self.projector_hidden) || !width(self.projector_dim) || self.projector_depth > 8 {
            return Err(JointError::Projector);
        }
        if !(0.05..=10.0).contains(&self.temperature) {
            return Err(JointError::Temperature);
        }
        if !(self.sigreg_share > 0.0 && self.sigreg_share <= 1.0 && width(self.slices)) {
            return Err(JointError::Sigreg);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_terms_are_refused_each_for_its_reason() {
        let on = JointConfig { kind: JointKind::Infonce, ..JointConfig::default() };
        assert_eq!(on.validate(2, false), Ok(()));
        assert_eq!(JointConfig::default().validate(1, true), Ok(()));
        let cases = [
            (JointConfig { weight: 0.0, ..on.clone() }, JointError::Weight),
            (JointConfig { weight: f64::NAN, ..on.clone() }, JointError::Weight),
            (JointConfig { reconstruction_weight: -1.0, ..on.clone() }, JointError::Reconstruction),
            (JointConfig { reconstruction_weight: 0.0, ..JointConfig::default() }, JointError::Reconstruction),
            (JointConfig { views: 1, ..on.clone() }, JointError::Views),
            (JointConfig { view_keep: Some(0.0), ..on.clone() }, JointError::ViewKeep),
            (JointConfig { view_keep: Some(f64::NAN), ..on.clone() }, JointError::ViewKeep),
            (JointConfig { projector_depth: 9, ..on.clone() }, JointError::Projector),
            (JointConfig { projector_dim: 0, ..on.clone() }, JointError::Projector),
            (JointConfig { temperature: 0.0, ..on.clone() }, JointError::Temperature),
            (JointConfig { sigreg_share: 0.0, ..on.clone() }, JointError::Sigreg),
            (JointConfig { slices: 0, ..on.clone() }, JointError::Sigreg),
        ];
        for (config, error) in cases {
            assert_eq!(config.validate(2, false), Err(error));
        }
        assert_eq!(on.validate(1, false), Err(JointError::Batch));
        assert_eq!(on.validate(2, true), Err(JointError::MaskTokens));
    }
}
