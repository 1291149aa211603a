//! The recipe of a training, and the presets.

pub mod keep_range;
pub mod validate;

use crate::{
    data::{
        augment::{Augment, Colour},
        loader::LoaderConfig,
    },
    model::{MaeConfig, cross::DecoderKind},
    objective::{joint::JointConfig, seam::SeamConfig, target::Target},
};
use common::mask::{MaskKind, len_keep};
use keep_range::KeepRange;
use serde::{Deserialize, Serialize};

/// The recipe (MAE appendix A.1, table 8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the data.
    pub epochs: usize,
    /// Images a batch; an optimizer step takes `accumulate` of them.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for one optimizer step (`accum_iter` elsewhere).
    #[serde(default = "TrainConfig::default_accumulate")]
    pub accumulate: usize,
    /// Base learning rate, for a batch of 256.
    #[serde(default = "TrainConfig::default_blr")]
    pub blr: f64,
    /// Learning rate at the end.
    #[serde(default)]
    pub min_lr: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
    /// What updates the parameters.
    #[serde(default, skip_serializing_if = "OptimizerKind::is_default")]
    pub optimizer: OptimizerKind,
    /// Decoupled weight decay.
    #[serde(default = "TrainConfig::default_weight_decay")]
    pub weight_decay: f64,
    /// Sampling strategy of the masks.
    #[serde(default = "TrainConfig::default_mask")]
    pub mask: MaskKind,
    /// Share of patches that are removed.
    #[serde(default = "TrainConfig::default_mask_ratio")]
    pub mask_ratio: f64,
    /// Shares of visible patches, of which each optimizer step takes one instead of `1 - mask_ratio`, which pictures
    /// and measurements keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_range: Option<KeepRange>,
    /// Share of the removed patches that are decoded and count in the loss, a random one of each image.
    #[serde(default = "TrainConfig::default_predict_ratio", skip_serializing_if = "TrainConfig::predicts_all")]
    pub predict_ratio: f64,
    /// What the decoder predicts.
    #[serde(default)]
    pub target: Target,
    /// Images that the embedded generator makes when there is no folder.
    #[serde(default = "TrainConfig::default_synthetic_images")]
    pub synthetic_images: usize,
    /// Every random choice comes from this.
    #[serde(default)]
    pub seed: u64,
    /// How training views are cut out and coloured.
    #[serde(default, skip_serializing_if = "Augment::is_default")]
    pub augment: Augment,
    /// How training views are coloured further, and the smallest part of an image that is one.
    #[serde(default, skip_serializing_if = "Colour::is_off")]
    pub colour: Colour,
    /// Whether mask tokens pass through the encoder, too: the variant of the paper's table 1c.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encoder_mask_tokens: bool,
    /// Additions to the loss at the borders of patches.
    #[serde(default, skip_serializing_if = "SeamConfig::is_off")]
    pub seam: SeamConfig,
    /// A joint-embedding term beside the reconstruction.
    #[serde(default, skip_serializing_if = "JointConfig::is_off")]
    pub joint: JointConfig,
}

impl TrainConfig {
    /// Images of one optimizer step: the effective batch.
    #[must_use]
    pub fn images_a_step(&self) -> usize {
        self.batch_size * self.accumulate
    }

    /// How its batches are made.
    #[must_use]
    pub fn loader(&self) -> LoaderConfig {
        let Self { seed, batch_size, augment, colour, .. } = *self;
        LoaderConfig { seed, batch_size, augment, colour, views: self.joint.views(), ..LoaderConfig::default() }
    }

    /// How many of `patches` patches of an image optimizer step number `step`, counted from 0, leaves visible.
    #[must_use]
    pub fn visible(&self, patches: usize, step: usize) -> usize {
        match self.keep_range {
            Some(range) => range.draw(patches, self.seed, (step * self.images_a_step()) as u64),
            None => len_keep(patches, self.mask_ratio),
        }
    }

