//! Augmented views of training images, for probes on frozen features.

use crate::{data::augment::training_view, progress::bar, stream::Stream};
use anyhow::Context as _;
use common::{mask::generator, model::EncoderSpec};
use rayon::prelude::*;
use std::path::Path;

/// One random crop, perhaps flipped, of each image named within `folder`, `[H, W, C]` each. View number `view` of
/// image `i` depends on these and the seed alone.
///
/// # Errors
/// If an image that could be read before no longer can.
pub fn augmented(
    folder: &Path,
    names: &[String],
    spec: &EncoderSpec,
    (seed, view): (u64, u64),
) -> anyhow::Result<Vec<Vec<u8>>> {
    let (height, width) = (spec.image_height as usize, spec.image_width as usize);
    let bar = bar(names.len(), "augmenting");
    let one = |(index, name): (usize, &String)| -> anyhow::Result<Vec<u8>> {
        let pixels = imaging::open(&folder.join(name), spec.channels as usize);
        let pixels = pixels.context("an image changed during the evaluation")?;
        // Streams of different views do not meet below 2^40 images.
        let mut rng = generator(Stream::ProbeView.seed(seed), view << 40 | index as u64);
        bar.inc(1);
        Ok(training_view(&pixels, height, width, &mut rng)?)
    };
    let views = names.par_iter().enumerate().map(one).collect();
    bar.finish_and_clear();
    views
}
