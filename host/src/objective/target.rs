//! What the decoder predicts. Pixels, as in the paper; or only their fine part, because what tells images apart is
//! little of their variance (Balestriero and LeCun 2024, "Learning by Reconstruction Produces Uninformative Features
//! For Perception", arXiv 2402.11337), and small models spend themselves on the rest.
//!
//! A target is the pixels minus a rest, so a picture can be drawn from a prediction and the original's rest.

use super::components::main_components;
use crate::stream::Stream;
use crate::{
    data::dataset::Dataset,
    tensors::{NamedTensor, Tensors, safetensors},
};
use anyhow::{Context as _, ensure};
use common::{
    mask::{generator, uniform},
    normalize::PixelStats,
    patch::PatchGrid,
};
use imaging::{Crop, resize};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, str::FromStr};

/// What is predicted; `norm_pix_loss` applies to it as to pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The image.
    #[default]
    Pixels,
    /// The image minus its blur by a Gaussian of this many pixels.
    HighPass {
        /// Standard deviation, pixels.
        sigma: f32,
    },
    /// Each patch without its main principal components.
    LowVariance {
        /// Share of the variance of patches that the components left out explain.
        share: f32,
    },
    /// Each patch as its main principal components alone, as in the paper's table 1d.
    Principal {
        /// How many.
        count: usize,
    },
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no target: use pixels, high-pass:SIGMA with 0 < SIGMA <= 100, low-variance:SHARE with 0 < SHARE < 1, or \
     principal:COUNT"
)]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let number = |text: &str, most: f32| text.parse().ok().filter(|value: &f32| *value > 0.0 && *value <= most);
        let target = match text.split_once(':') {
            None if text == "pixels" => Some(Self::Pixels),
            Some(("high-pass", sigma)) => number(sigma, 100.0).map(|sigma| Self::HighPass { sigma }),
            Some(("low-variance", share)) => number(share, 0.999_999).map(|share| Self::LowVariance { share }),
            Some(("principal", count)) => {
                count.parse().ok().filter(|count| *count > 0).map(|count| Self::Principal { count })
            }
            _ => None,
        };
        target.ok_or_else(|| UnknownTarget(text.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels => f.write_str("pixels"),
            Self::HighPass { sigma } => write!(f, "high-pass:{sigma}"),
            Self::LowVariance { share } => write!(f, "low-variance:{share}"),
            Self::Principal { count } => write!(f, "principal:{count}"),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = UnknownTarget;

    fn try_from(text: String) -> Result<Self, UnknownTarget> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

/// Images from which principal components are taken, and patches of each.
const FIT_IMAGES: usize = 2000;
const FIT_PATCHES: usize = 16;
/// The components, kept in the run folder because a continued training must predict the same.
const FILE: &str = "target.safetensors";

/// A target with what it took from the data.
#[derive(Debug, Clone)]
pub enum FittedTarget {
    /// The image itself.
    Pixels,
    /// Minus a blur: the Gaussian's weights from the centre outwards.
    HighPass(Vec<f32>),
    /// Minus the main components.
    LowVariance {
        /// Mean patch, `[P]`.
        mean: Vec<f32>,
        /// The components left out, orthonormal, `[K, P]`.
        components: Vec<f32>,
    },
    /// The main components alone.
    Principal {
        /// Mean patch, `[P]`.
        mean: Vec<f32>,
        /// The components kept, orthonormal, `[K, P]`.
        components: Vec<f32>,
    },
}

impl FittedTarget {
    /// Takes from `dataset` what `target` needs.
    ///
    /// # Errors
    /// If images are needed and none can be read.
    pub fn fit(
        target: Target,
        dataset: &Dataset,
        grid: &PatchGrid,
        pixels: PixelStats,
        seed: u64,
    ) -> anyhow::Result<Self> {
        match target {
            Target::Pixels => Ok(Self::Pixels),
            Target::HighPass { sigma } => Ok(Self::HighPass(gaussian(sigma))),
            Target::LowVariance { share } => {
                let sample = sample_patches(dataset, grid, pixels, seed)?;
                let enough = |_, explained| explained >= f64::from(share);
                let (mean, components) = main_components(&sample, grid.patch_dim(), enough);
                Ok(Self::LowVariance { mean, components })
            }
            Target::Principal { count } => {
                let values = grid.patch_dim();
                if count >= values {
                    return Err(console::misuse(format!(
                        "principal:{count}: patches have {values} values: use fewer components"
                    )));
                }
                let sample = sample_patches(dataset, grid, pixels, seed)?;
                let (mean, components) = main_components(&sample, values, |taken, _| taken >= count);
                Ok(Self::Principal { mean, components })
            }
        }
    }

    /// As it was when the run in `folder` began.
    ///
    /// # Errors
    /// If its file is missing or does not fit.
    pub fn load(target: Target, folder: &Path, grid: &PatchGrid) -> anyhow::Result<Self> {
        match target {
            Target::Pixels => Ok(Self::Pixels),
            Target::HighPass { sigma } => Ok(Self::HighPass(gaussian(sigma))),
            Target::LowVariance { .. } | Target::Principal { .. } => {
                let (path, values) = (folder.join(FILE), grid.patch_dim());
                let (mut tensors, _) = safetensors::read(&path)?;
                let mut take = |name| tensors.remove(name).map(|t: NamedTensor| t.data);
                let (mean, components) = take("mean").zip(take("components")).context("a tensor is missing")?;
                let fits = mean.len() == values && !components.is_empty() && components.len().is_multiple_of(values);
                ensure!(fits, "{} does not fit patches of {values} values", path.display());
                Ok(match target {
                    Target::Principal { .. } => Self::Principal { mean, components },
                    _ => Self::LowVariance { mean, components },
                })
            }
        }
    }

    /// Writes what was taken from the data into the run folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let (Self::LowVariance { mean, components } | Self::Principal { mean, components }) = self else {
            return Ok(());
        };
        let values = mean.len();
        let tensor = |shape, data: &[f32]| NamedTensor { shape, data: data.to_vec() };
        let tensors = Tensors::from([
            ("mean".into(), tensor(vec![values], mean)),
            ("components".into(), tensor(vec![components.len() / values, values], components)),
        ]);
        Ok(safetensors::write(&folder.join(FILE), &tensors, Default::default())?)
    }

    /// What is to be predicted for `patches` (`[B, L, P]`, normalised); `None` if the patches themselves.
    #[must_use]
    pub fn apply(&self, patches: &[f32], grid: &PatchGrid) -> Option<Vec<f32>> {
        let mut target = patches.to_vec();
        match self {
            Self::Pixels => return None,
            Self::HighPass(weights) => {
                let (mut image, mut blurred) = (vec![0.0; grid.image_len()], vec![0.0; grid.image_len()]);
                for patches in target.chunks_exact_mut(grid.image_len()) {
                    let fits = grid.unpatchify(patches, &mut image);
                    blur(&image, &mut blurred, (grid.height(), grid.width(), grid.channels()), weights);
                    image.iter_mut().zip(&blurred).for_each(|(value, low)| *value -= low);
                    let fits = fits.and_then(|()| grid.patchify(&image, patches));
                    debug_assert!(fits.is_ok(), "the buffers are made for the grid");
                }
            }
            Self::LowVariance { mean, components } => {
                for patch in target.chunks_exact_mut(mean.len()) {
                    patch.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
                    for component in components.chunks_exact(mean.len()) {
                        let along: f32 = patch.iter().zip(component).map(|(a, b)| a * b).sum();
                        patch.iter_mut().zip(component).for_each(|(value, c)| *value -= along * c);
                    }
                }
            }
            Self::Principal { mean, components } => {
                for patch in target.chunks_exact_mut(mean.len()) {
                    let centred: Vec<f32> = patch.iter().zip(mean).map(|(value, mean)| value - mean).collect();
                    patch.fill(0.0);
                    for component in components.chunks_exact(mean.len()) {
                        let along: f32 = centred.iter().zip(component).map(|(a, b)| a * b).sum();
                        patch.iter_mut().zip(component).for_each(|(value, c)| *value += along * c);
                    }
                }
            }
        }
        Some(target)
    }
}

