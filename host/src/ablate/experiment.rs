//! The paper's experiments (MAE, section 4.1 and after) as changes to one preset.

use super::error::SweepError;
use crate::{
    data::augment::Augment,
    model::DecoderKind,
    objective::seam::SeamConfig,
    preset::{Preset, TrainConfig},
};
use clap::ValueEnum;
use common::mask::MaskKind;
use serde::Serialize;

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// Share of patches that are removed (figure 5 of the paper).
    MaskRatio,
    /// How patches are chosen for removal, with pictures (table 1f, figure 6).
    MaskKind,
    /// Blocks of the decoder, scaled to the encoder's (table 1a).
    DecoderDepth,
    /// Width of the decoder, scaled to the encoder's (table 1b).
    DecoderWidth,
    /// What mask tokens attend to, and how many removed patches are predicted (CrossMAE, arXiv 2401.14391).
    Decoder,
    /// Mask tokens from the decoder on, or already in the encoder (table 1c).
    MaskToken,
    /// What is predicted (table 1d).
    Target,
    /// How training views are made (table 1e).
    Augmentation,
    /// Epochs of pre-training, each a training of its own (figure 7).
    Schedule,
    /// How many last blocks are fine-tuned (figure 9).
    Partial,
    /// Losses against the seam between patches (docs/seam.md).
    Seam,
}

/// One value of what is varied.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// As it is written on the command line.
    pub value: String,
    /// As the figure names it.
    pub label: String,
    /// The preset with it.
    pub preset: Preset,
    /// Of the experiment `partial`: the last blocks that are fine-tuned, all parameters if `None`.
    pub blocks: Option<f64>,
}

/// The paper's encoder in these experiments, ViT-L: blocks and width.
const PAPER: (usize, usize) = (24, 1024);

