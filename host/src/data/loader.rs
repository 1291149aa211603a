//! Batches of augmented, normalised patches, prepared ahead on a thread of their own.

use super::{
    augment::{Augment, Canvas, Colour},
    dataset::Dataset,
    pass::{Part, Pass},
    prefetch::{Broken, prepare},
    shards::feed::Decoded,
    share::Share,
};
use crate::stream::Stream;
use anyhow::{Context as _, bail};
use common::{mask::generator, normalize::PixelStats, patch::PatchGrid};
use imaging::Pixels;
use std::sync::{Arc, mpsc::Receiver};

/// How batches are made.
#[derive(Debug, Clone, Copy)]
pub struct LoaderConfig {
    /// Order and augmentation come from this.
    pub seed: u64,
    /// Images a batch.
    pub batch_size: usize,
    /// How views are made.
    pub augment: Augment,
    /// How they are coloured.
    pub colour: Colour,
    /// Views of each image in a batch.
    pub views: usize,
    /// Batches prepared ahead.
    pub prefetch: usize,
    /// Which of the images, where several processes train together.
    pub share: Share,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            batch_size: 1,
            augment: Augment::RandomCrop,
            colour: Colour::default(),
            views: 1,
            prefetch: 3,
            share: Share::WHOLE,
        }
    }
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[views * B, L, P]`: the first views of all images, then the second ones, and so on.
    pub patches: Vec<f32>,
    /// What is to be predicted of the first views, `[B, L, P]`, where that is not the pixels.
    pub target: Option<Vec<f32>>,
    /// Which images, `[B]`.
    pub indices: Vec<usize>,
}

/// The batches of one epoch from one iteration on; a rest smaller than a batch is dropped.
#[derive(Debug)]
pub struct Loader {
    batches: Receiver<anyhow::Result<Batch>>,
    broken: Broken,
}

impl Loader {
    /// Starts the thread. The same arguments give the same batches; `iteration` skips without work.
    ///
    /// # Errors
    /// If there are fewer images than one batch, a batch holds no view, or the thread cannot be started.
    pub fn start(
        dataset: Arc<Dataset>,
        grid: PatchGrid,
        pixels: PixelStats,
        config: LoaderConfig,
        epoch: usize,
        iteration: usize,
    ) -> anyhow::Result<Self> {
        Self::start_towards(|_| None, dataset, grid, pixels, config, (epoch, iteration))
    }

    /// As [`Self::start`], with `target` making what is to be predicted of the normalised pixels of a batch's first
    /// views, on the loader's thread, from iteration `at.1` of epoch `at.0` on.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_towards(
        target: impl Fn(&[f32]) -> Option<Vec<f32>> + Send + 'static,
        dataset: Arc<Dataset>,
        grid: PatchGrid,
        pixels: PixelStats,
        config: LoaderConfig,
        at: (usize, usize),
    ) -> anyhow::Result<Self> {
        let (epoch, iteration) = at;
        let own = config.share.len(dataset.len());
        if own < config.batch_size || config.batch_size == 0 {
            bail!("{own} images are fewer than one batch of {}", config.batch_size);
        }
        if config.views == 0 {
            bail!("a batch needs at least one view of each image");
        }
        let broken = Broken::default();
        let maker = Maker { dataset, grid, pixels, config, epoch, broken: broken.clone() };
        let batches = prepare(config.prefetch, move || {
            let mut pass = maker.pass(iteration);
            (iteration..own / config.batch_size).map(move |_| {
                let pass = pass.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let batch = maker.batch(pass)?;
                let first = config.batch_size * maker.grid.image_len();
                Ok(Batch { target: target(&batch.patches[..first]), ..batch })
            })
        })?;
        Ok(Self { batches, broken })
    }

    /// The next batch.
    ///
    /// # Errors
    /// If no image can be read, or the epoch is over.
    pub fn next_batch(&mut self) -> anyhow::Result<Batch> {
        self.batches.recv().context("the loader has ended")?
    }

    /// A line about each image that could not be read so far (ten at most), and one with their number.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.broken.warnings()
    }
}

struct Maker {
    dataset: Arc<Dataset>,
    grid: PatchGrid,
    pixels: PixelStats,
    config: LoaderConfig,
    epoch: usize,
    broken: Broken,
}

impl Maker {
    /// The images of this epoch from one iteration on.
    fn pass(&self, from: usize) -> anyhow::Result<Pass> {
        let LoaderConfig { seed, batch_size, share, .. } = self.config;
        Pass::start(&self.dataset, Part { seed, epoch: self.epoch, share, batch_size, from })
    }

    fn batch(&self, pass: &mut Pass) -> anyhow::Result<Batch> {
        let (length, channels) = (self.grid.image_len(), self.grid.channels());
        let shape = (self.grid.height(), self.grid.width());
        let LoaderConfig { seed, augment, colour, views, batch_size, .. } = self.config;
        let mut batch = Batch { patches: vec![0.0; views * batch_size * length], target: None, indices: Vec::new() };
        let (mut normalized, mut canvas) = (vec![0.0; length], Canvas::default());
        for place in 0..batch_size {
            let (index, image) = self.readable(pass.next().context("the images have ended early")??)?;
            let sample = (self.epoch * self.dataset.len() + index) as u64;
            for (number, patches) in batch.patches.chunks_exact_mut(batch_size * length).enumerate() {
                let rng = &mut generator(Stream::View.seed(seed), view_stream(sample, number));
                let mut view = augment.view(&image, colour.crop_area, shape, rng)?;
                colour.apply(&mut view, shape, channels, rng, &mut canvas);
                self.pixels.normalize_image(&view, channels, &mut normalized);
                self.grid.patchify(&normalized, &mut patches[place * length..][..length])?;
            }
            batch.indices.push(index);
        }
        Ok(batch)
    }

    /// The image, or the next one by number that can be read, with its number.
    fn readable(&self, (index, image): Decoded) -> anyhow::Result<(usize, Arc<Pixels>)> {
        match image {
            Ok(image) => return Ok((index, image)),
            Err(error) => self.broken.add(&error),
        }
        let count = self.dataset.len();
        for index in (index + 1..count).chain(0..index) {
            match self.dataset.image(index) {
                Ok(image) => return Ok((index, image)),
                Err(error) => self.broken.add(&error),
            }
        }
        bail!("none of the {count} images can be read any more")
    }
}

/// The stream of view number `view` of a sample. Those of different views do not meet below 2^40 samples.
fn view_stream(sample: u64, view: usize) -> u64 {
    (view as u64) << 40 | sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader(epoch: usize, iteration: usize) -> Loader {
        let dataset = Arc::new(Dataset::synthetic(7, 40, 16, 16));
        let grid = PatchGrid::new(16, 16, 4, 3).expect("grid");
        let config = LoaderConfig { seed: 3, batch_size: 12, ..LoaderConfig::default() };
        Loader::start(dataset, grid, PixelStats::IMAGENET, config, epoch, iteration).expect("start")
    }

    #[test]
    fn an_epoch_shows_each_image_once_and_can_be_entered_anywhere() {
        let mut whole = loader(1, 0);
        let batches: Vec<Batch> = (0..3).map(|_| whole.next_batch().expect("batch")).collect();
        assert!(whole.next_batch().is_err(), "the rest of 4 is dropped");
        let mut seen: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 36);
        assert_eq!(loader(1, 2).next_batch().expect("batch"), batches[2]);
        assert_ne!(loader(2, 0).next_batch().expect("batch"), batches[0]);
    }

    #[test]
    fn what_is_to_be_predicted_is_made_of_the_same_batch() {
        let (dataset, grid) =
            (Arc::new(Dataset::synthetic(7, 40, 16, 16)), PatchGrid::new(16, 16, 4, 3).expect("grid"));
        let config = LoaderConfig { seed: 3, batch_size: 12, ..LoaderConfig::default() };
        let target = |patches: &[f32]| Some(patches.iter().map(|value| value * 3.0).collect());
        let mut towards = Loader::start_towards(target, dataset, grid, PixelStats::IMAGENET, config, (1, 1));
        let (mut plain, towards) = (loader(1, 0), towards.as_mut().expect("start").next_batch().expect("batch"));
        assert_ne!(plain.next_batch().expect("batch").patches, towards.patches);
        let expected = Batch { target: target(&towards.patches), ..plain.next_batch().expect("batch") };
        assert_eq!(towards, expected);
        assert_eq!(plain.next_batch().expect("batch").target, None);
    }

    #[test]
    fn further_views_leave_the_first_ones_as_they_are_and_differ_from_them() {
        let grid = PatchGrid::new(16, 16, 4, 3).expect("grid");
        let length = 12 * grid.image_len();
        let batch = |views: usize, colour: Colour| {
            let dataset = Arc::new(Dataset::synthetic(7, 40, 16, 16));
            let config = LoaderConfig { seed: 3, batch_size: 12, views, colour, ..LoaderConfig::default() };
            let target = |patches: &[f32]| Some(patches.to_vec());
            let loader = Loader::start_towards(target, dataset, grid, PixelStats::IMAGENET, config, (1, 1));
            loader.expect("start").next_batch().expect("batch")
        };
        let one = batch(1, Colour::default());
        let three = batch(3, Colour::default());
        assert_eq!((one.patches.len(), three.patches.len()), (length, 3 * length));
        assert_eq!(three.patches[..length], one.patches);
        assert_eq!(three.target.as_deref(), Some(&one.patches[..]), "of the first views alone");
        assert_eq!(three.indices, one.indices);
        assert_eq!(
            batch(2, Colour::default()).patches,
            three.patches[..2 * length],
            "a view is what it is among any"
        );
        let image = |view: usize, place: usize| &three.patches[view * length + place * grid.image_len()..][..768];
        for place in 0..12 {
            assert!(image(0, place) != image(1, place) && image(1, place) != image(2, place));
        }
        // Colours change after all that is drawn for the crop: what is inverted lies where it lay.
        let inverted = batch(2, Colour { solarise: 1.0, ..Colour::default() });
        let same = inverted.patches.iter().zip(&three.patches).filter(|(after, before)| after == before).count();
        assert!(same > length / 4 && same < 2 * length * 9 / 10, "{same} of {}", 2 * length);
        let all = Colour { jitter: 1.0, grey: 0.2, blur: 0.5, solarise: 0.2, crop_area: 0.1 };
        assert_eq!(batch(2, all), batch(2, all));
        assert_ne!(batch(2, all).patches, three.patches[..2 * length]);
    }

    #[test]
    fn a_batch_without_views_is_refused() {
        let (dataset, grid) =
            (Arc::new(Dataset::synthetic(7, 40, 16, 16)), PatchGrid::new(16, 16, 4, 3).expect("grid"));
        let config = LoaderConfig { views: 0, ..LoaderConfig::default() };
        let error = Loader::start(dataset, grid, PixelStats::IMAGENET, config, 0, 0).expect_err("no view");
        assert!(error.to_string().contains("at least one view"), "{error}");
    }

    #[test]
    fn broken_images_are_replaced_and_named() {
        let root = tempfile::tempdir().expect("folder");
        for index in 0..6 {
            let path = root.path().join(format!("{index}.png"));
            if index % 2 == 0 {
                image::RgbImage::new(20, 9).save(path).expect("save");
            } else {
                std::fs::write(path, "not an image").expect("write");
            }
        }
        let dataset = Arc::new(Dataset::folder(root.path(), 3).expect("dataset"));
        let grid = PatchGrid::new(16, 16, 4, 3).expect("grid");
        let config = LoaderConfig { batch_size: 6, ..LoaderConfig::default() };
        let mut loader = Loader::start(dataset, grid, PixelStats::IMAGENET, config, 0, 0).expect("start");
        let batch = loader.next_batch().expect("batch");
        assert!(batch.indices.iter().all(|index| index % 2 == 0));
        assert_eq!(loader.warnings().len(), 3);
        assert!(loader.warnings()[0].contains("1.png"));
    }

    #[test]
    fn a_folder_of_broken_images_is_refused() {
        let root = tempfile::tempdir().expect("folder");
        std::fs::write(root.path().join("a.png"), "x").expect("write");
        let error = Dataset::folder(root.path(), 3).expect_err("broken").to_string();
        assert!(error.contains("none of the 1 images"), "{error}");
    }
}