/// Weights of a Gaussian from its centre outwards, to three sigma; with both sides they sum to 1.
fn gaussian(sigma: f32) -> Vec<f32> {
    let weights: Vec<f32> =
        (0..=(3.0 * sigma).ceil() as usize).map(|i| (-((i * i) as f32) / (2.0 * sigma * sigma)).exp()).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    weights.into_iter().map(|w| w / sum).collect()
}

/// Separable blur of `[H, W, C]`; outside the image its rim goes on.
fn blur(image: &[f32], out: &mut [f32], (height, width, channels): (usize, usize, usize), weights: &[f32]) {
    let mut rows = vec![0.0; image.len()];
    let pass = |from: &[f32], to: &mut [f32], length: usize, stride: usize, at: &dyn Fn(usize) -> usize| {
        for line in 0..from.len() / length {
            let first = at(line);
            for i in 0..length {
                let value = |j: isize| from[first + j.clamp(0, length as isize - 1) as usize * stride];
                let sides = (1_isize..).zip(&weights[1..]);
                to[first + i * stride] = weights[0] * value(i as isize)
                    + sides.map(|(d, w)| w * (value(i as isize - d) + value(i as isize + d))).sum::<f32>();
            }
        }
    };
    pass(image, &mut rows, width, channels, &|line| line / channels * width * channels + line % channels);
    pass(&rows, out, height, width * channels, &|line| line);
}