impl Experiment {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What the settings are numbers of, for an axis; nothing if they are names.
    #[must_use]
    pub fn axis(self) -> Option<&'static str> {
        match self {
            Self::MaskRatio => Some("masking ratio (%)"),
            Self::DecoderDepth => Some("blocks of the decoder"),
            Self::DecoderWidth => Some("width of the decoder"),
            Self::Schedule => Some("epochs of pre-training"),
            Self::Partial => Some("last blocks that are fine-tuned"),
            Self::MaskKind | Self::Decoder | Self::MaskToken | Self::Target | Self::Augmentation | Self::Seam => None,
        }
    }

    /// The values of the paper for this preset, or those in their place.
    #[must_use]
    pub fn usual_values(self, base: &Preset) -> Vec<String> {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let model = &base.model;
        let mut values = match self {
            Self::MaskRatio => texts(&["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.75", "0.8", "0.9"]),
            Self::MaskKind => texts(&["random:0.75", "block:0.5", "block:0.75", "grid:0.75"]),
            Self::DecoderDepth => {
                let scaled = |blocks: usize| (blocks as f64 * model.depth as f64 / PAPER.0 as f64).round().max(1.0);
                [1, 2, 4, 8, 12].map(|blocks| scaled(blocks).to_string()).to_vec()
            }
            Self::DecoderWidth => {
                // A multiple of four for the positions.
                let scaled =
                    |width: usize| ((width * model.dim) as f64 / (4 * PAPER.1) as f64).round().max(1.0) * 4.0;
                [128, 256, 512, 768, 1024].map(|width| scaled(width).to_string()).to_vec()
            }
            Self::Decoder => texts(&["self:1", "self:0.5", "self:0.25", "cross:1", "cross:0.5", "cross:0.25"]),
            Self::MaskToken => texts(&["decoder", "encoder"]),
            Self::Target => {
                // 96 components of 768 values.
                let values = model.patch_size * model.patch_size * model.channels;
                let main = format!("principal:{}", (values / 8).max(1));
                texts(&["pixels", "pixels+norm", &main, "low-variance:0.9+norm", "high-pass:1.5+norm"])
            }
            Self::Augmentation => texts(&["none", "fixed-crop", "random-crop", "colour-jitter"]),
            Self::Schedule => {
                let part = |factor: f64| (base.train.epochs as f64 * factor).round().max(1.0).to_string();
                // 100 to 1600 epochs where 800 are usual.
                [0.125, 0.25, 0.5, 1.0, 2.0].map(part).to_vec()
            }
            Self::Partial => {
                let blocks = [0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 12.0, 18.0];
                let fitting = blocks.into_iter().filter(|blocks| *blocks < model.depth as f64);
                fitting.map(|blocks| blocks.to_string()).chain(["all".to_owned()]).collect()
            }
            Self::Seam => texts(&["0:0", "1:0", "4:0", "0:1", "4:1"]),
        };
        values.dedup();
        values
    }

    /// The settings of `values`, or of the usual ones if there are none. `warmup`: the preset's warm-up, epochs,
    /// before it was shortened.
    ///
    /// # Errors
    /// If a value is none of this experiment, or describes an impossible model.
    pub fn settings(self, base: &Preset, values: &[String], warmup: f64) -> anyhow::Result<Vec<Setting>> {
        let usual = self.usual_values(base);
        let values = if values.is_empty() { &usual } else { values };
        let mut settings: Vec<Setting> = Vec::new();
        for value in values {
            let setting = self.setting(base, value, warmup)?;
            if settings.iter().any(|known| known.value == setting.value) {
                return Err(SweepError::Twice(setting.value).into());
            }
            let wrong = |reason: String| SweepError::Value { value: value.clone(), reason };
            setting.preset.model.validate().map_err(|error| wrong(error.to_string()))?;
            let model = &setting.preset.model;
            setting.preset.train.validate(model.grid()?.patches(), model.decoder)?;
            settings.push(setting);
        }
        Ok(settings)
    }

    fn setting(self, base: &Preset, value: &str, warmup: f64) -> Result<Setting, SweepError> {
        let mut preset = base.clone();
        let (model, train) = (&mut preset.model, &mut preset.train);
        let wrong = |wanted: &str| SweepError::Value {
            value: value.into(),
            reason: format!("{} takes {wanted}", self.name()),
        };
        let (mut label, mut blocks) = (value.to_owned(), None);
        let value = match self {
            Self::MaskRatio => {
                train.mask_ratio = value.parse().map_err(|_| wrong("shares such as 0.75"))?;
                train.keep_range = None;
                label = shown(train.mask_ratio * 100.0);
                train.mask_ratio.to_string()
            }
            Self::MaskKind => {
                let kind = |name: &str| MaskKind::ALL.into_iter().find(|kind| kind.name() == name);
                let read = value.split_once(':').and_then(|(name, ratio)| Some((kind(name)?, ratio.parse().ok()?)));
                (train.mask, train.mask_ratio) = read.ok_or_else(|| wrong("KIND:RATIO such as block:0.5"))?;
                train.keep_range = None;
                label = format!("{} {}", train.mask.name(), shown(train.mask_ratio * 100.0));
                format!("{}:{}", train.mask.name(), train.mask_ratio)
            }
            Self::DecoderDepth => {
                let depth = value.parse().ok().filter(|depth| *depth > 0);
                model.decoder_depth = depth.ok_or_else(|| wrong("numbers of blocks"))?;
                model.decoder_depth.to_string()
            }
            Self::DecoderWidth => {
                let width = value.parse().ok().filter(|width: &usize| *width > 0).ok_or_else(|| wrong("widths"))?;
                // Heads stay as wide as they are where that is possible.
                let wanted = (width as f64 * model.decoder_heads as f64 / model.decoder_dim as f64).round().max(1.0);
                let heads = (1..=wanted as usize).rev().find(|heads| width.is_multiple_of(*heads));
                (model.decoder_dim, model.decoder_heads) = (width, heads.unwrap_or(1));
                width.to_string()
            }
            Self::Decoder => {
                let kind = |name: &str| DecoderKind::from_str(name, false).ok();
                let read = value.split_once(':').and_then(|(name, share)| Some((kind(name)?, share.parse().ok()?)));
                (model.decoder, train.predict_ratio) = read.ok_or_else(|| wrong("KIND:SHARE such as cross:0.5"))?;
                label = match train.predict_ratio {
                    1.0 => format!("{}-attention", model.decoder.name()),
                    share => format!("{}-attention, {} %", model.decoder.name(), shown(share * 100.0)),
                };
                format!("{}:{}", model.decoder.name(), train.predict_ratio)
            }
            Self::MaskToken => {
                train.encoder_mask_tokens = match value {
                    "encoder" => true,
                    "decoder" => false,
                    _ => return Err(wrong("encoder and decoder")),
                };
                label = if train.encoder_mask_tokens { "encoder with mask tokens" } else { "encoder without" }.into();
                value.to_owned()
            }
            Self::Target => {
                let (target, norm) = value.strip_suffix("+norm").map_or((value, false), |target| (target, true));
                train.target = target.parse().map_err(|_| wrong("targets such as high-pass:1.5 or pixels+norm"))?;
                model.norm_pix_loss = norm;
                label = format!("{}{}", train.target, if norm { ", normalised" } else { "" }).replace(':', " ");
                format!("{}{}", train.target, if norm { "+norm" } else { "" })
            }
            Self::Augmentation => {
                train.augment = Augment::from_str(value, false)
                    .map_err(|_| wrong("none, fixed-crop, random-crop and colour-jitter"))?;
                label = train.augment.name().replace('-', " ");
                train.augment.name().to_owned()
            }
            Self::Schedule => {
                let epochs = value.parse().ok().filter(|epochs| *epochs > 0);
                train.epochs = epochs.ok_or_else(|| wrong("numbers of epochs"))?;
                train.warmup_epochs = shortened(warmup, train.epochs);
                train.epochs.to_string()
            }
            Self::Partial => {
                if value != "all" {
                    let found = value.parse().ok().filter(|n: &f64| {
                        [0.0, 0.5].contains(n) || (n.fract() == 0.0 && (1.0..=model.depth as f64).contains(n))
                    });
                    let wanted = format!("0, 0.5, whole numbers up to {} and all", model.depth);
                    blocks = Some(found.ok_or_else(|| wrong(&wanted))?);
                }
                value.to_owned()
            }
            Self::Seam => {
                let read = value.split_once(':').and_then(|(w, g)| Some((w.parse().ok()?, g.parse().ok()?)));
                let (weight, gradient) = read.ok_or_else(|| wrong("WEIGHT:GRADIENT such as 4:0"))?;
                train.seam = SeamConfig { weight, gradient };
                label = match (weight, gradient) {
                    (0.0, 0.0) => "plain".into(),
                    (w, 0.0) => format!("weight {w}"),
                    (0.0, g) => format!("gradient {g}"),
                    (w, g) => format!("weight {w}, gradient {g}"),
                };
                format!("{weight}:{gradient}")
            }
        };
        Ok(Setting { value, label, preset, blocks })
    }
}

