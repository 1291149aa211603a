//! Which recipes are possible.

use super::TrainConfig;
use crate::{
    data::augment::{Augment, Colour, ColourError},
    model::DecoderKind,
    objective::joint::config::JointError,
};
use common::mask::len_keep;

/// Why a recipe is impossible. Fields have their names in `run.toml`; the command line tells its own instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// The share of removed patches.
    #[error("mask_ratio {0} is not between 0 and 1")]
    MaskRatio(f64),
    /// No patch would be visible.
    #[error("mask_ratio {ratio} keeps none of {patches} patches: use a smaller one")]
    NothingKept {
        /// The share.
        ratio: f64,
        /// Patches of an image.
        patches: usize,
    },
    /// No patch would be predicted.
    #[error("mask_ratio {ratio} removes none of {patches} patches: use a larger one")]
    NothingRemoved {
        /// The share.
        ratio: f64,
        /// Patches of an image.
        patches: usize,
    },
    /// One of these is 0.
    #[error("epochs, batch_size and accumulate must be at least 1")]
    Zero,
    /// The effective batch has no number.
    #[error("batch_size times accumulate is too large a number")]
    TooLarge,
    /// The base learning rate.
    #[error("blr must be a positive number")]
    Rate,
    /// The additions at the borders of patches.
    #[error("seam.weight and seam.gradient must be 0 or more")]
    Seam,
    /// The share of predicted patches.
    #[error("predict_ratio {0} is not above 0 and at most 1")]
    PredictRatio(f64),
    /// Additions at borders beside patches that are not predicted.
    #[error(
        "seam.weight and seam.gradient need the prediction of all removed patches: use a predict_ratio of 1, or 0 for \
         both"
    )]
    SeamOfSome,
    /// A decoder without places for mask tokens that come from the encoder.
    #[error(
        "encoder_mask_tokens goes with decoder = \"self\" and a predict_ratio of 1 alone: mask tokens that pass \
         through the encoder all reach the decoder"
    )]
    EncoderMaskTokens,
    /// The colours of views.
    #[error(transparent)]
    Colour(#[from] ColourError),
    /// The smallest crop where crops are not random.
    #[error("colour.crop_area is of random crops: it has no meaning with augment {}", .0.name())]
    NoCrop(Augment),
    /// Two changes of the same colours.
    #[error("augment colour-jitter is a jitter already: use it, or colour.jitter with augment random-crop")]
    TwoJitters,
    /// The warm-up.
    #[error("warmup_epochs must be 0 or more")]
    WarmUp,
    /// The joint term.
    #[error(transparent)]
    Joint(#[from] JointError),
    /// One optimizer step takes more images than there are.
    #[error("{images} images are fewer than the {parts} batches of {batch} of one optimizer step")]
    FewImages {
        /// Images that are there.
        images: usize,
        /// Images a batch.
        batch: usize,
        /// Batches a step.
        parts: usize,
    },
}

/// Refuses ratios that keep or remove none of `patches`.
///
/// # Errors
/// The first three of [`RecipeError`].
pub fn mask_ratio(ratio: f64, patches: usize) -> Result<(), RecipeError> {
    if !(ratio > 0.0 && ratio < 1.0) {
        return Err(RecipeError::MaskRatio(ratio));
    }
    match len_keep(patches, ratio) {
        0 => Err(RecipeError::NothingKept { ratio, patches }),
        kept if kept == patches => Err(RecipeError::NothingRemoved { ratio, patches }),
        _ => Ok(()),
    }
}

impl TrainConfig {
    /// Refuses what is impossible for images of `patches` patches and this decoder.
    ///
    /// # Errors
    /// Names the first number that is.
    pub fn validate(&self, patches: usize, decoder: DecoderKind) -> Result<(), RecipeError> {
        mask_ratio(self.mask_ratio, patches)?;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        if self.epochs == 0 || self.batch_size == 0 || self.accumulate == 0 {
            return Err(RecipeError::Zero);
        }
        if self.batch_size.checked_mul(self.accumulate).is_none() {
            return Err(RecipeError::TooLarge);
        }
        if !(self.blr.is_finite() && self.blr > 0.0) {
            return Err(RecipeError::Rate);
        }
        if ![self.seam.weight, self.seam.gradient].into_iter().all(not_negative) {
            return Err(RecipeError::Seam);
        }
        if !(self.predict_ratio > 0.0 && self.predict_ratio <= 1.0) {
            return Err(RecipeError::PredictRatio(self.predict_ratio));
        }
        if self.predict_ratio < 1.0 && !self.seam.is_off() {
            return Err(RecipeError::SeamOfSome);
        }
        if self.encoder_mask_tokens && (decoder == DecoderKind::Cross || self.predict_ratio < 1.0) {
            return Err(RecipeError::EncoderMaskTokens);
        }
        self.colour.validate()?;
        if self.colour.crop_area != Colour::default().crop_area && !self.augment.is_random_crop() {
            return Err(RecipeError::NoCrop(self.augment));
        }
        if self.colour.jitter > 0.0 && self.augment == Augment::ColourJitter {
            return Err(RecipeError::TwoJitters);
        }
        if !not_negative(self.warmup_epochs) {
            return Err(RecipeError::WarmUp);
        }
        self.joint.validate(self.batch_size, self.encoder_mask_tokens)?;
        Ok(())
    }

    /// Refuses fewer `images` than one optimizer step takes.
    ///
    /// # Errors
    /// [`RecipeError::FewImages`].
    pub fn validate_images(&self, images: usize) -> Result<(), RecipeError> {
        if images >= self.images_a_step() {
            return Ok(());
        }
        Err(RecipeError::FewImages { images, batch: self.batch_size, parts: self.accumulate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        objective::seam::SeamConfig,
        preset::{Preset, Recipe},
    };

    #[test]
    fn ratios_that_keep_or_remove_nothing_are_refused() {
        for ratio in [0.0, 1.0, -0.5, 1.5, f64::NAN, 1e-18, 0.999] {
            assert!(mask_ratio(ratio, 64).is_err(), "{ratio}");
        }
        assert!(mask_ratio(0.75, 64).is_ok());
    }

    #[test]
    fn what_a_cheaper_decoder_cannot_do_is_refused() {
        let paper = Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper).train;
        let seam = SeamConfig { weight: 0.0, gradient: 1.0 };
        let (own, cross) = (DecoderKind::SelfAttention, DecoderKind::Cross);
        for predict_ratio in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY] {
            let found = TrainConfig { predict_ratio, ..paper.clone() }.validate(64, own);
            assert!(matches!(found, Err(RecipeError::PredictRatio(_))), "{predict_ratio}");
        }
        for predict_ratio in [1e-9, 0.5, 1.0] {
            let some = TrainConfig { predict_ratio, ..paper.clone() };
            assert_eq!((some.validate(64, own), some.validate(64, cross)), (Ok(()), Ok(())));
            let (all, off) = (predict_ratio == 1.0, Ok(()));
            let with = TrainConfig { seam, ..some.clone() };
            for decoder in [own, cross] {
                assert_eq!(with.validate(64, decoder), if all { off.clone() } else { Err(RecipeError::SeamOfSome) });
            }
            let with = TrainConfig { encoder_mask_tokens: true, ..some };
            let refused = Err(RecipeError::EncoderMaskTokens);
            assert_eq!(with.validate(64, own), if all { off } else { refused.clone() });
            assert_eq!(with.validate(64, cross), refused);
        }
    }
}
