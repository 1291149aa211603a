//! What the library refuses, told by the options of the command line; ends with exit code 2.

use crate::{
    preset::{Preset, validate::RecipeError},
    run::recipe::FinetuneError,
};
use console::misuse;
use std::{fs, path::Path};

/// An impossible recipe of pre-training.
pub(super) fn recipe(error: RecipeError) -> anyhow::Error {
    misuse(match error {
        RecipeError::MaskRatio(_) | RecipeError::NothingKept { .. } | RecipeError::NothingRemoved { .. } => {
            error.to_string().replacen("mask_ratio", "--mask-ratio", 1)
        }
        RecipeError::Zero => "--epochs, --batch-size and --accumulate must be at least 1".into(),
        RecipeError::TooLarge => "--batch-size times --accumulate is too large a number".into(),
        RecipeError::Rate => "--blr must be a positive number".into(),
        RecipeError::Seam => "--seam-weight and --seam-gradient must be 0 or more".into(),
        RecipeError::WarmUp => "--warmup-epochs must be 0 or more".into(),
        RecipeError::FewImages { images, batch, parts: 1 } => {
            format!("{images} images are fewer than one batch of {batch}: use --batch-size {images}")
        }
        RecipeError::FewImages { images, parts, .. } if images < parts => {
            format!("{images} images are fewer than --accumulate {parts}: use a smaller one")
        }
        RecipeError::FewImages { images, batch, parts } => format!(
            "{images} images are fewer than one step of {parts} batches of {batch}: use --batch-size {}",
            images / parts
        ),
    })
}

/// An impossible recipe of fine-tuning.
pub(super) fn finetune(error: FinetuneError) -> anyhow::Error {
    misuse(match error {
        FinetuneError::Keep(keep) => format!("--keep {keep} is not above 0 and at most 1"),
        FinetuneError::Zero => "--epochs and --batch-size must be at least 1".into(),
        FinetuneError::NoImages => "--limit and --test-limit must be at least 1".into(),
        FinetuneError::Rate => "--blr must be a positive number".into(),
        FinetuneError::Negative(name) => format!("--{} must be 0 or more", name.replace('_', "-")),
        FinetuneError::LayerDecay => "--layer-decay must be above 0 and at most 1, which is off".into(),
        FinetuneError::RandomErasing => "--random-erasing must be between 0, which is off, and 1".into(),
        FinetuneError::Probability(name) => {
            format!("--{} must be 0, which is off, or less than 1", name.replace('_', "-"))
        }
        FinetuneError::Blocks { blocks, depth } => {
            format!("--blocks {blocks}: use 0, 0.5 or a whole number up to {depth}, the model's blocks")
        }
    })
}

/// As [`recipe`] and [`finetune`], if it is one of those errors.
pub(super) fn any(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<RecipeError>() {
        Ok(error) => recipe(error),
        Err(error) => error.downcast::<FinetuneError>().map_or_else(|error| error, finetune),
    }
}

/// The preset of `--config` or `--preset`, or the usual one of the device, and its name.
///
/// # Errors
/// As misuse, if there is none.
pub(super) fn open_preset(config: Option<&Path>, name: Option<&str>, cuda: bool) -> anyhow::Result<(String, Preset)> {
    match config {
        Some(file) => {
            let text =
                fs::read_to_string(file).map_err(|e| misuse(format!("cannot read {}: {e}", file.display())))?;
            let name = file.file_stem().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
            Ok((name, Preset::parse(&text, &file.display().to_string()).map_err(|e| misuse(e.to_string()))?))
        }
        None => {
            let name = name.unwrap_or(if cuda { "tiny-32" } else { "pico-32" });
            Ok((name.to_owned(), Preset::named(name).map_err(|e| misuse(e.to_string()))?))
        }
    }
}