/// A warm-up that is at most a tenth of the epochs.
#[must_use]
pub fn shortened(warmup: f64, epochs: usize) -> f64 {
    warmup.min(epochs as f64 / 10.0)
}

/// A number of per cent without the rounding of shares.
fn shown(percent: f64) -> String {
    ((percent * 1e6).round() / 1e6).to_string()
}

/// The name of a run: what its preset changes in `base`, so that experiments that share a setting share its run.
#[must_use]
pub fn run_name(base: &Preset, preset: &Preset, seed: u64) -> String {
    let (model, train) = (&preset.model, &preset.train);
    let TrainConfig { mask, mask_ratio, target, augment, seam, .. } = train;
    let mut parts = Vec::new();
    if (*mask, *mask_ratio) != (base.train.mask, base.train.mask_ratio) {
        parts.push(format!("mask-{}-{mask_ratio}", mask.name()));
    }
    if model.decoder_depth != base.model.decoder_depth {
        parts.push(format!("decoder-depth-{}", model.decoder_depth));
    }
    if model.decoder_dim != base.model.decoder_dim {
        parts.push(format!("decoder-width-{}", model.decoder_dim));
    }
    if model.decoder != base.model.decoder {
        parts.push(format!("decoder-{}", model.decoder.name()));
    }
    if train.predict_ratio != base.train.predict_ratio {
        parts.push(format!("predict-{}", train.predict_ratio));
    }
    if train.encoder_mask_tokens != base.train.encoder_mask_tokens {
        parts.push(format!("mask-token-{}", if train.encoder_mask_tokens { "encoder" } else { "decoder" }));
    }
    if (*target, model.norm_pix_loss) != (base.train.target, base.model.norm_pix_loss) {
        let norm = if model.norm_pix_loss { "-norm" } else { "" };
        parts.push(format!("target-{}{norm}", target.to_string().replace(':', "-")));
    }
    if *augment != base.train.augment {
        parts.push(format!("augment-{}", augment.name()));
    }
    if train.epochs != base.train.epochs {
        parts.push(format!("epochs-{}", train.epochs));
    }
    if *seam != base.train.seam {
        parts.push(format!("seam-{}-{}", seam.weight, seam.gradient));
    }
    let name = if parts.is_empty() { "base".to_owned() } else { parts.join("-") };
    format!("{name}-seed-{seed}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::{Recipe, validate::RecipeError};

    fn base() -> Preset {
        Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper)
    }

    fn values(experiment: Experiment) -> Vec<String> {
        experiment.settings(&base(), &[], 2.0).expect("settings").into_iter().map(|setting| setting.value).collect()
    }

    #[test]
    fn every_experiment_has_possible_settings_of_which_one_is_the_presets_own() {
        for experiment in Experiment::value_variants() {
            let settings = experiment.settings(&base(), &[], 2.0).expect("settings");
            let names: Vec<String> = settings.iter().map(|setting| run_name(&base(), &setting.preset, 3)).collect();
            assert!(names.iter().any(|name| name == "base-seed-3"), "{experiment:?}: {names:?}");
            let mut distinct = names.clone();
            distinct.sort();
            distinct.dedup();
            match experiment {
                Experiment::Partial => assert_eq!(distinct.len(), 1),
                _ => assert_eq!(distinct.len(), settings.len(), "{names:?}"),
            }
            assert!(names.iter().all(|name| !name.contains([':', '/', ' '])), "{names:?}");
            let differs = |setting: &Setting| setting.preset != base();
            assert!(settings.iter().zip(&names).all(|(s, name)| differs(s) != name.starts_with("base")), "{names:?}");
        }
    }

    #[test]
    fn the_decoder_is_scaled_to_the_encoder() {
        assert_eq!(values(Experiment::DecoderDepth), ["1", "2", "3"]);
        assert_eq!(values(Experiment::Target)[2], "principal:6");
        assert_eq!(values(Experiment::DecoderWidth), ["16", "32", "64", "96", "128"]);
        let settings = Experiment::DecoderWidth.settings(&base(), &[], 2.0).expect("settings");
        let heads: Vec<usize> = settings.iter().map(|setting| setting.preset.model.decoder_heads).collect();
        assert_eq!(heads, [1, 1, 2, 3, 4], "32 wide each, as the preset's");
        let large = Preset::named("large-224").expect("preset");
        assert_eq!(Experiment::DecoderDepth.usual_values(&large), ["1", "2", "4", "8", "12"]);
        assert_eq!(Experiment::DecoderWidth.usual_values(&large), ["128", "256", "512", "768", "1024"]);
        assert_eq!(Experiment::Target.usual_values(&large)[2], "principal:96");
    }

    #[test]
    fn schedules_keep_their_share_of_warm_up_and_blocks_end_with_all() {
        assert_eq!(values(Experiment::Schedule), ["3", "5", "10", "20", "40"]);
        let settings = Experiment::Schedule.settings(&base(), &[], 2.0).expect("settings");
        let warmups: Vec<f64> = settings.iter().map(|setting| setting.preset.train.warmup_epochs).collect();
        assert_eq!(warmups, [0.3, 0.5, 1.0, 2.0, 2.0]);
        assert_eq!(values(Experiment::Partial), ["0", "0.5", "1", "2", "4", "all"]);
    }

    #[test]
    fn values_may_be_chosen_and_wrong_ones_are_refused() {
        let of = |experiment: Experiment, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            experiment.settings(&base(), &values, 2.0)
        };
        let settings = of(Experiment::MaskRatio, &["0.50", "0.9"]).expect("settings");
        assert_eq!([&settings[0].value, &settings[1].label], ["0.5", "90"]);
        let target = &of(Experiment::Target, &["high-pass:2"]).expect("settings")[0];
        assert!(!target.preset.model.norm_pix_loss && target.label == "high-pass 2");
        for (experiment, wrong) in [
            (Experiment::MaskRatio, "half"),
            (Experiment::MaskRatio, "1"),
            (Experiment::MaskKind, "round:0.5"),
            (Experiment::DecoderDepth, "0"),
            (Experiment::DecoderWidth, "30"),
            (Experiment::Decoder, "cross"),
            (Experiment::Decoder, "round:0.5"),
            (Experiment::Decoder, "cross:0"),
            (Experiment::MaskToken, "both"),
            (Experiment::Target, "high-pass"),
            (Experiment::Augmentation, "blur"),
            (Experiment::Schedule, "0"),
            (Experiment::Partial, "7"),
            (Experiment::Seam, "1"),
            (Experiment::Seam, "-1:0"),
        ] {
            let error = of(experiment, &[wrong]).expect_err(wrong);
            assert!(error.is::<SweepError>() || error.is::<RecipeError>(), "{wrong}: {error}");
        }
        assert!(of(Experiment::MaskRatio, &["0.5", "0.50"]).is_err(), "twice the same");
    }
}