    /// That number for all steps, in words: `16`, or `9 to 63`.
    #[must_use]
    pub fn visible_in_words(&self, patches: usize) -> String {
        match self.keep_range.map(|range| range.bounds(patches).into_inner()) {
            Some((least, most)) if least < most => format!("{least} to {most}"),
            Some((least, _)) => least.to_string(),
            None => len_keep(patches, self.mask_ratio).to_string(),
        }
    }

    /// Whether all removed patches are predicted. A method of the field for serde.
    fn predicts_all(ratio: &f64) -> bool {
        *ratio == Self::default_predict_ratio()
    }
    fn default_predict_ratio() -> f64 {
        1.0
    }
    fn default_accumulate() -> usize {
        1
    }
    fn default_blr() -> f64 {
        1.5e-4
    }
    fn default_weight_decay() -> f64 {
        0.05
    }
    fn default_mask() -> MaskKind {
        MaskKind::Random
    }
    fn default_mask_ratio() -> f64 {
        0.75
    }
    fn default_synthetic_images() -> usize {
        20_000
    }
}

/// What updates the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// AdamW for all: the paper's.
    #[default]
    #[value(name = "adamw")]
    #[serde(rename = "adamw")]
    AdamW,
    /// Muon for the matrices of the blocks, AdamW for all else.
    Muon,
}

impl OptimizerKind {
    /// Whether it is the paper's.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A model and a recipe that suit each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// For whom it is, one line.
    pub description: String,
    /// Geometry.
    pub model: MaeConfig,
    /// Recipe.
    pub train: TrainConfig,
    /// The paper's recipe, where the preset's own is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<TrainConfig>,
}

/// Which recipe of a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Recipe {
    /// Its own.
    #[default]
    Preset,
    /// The masked autoencoder's of the paper, with nothing added.
    Paper,
}

/// The presets of `models/`, compiled in: name and text.
pub const PRESETS: [(&str, &str); 8] = [
    ("pico-32", include_str!("../../../models/pico-32.toml")),
    ("tiny-32", include_str!("../../../models/tiny-32.toml")),
    ("tiny-96", include_str!("../../../models/tiny-96.toml")),
    ("tiny-224", include_str!("../../../models/tiny-224.toml")),
    ("small-224", include_str!("../../../models/small-224.toml")),
    ("base-224", include_str!("../../../models/base-224.toml")),
    ("large-224", include_str!("../../../models/large-224.toml")),
    ("huge-224", include_str!("../../../models/huge-224.toml")),
];

