//! What happens to images before a step: decoding, augmentation, and the loader that does both ahead.

use crate::{
    data::{
        dataset::Dataset,
        loader::{Batch, Loader, LoaderConfig},
    },
    objective::target::FittedTarget,
};
use common::{normalize::PixelStats, patch::PatchGrid};
use rayon::prelude::*;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Generated images are kept up to this many bytes; the bench then goes over them again.
const POOL_BYTES: usize = 256 << 20;
/// Enough for a median; fewer where a batch takes seconds.
const REPEATS: usize = 5;
const LONGEST: Duration = Duration::from_secs(3);

/// Batches without end, epoch after epoch, as the trainer gets them.
pub struct Feed {
    dataset: Arc<Dataset>,
    grid: PatchGrid,
    pixels: PixelStats,
    config: LoaderConfig,
    target: Arc<FittedTarget>,
    epoch: usize,
    left: usize,
    loader: Option<Loader>,
}

impl Feed {
    /// A feed that starts its first loader when the first batch is asked for.
    #[must_use]
    pub fn new(
        dataset: Arc<Dataset>,
        grid: PatchGrid,
        pixels: PixelStats,
        config: LoaderConfig,
        target: &Arc<FittedTarget>,
    ) -> Self {
        Self { dataset, grid, pixels, config, target: target.clone(), epoch: 0, left: 0, loader: None }
    }

    /// The next batch.
    ///
    /// # Errors
    /// If there are fewer images than one batch, or none can be read.
    pub fn next_batch(&mut self) -> anyhow::Result<Batch> {
        if self.left == 0 {
            let Self { dataset, grid, pixels, config, epoch, .. } = self;
            let (target, shape) = (self.target.clone(), *grid);
            let target = move |patches: &[f32]| target.apply(patches, &shape);
            let at = (*epoch, 0);
            self.loader = Some(Loader::start_towards(target, dataset.clone(), *grid, *pixels, *config, at)?);
            self.left = self.dataset.len() / self.config.batch_size;
            self.epoch += 1;
        }
        self.left -= 1;
        match &mut self.loader {
            Some(loader) => loader.next_batch(),
            None => anyhow::bail!("the loader has not started"),
        }
    }
}

/// How many generated images `batches` batches need, within 256 MiB but at least one batch.
#[must_use]
pub fn pool_size(batches: usize, batch_size: usize, grid: &PatchGrid) -> usize {
    let most = POOL_BYTES / grid.image_len() / batch_size;
    batches.min(most).max(1) * batch_size
}

/// Makes all images of a data set now, so that none is made while time is taken.
pub fn prepare(dataset: &Dataset) {
    (0..dataset.len()).into_par_iter().for_each(|index| drop(dataset.image(index)));
}

/// Seconds to decode (or generate) one batch of images on one thread. `dataset`: fresh, so that no image is at hand.
#[must_use]
pub fn load(dataset: &Dataset, batch_size: usize) -> Vec<f64> {
    let begun = Instant::now();
    let mut seconds = Vec::new();
    for batch in 0..(dataset.len() / batch_size).min(REPEATS) {
        let since = Instant::now();
        // The loader names images that cannot be read; here they only take their time.
        (0..batch_size).for_each(|index| drop(dataset.image(batch * batch_size + index)));
        seconds.push(since.elapsed().as_secs_f64());
        if begun.elapsed() > LONGEST {
            break;
        }
    }
    seconds
}

/// Seconds the loader takes for one batch of images that are in memory: crop, flip, normalise, patchify. Nothing is
/// prepared ahead, and nothing else computes.
///
/// # Errors
/// As [`Feed::next_batch`].
pub fn augment(
    dataset: &Arc<Dataset>,
    grid: PatchGrid,
    pixels: PixelStats,
    config: LoaderConfig,
    target: &Arc<FittedTarget>,
) -> anyhow::Result<Vec<f64>> {
    let mut feed = Feed::new(dataset.clone(), grid, pixels, LoaderConfig { prefetch: 0, ..config }, target);
    // The first round brings the images into memory, and starts the loader.
    let batches = (dataset.len() / config.batch_size).clamp(1, REPEATS + 1);
    for _ in 0..batches {
        feed.next_batch()?;
    }
    let mut feed = Feed::new(dataset.clone(), grid, pixels, LoaderConfig { prefetch: 0, ..config }, target);
    let (begun, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < REPEATS && (seconds.is_empty() || begun.elapsed() < LONGEST) {
        let since = Instant::now();
        feed.next_batch()?;
        seconds.push(since.elapsed().as_secs_f64());
    }
    Ok(seconds)
}