/// Patches of some of the images, `[N, P]`, normalised.
fn sample_patches(dataset: &Dataset, grid: &PatchGrid, pixels: PixelStats, seed: u64) -> anyhow::Result<Vec<f32>> {
    let rng = &mut generator(Stream::TargetSample.seed(seed), 0);
    let mut below = |count: usize| (uniform(rng) * count as f32) as usize % count.max(1);
    let (mut image, mut patch, mut sample) = (vec![0.0; grid.image_len()], vec![0.0; grid.patch_dim()], Vec::new());
    for _ in 0..FIT_IMAGES {
        let Ok(found) = dataset.image(below(dataset.len())) else { continue };
        pixels.normalize_image(
            &resize(&found, Crop::whole(&found), grid.height(), grid.width())?,
            grid.channels(),
            &mut image,
        );
        for _ in 0..FIT_PATCHES {
            grid.extract(&image, below(grid.patches()), &mut patch)?;
            sample.extend_from_slice(&patch);
        }
    }
    ensure!(!sample.is_empty(), "no image could be read for the principal components of patches");
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> PatchGrid {
        PatchGrid::new(16, 24, 4, 3).expect("grid")
    }

    fn patches(dataset: &Dataset) -> Vec<f32> {
        let (grid, pixels) = (grid(), dataset.image(3).expect("image"));
        let (mut image, mut patches) = (vec![0.0; grid.image_len()], vec![0.0; grid.image_len()]);
        PixelStats::IMAGENET.normalize_image(&pixels.data, 3, &mut image);
        grid.patchify(&image, &mut patches).expect("patches");
        patches
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let fine = [Target::HighPass { sigma: 1.5 }, Target::LowVariance { share: 0.9 }];
        for target in [Target::Pixels, Target::Principal { count: 6 }].into_iter().chain(fine) {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for wrong in [
            "",
            "pixel",
            "high-pass",
            "high-pass:0",
            "high-pass:nan",
            "low-variance:1",
            "principal:0",
            "principal:0.5",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_high_pass_removes_what_is_smooth_and_keeps_edges() {
        let (grid, target) = (grid(), FittedTarget::HighPass(gaussian(1.5)));
        let flat = vec![0.7; grid.image_len()];
        assert!(target.apply(&flat, &grid).expect("a target").iter().all(|value| value.abs() < 1e-6));
        // A bright column: the blur takes some of it and is the same everywhere along it.
        let image: Vec<f32> =
            (0..grid.image_len()).map(|i| if i / 3 % grid.width() == 10 { 1.0 } else { 0.0 }).collect();
        let mut patches = vec![0.0; image.len()];
        grid.patchify(&image, &mut patches).expect("patches");
        let mut found = vec![0.0; image.len()];
        grid.unpatchify(&target.apply(&patches, &grid).expect("a target"), &mut found).expect("image");
        let centre = gaussian(1.5)[0];
        for row in found.chunks_exact(3 * grid.width()) {
            assert!((row[3 * 10] - (1.0 - centre)).abs() < 1e-5 && (row[3 * 11] + gaussian(1.5)[1]).abs() < 1e-5);
        }
    }

    #[test]
    fn low_variance_is_orthogonal_to_the_main_components_and_smaller() {
        let (grid, dataset) = (grid(), Dataset::synthetic(3, 40, 16, 24));
        let target = FittedTarget::fit(Target::LowVariance { share: 0.8 }, &dataset, &grid, PixelStats::IMAGENET, 1);
        let target = target.expect("a fit");
        let FittedTarget::LowVariance { mean, components } = &target else { panic!("{target:?}") };
        let patches = patches(&dataset);
        let found = target.apply(&patches, &grid).expect("a target");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for component in components.chunks_exact(mean.len()) {
            assert!((dot(component, component) - 1.0).abs() < 1e-5);
            assert!(found.chunks_exact(mean.len()).all(|patch| dot(patch, component).abs() < 1e-4));
        }
        let energy = |patches: &[f32]| {
            patches
                .chunks_exact(mean.len())
                .flat_map(|p| p.iter().zip(mean).map(|(v, m)| (v - m).powi(2)))
                .sum::<f32>()
        };
        let left: f32 = found.iter().map(|v| v * v).sum();
        assert!(left < 0.5 * energy(&patches) && left > 0.0, "{left} of {}", energy(&patches));
        let folder = tempfile::tempdir().expect("folder");
        target.save(folder.path()).expect("saved");
        let again = FittedTarget::load(Target::LowVariance { share: 0.8 }, folder.path(), &grid).expect("loaded");
        assert_eq!(again.apply(&patches, &grid), Some(found));
    }

    #[test]
    fn principal_components_and_the_rest_make_the_patch() {
        let (grid, dataset) = (grid(), Dataset::synthetic(3, 40, 16, 24));
        let fit = |target| FittedTarget::fit(target, &dataset, &grid, PixelStats::IMAGENET, 1);
        let target = fit(Target::Principal { count: 6 }).expect("a fit");
        let FittedTarget::Principal { mean, components } = &target else { panic!("{target:?}") };
        assert_eq!(components.len(), 6 * mean.len());
        let rest = FittedTarget::LowVariance { mean: mean.clone(), components: components.clone() };
        let patches = patches(&dataset);
        let (main, fine) = (target.apply(&patches, &grid).expect("main"), rest.apply(&patches, &grid).expect("rest"));
        for ((patch, main), fine) in
            patches.chunks(mean.len()).zip(main.chunks(mean.len())).zip(fine.chunks(mean.len()))
        {
            for (i, value) in patch.iter().enumerate() {
                assert!((main[i] + fine[i] + mean[i] - value).abs() < 1e-4);
            }
        }
        let energy = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>();
        assert!(energy(&main) > energy(&fine), "six components explain more than the others");
        let folder = tempfile::tempdir().expect("folder");
        target.save(folder.path()).expect("saved");
        let again = FittedTarget::load(Target::Principal { count: 6 }, folder.path(), &grid).expect("loaded");
        assert_eq!(again.apply(&patches, &grid), Some(main));
        assert!(fit(Target::Principal { count: 48 }).expect_err("too many").to_string().contains("48 values"));
    }
}