/// Why a preset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// No preset has this name.
    #[error("there is no preset `{0}`; there are {names}", names = PRESETS.map(|(name, _)| name).join(", "))]
    Unknown(String),
    /// The text is not a preset.
    #[error("{origin} is not a usable preset: {reason}")]
    Invalid {
        /// File or preset name.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}

impl Preset {
    /// The same encoder with this recipe; the paper's has the paper's decoder.
    #[must_use]
    pub fn with_recipe(self, recipe: Recipe) -> Self {
        match (recipe, self.paper) {
            (Recipe::Paper, Some(paper)) => {
                let model = MaeConfig { decoder: DecoderKind::default(), ..self.model };
                Self { model, train: paper, paper: None, ..self }
            }
            _ => Self { paper: None, ..self },
        }
    }

    /// A preset of `models/` by name.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn named(name: &str) -> Result<Self, PresetError> {
        let text = PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, text)| text);
        Self::parse(text.ok_or_else(|| PresetError::Unknown(name.into()))?, name)
    }

    /// A preset from the text of a TOML file; `origin` is named in errors.
    ///
    /// # Errors
    /// If the text is no preset, or describes an impossible model.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PresetError> {
        let invalid = |reason: String| PresetError::Invalid { origin: origin.into(), reason };
        let preset: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            invalid(format!("line {line}: {}", error.message()))
        })?;
        preset.model.validate().map_err(|error| invalid(error.to_string()))?;
        Ok(preset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_to_a_recipe_are_written_only_where_there_are_some_and_read_again() {
        let paper = Preset::named("base-224").expect("preset").train;
        let text = toml::to_string(&paper).expect("text");
        assert!(["colour", "keep_range", "optimizer"].iter().all(|field| !text.contains(field)), "{text}");
        let (keep_range, optimizer) = ("0.15..1".parse().ok(), OptimizerKind::Muon);
        let colour = Colour { jitter: 0.5, crop_area: 0.08, ..Colour::default() };
        let train = TrainConfig { colour, keep_range, optimizer, encoder_mask_tokens: true, ..paper };
        let text = toml::to_string(&train).expect("text");
        assert_eq!(toml::from_str::<TrainConfig>(&text).expect("recipe"), train, "{text}");
        for (field, wrong) in [("jitter = 0.5", "jiter = 0.5"), ("[0.15, 1.0]", "[0.15]"), ("\"muon\"", "\"moun\"")] {
            assert!(text.contains(field), "{text}");
            assert!(toml::from_str::<TrainConfig>(&text.replace(field, wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_visible_share_is_one_or_drawn_for_each_step() {
        let paper = Preset::named("pico-32").expect("preset").with_recipe(Recipe::Paper).train;
        assert_eq!((paper.visible(64, 5), paper.visible_in_words(64)), (16, "16".into()));
        let train = TrainConfig { keep_range: "0.15..1".parse().ok(), ..paper };
        assert_eq!(train.visible_in_words(64), "9 to 63");
        let narrow = TrainConfig { keep_range: "1..1".parse().ok(), ..train.clone() };
        assert_eq!(narrow.visible_in_words(64), "63");
        let steps: Vec<usize> = (0..40).map(|step| train.visible(64, step)).collect();
        assert!(steps.iter().all(|visible| (9..=63).contains(visible)) && steps.iter().any(|v| *v != steps[0]));
        // So many smaller batches are one large one.
        let split = TrainConfig { batch_size: train.batch_size / 2, accumulate: 2, ..train };
        assert_eq!((0..40).map(|step| split.visible(64, step)).collect::<Vec<_>>(), steps);
    }

    #[test]
    fn the_papers_recipe_is_another_only_where_a_preset_says_so() {
        for (name, _) in PRESETS {
            let preset = Preset::named(name).expect("preset");
            let [own, paper] = [Recipe::Preset, Recipe::Paper].map(|recipe| preset.clone().with_recipe(recipe));
            // The paper's own models, and the one that is as large, are trained as in the paper.
            let small = name.starts_with("pico") || name.starts_with("tiny");
            assert_eq!((own != paper, preset.paper.is_some()), (small, small), "{name}");
            let TrainConfig { joint, colour, optimizer, mask_ratio, predict_ratio, .. } = paper.train;
            assert!(joint.is_off() && colour.is_off() && optimizer.is_default(), "{name}");
            assert_eq!(
                (mask_ratio, predict_ratio, paper.model.decoder),
                (0.75, 1.0, DecoderKind::default()),
                "{name}"
            );
        }
    }

    #[test]
    fn every_preset_is_usable_and_has_the_published_size() {
        for (name, _) in PRESETS {
            let preset = Preset::named(name).expect(name);
            assert!(!preset.description.is_empty());
        }
        // Table 8 and appendix A.2 of the paper: the widths of ViT-B, -L and -H, and its decoder.
        for (name, dim, depth, heads, patch) in
            [("base-224", 768, 12, 12, 16), ("large-224", 1024, 24, 16, 16), ("huge-224", 1280, 32, 16, 14)]
        {
            let model = Preset::named(name).expect(name).model;
            assert_eq!((model.dim, model.depth, model.heads, model.patch_size), (dim, depth, heads, patch));
            assert_eq!((model.decoder_dim, model.decoder_depth, model.decoder_heads), (512, 8, 16));
        }
        assert!(matches!(Preset::named("nano"), Err(PresetError::Unknown(_))));
    }
}
