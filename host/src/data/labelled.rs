//! Labelled batches for fine-tuning and its evaluation, prepared ahead on a thread of their own.

use super::{
    augment::{flip, random_crop_of},
    classes::ClassError,
    dataset::Dataset,
    erasing::erase,
    mixup::{Mixing, targets},
    prefetch::{Broken, prepare, shuffled},
    rand_augment::rand_augment,
    random::{below, chance},
};
use crate::stream::Stream;
use anyhow::{Context as _, bail};
use common::{mask::generator, normalize::PixelStats, patch::PatchGrid};
use imaging::{Crop, Pixels, resize};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, mpsc::Receiver};

/// Area of a resized crop relative to the image's.
const SCALE: (f64, f64) = (0.08, 1.0);
/// Batches prepared ahead.
const PREFETCH: usize = 3;

/// How a training view is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CropKind {
    /// A random part of 8 to 100 % of the area, resized: the paper's.
    Resized,
    /// The whole image, moved by up to an eighth of its side over a black ground: usual for small images.
    Padded,
}

/// What is done to training images, as the reference does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augmentation {
    /// How a view is cut out; a flip follows.
    pub crop: CropKind,
    /// Whether RandAugment follows.
    pub rand_augment: bool,
    /// Probability of random erasing.
    pub erasing: f64,
    /// Mixing of batches.
    pub mixing: Mixing,
    /// Label smoothing.
    pub smoothing: f64,
}

/// Some images of a data set with their classes.
#[derive(Debug, Clone)]
pub struct Labelled {
    dataset: Arc<Dataset>,
    /// Number in the data set, and class.
    items: Arc<Vec<(usize, usize)>>,
    classes: usize,
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledBatch {
    /// Normalised pixels, `[B, L, P]`.
    pub patches: Vec<f32>,
    /// Target distributions, `[B, K]`.
    pub targets: Vec<f32>,
    /// Classes, `[B]`.
    pub labels: Vec<usize>,
    /// Places among the labelled images, `[B]`.
    pub places: Vec<usize>,
}

/// Batches of one epoch.
#[derive(Debug)]
pub struct LabelledLoader {
    batches: Receiver<anyhow::Result<LabelledBatch>>,
    broken: Broken,
}

impl Labelled {
    /// At most `limit` images, evenly spread. `number` gives that of a class's name.
    ///
    /// # Errors
    /// Those of `number`; or if an image has no class.
    pub fn new(
        dataset: Arc<Dataset>,
        classes: usize,
        number: impl Fn(&str) -> Result<usize, ClassError>,
        limit: Option<usize>,
    ) -> anyhow::Result<Self> {
        let numbers = dataset.classes().iter().map(|name| number(name)).collect::<Result<Vec<usize>, _>>()?;
        let (all, count) = (dataset.len(), limit.map_or(dataset.len(), |limit| limit.min(dataset.len())));
        let item = |index: usize| {
            let index = index * all / count;
            let label = dataset.label(index).and_then(|label| numbers.get(label));
            label.map(|label| (index, *label)).with_context(|| format!("{} has no class", dataset.name(index)))
        };
        let items = Arc::new((0..count).map(item).collect::<anyhow::Result<Vec<_>>>()?);
        Ok(Self { dataset, items, classes })
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// What both kinds of loading need.
#[derive(Debug, Clone)]
pub struct LabelledConfig {
    /// Patches of an image.
    pub grid: PatchGrid,
    /// Normalisation.
    pub pixels: PixelStats,
    /// Images a batch.
    pub batch_size: usize,
    /// Every random choice comes from this.
    pub seed: u64,
}

impl LabelledLoader {
    /// Training batches of `epoch` from `iteration` on, in a random order; a rest smaller than a batch is dropped.
    /// The same arguments give the same batches.
    ///
    /// # Errors
    /// If there are fewer images than one batch, or the thread cannot be started.
    pub fn train(
        set: Labelled,
        config: LabelledConfig,
        augmentation: Augmentation,
        epoch: usize,
        iteration: usize,
    ) -> anyhow::Result<Self> {
        if set.len() < config.batch_size || config.batch_size == 0 {
            bail!("{} images are fewer than one batch of {}", set.len(), config.batch_size);
        }
        let mut order = shuffled(set.len(), Stream::LabelledOrder.seed(config.seed), epoch);
        order.truncate(set.len() / config.batch_size * config.batch_size);
        let order = order.into_iter().map(|place| place as usize).collect();
        Self::start(set, config, Some((augmentation, epoch)), order, iteration)
    }

    /// All images once, whole, in their order; the last batch may be smaller, and images that cannot be read are left
    /// out.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn test(set: Labelled, config: LabelledConfig) -> anyhow::Result<Self> {
        let order = (0..set.len()).collect();
        Self::start(set, config, None, order, 0)
    }

    fn start(
        set: Labelled,
        config: LabelledConfig,
        training: Option<(Augmentation, usize)>,
        order: Vec<usize>,
        skip: usize,
    ) -> anyhow::Result<Self> {
        let broken = Broken::default();
        let maker = Maker { set, config, training, broken: broken.clone() };
        let batches = prepare(PREFETCH, move || {
            let order: Vec<_> = order.chunks(maker.config.batch_size).map(<[usize]>::to_vec).enumerate().collect();
            order.into_iter().skip(skip).map(move |(number, places)| maker.batch(&places, number))
        })?;
        Ok(Self { batches, broken })
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// If no image can be read.
    pub fn next_batch(&mut self) -> anyhow::Result<Option<LabelledBatch>> {
        self.batches.recv().ok().transpose()
    }

    /// A line about each image that could not be read so far (ten at most), and one with their number.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.broken.warnings()
    }
}

struct Maker {
    set: Labelled,
    config: LabelledConfig,
    training: Option<(Augmentation, usize)>,
    broken: Broken,
}

impl Maker {
    fn batch(&self, places: &[usize], number: usize) -> anyhow::Result<LabelledBatch> {
        let (grid, values) = (&self.config.grid, self.config.grid.image_len());
        let (mut images, mut labels, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            let found = match &self.training {
                Some((augmentation, epoch)) => Some(self.training_view(*place, augmentation, *epoch)?),
                None => self.whole(*place)?.map(|image| (*place, image)),
            };
            if let Some((place, image)) = found {
                images.extend(image);
                labels.push(self.set.items[place].1);
                used.push(place);
            }
        }
        let mut smoothing = 0.0;
        let mix = self.training.as_ref().and_then(|(augmentation, epoch)| {
            smoothing = augmentation.smoothing;
            let stream = epoch * (self.set.len() / self.config.batch_size) + number;
            let rng = &mut generator(Stream::Mixing.seed(self.config.seed), stream as u64);
            augmentation.mixing.draw(grid.height(), grid.width(), rng)
        });
        if let Some(mix) = &mix {
            mix.images(&mut images, values, grid.width(), grid.channels());
        }
        let mut patches = vec![0.0; images.len()];
        for (image, patches) in images.chunks_exact(values).zip(patches.chunks_exact_mut(values)) {
            grid.patchify(image, patches)?;
        }
        let targets = targets(&labels, self.set.classes, smoothing, mix.as_ref());
        Ok(LabelledBatch { patches, targets, labels, places: used })
    }

    /// A normalised training view, `[H, W, C]`, of the image at `place` or of the next one that can be read.
    fn training_view(
        &self,
        place: usize,
        augmentation: &Augmentation,
        epoch: usize,
    ) -> anyhow::Result<(usize, Vec<f32>)> {
        let (count, (height, width)) = (self.set.len(), (self.config.grid.height(), self.config.grid.width()));
        for place in (place..count).chain(0..place) {
            let Some(image) = self.image(place) else { continue };
            let rng = &mut generator(Stream::LabelledView.seed(self.config.seed), (epoch * count + place) as u64);
            let channels = image.channels;
            let mut data = match augmentation.crop {
                CropKind::Resized => {
                    resize(&image, random_crop_of(SCALE, image.height, image.width, rng), height, width)?
                }
                CropKind::Padded => moved(&resize(&image, Crop::whole(&image), height, width)?, (height, width), rng),
            };
            if chance(0.5, rng) {
                flip(&mut data, width, channels);
            }
            let mut view = Pixels { height, width, channels, data };
            if augmentation.rand_augment {
                let mean = self.config.pixels.mean.map(|mean| (mean * 255.0).round().clamp(0.0, 255.0) as u8);
                view = rand_augment(view, mean, rng);
            }
            let mut image = self.normalized(&view.data);
            erase(&mut image, (height, width), augmentation.erasing, rng);
            return Ok((place, image));
        }
        bail!("none of the {count} images can be read any more")
    }

    /// The whole image at `place`, normalised, `[H, W, C]`; `None` if it cannot be read.
    fn whole(&self, place: usize) -> anyhow::Result<Option<Vec<f32>>> {
        let Some(image) = self.image(place) else { return Ok(None) };
        let view = resize(&image, Crop::whole(&image), self.config.grid.height(), self.config.grid.width())?;
        Ok(Some(self.normalized(&view)))
    }

    fn image(&self, place: usize) -> Option<Arc<Pixels>> {
        self.set.dataset.image(self.set.items[place].0).map_err(|error| self.broken.add(&error)).ok()
    }

    fn normalized(&self, view: &[u8]) -> Vec<f32> {
        let mut image = vec![0.0; view.len()];
        self.config.pixels.normalize_image(view, self.config.grid.channels(), &mut image);
        image
    }
}

/// `[H, W, C]` moved by up to an eighth of each side; what comes in is black.
fn moved(view: &[u8], (height, width): (usize, usize), rng: &mut ChaCha8Rng) -> Vec<u8> {
    let channels = view.len() / (height * width);
    let (down, across) = (height / 8, width / 8);
    let (top, left) = (below(2 * down + 1, rng), below(2 * across + 1, rng));
    let mut out = vec![0; view.len()];
    for row in 0..height {
        // Row and column of the view are those of the result plus the offset, less the margin.
        let Some(from) = (row + top).checked_sub(down).filter(|from| *from < height) else { continue };
        let first = across.saturating_sub(left);
        let source = left.saturating_sub(across);
        let length = width - first.max(source);
        let (to, from) = ((row * width + first) * channels, (from * width + source) * channels);
        out[to..to + length * channels].copy_from_slice(&view[from..from + length * channels]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const OFF: Augmentation = Augmentation {
        crop: CropKind::Padded,
        rand_augment: false,
        erasing: 0.0,
        mixing: Mixing { mixup: 0.0, cutmix: 0.0 },
        smoothing: 0.0,
    };
    const ON: Augmentation = Augmentation {
        crop: CropKind::Resized,
        rand_augment: true,
        erasing: 0.25,
        mixing: Mixing { mixup: 0.8, cutmix: 1.0 },
        smoothing: 0.1,
    };

    fn set(limit: Option<usize>) -> Labelled {
        let dataset = Arc::new(Dataset::synthetic(7, 50, 16, 16));
        let names = dataset.classes().to_vec();
        let number = |name: &str| Ok(names.iter().position(|known| known == name).expect("known"));
        Labelled::new(dataset.clone(), 10, number, limit).expect("set")
    }

    fn config(batch_size: usize) -> LabelledConfig {
        let grid = PatchGrid::new(16, 16, 4, 3).expect("grid");
        LabelledConfig { grid, pixels: PixelStats::IMAGENET, batch_size, seed: 3 }
    }

    fn all(mut loader: LabelledLoader) -> Vec<LabelledBatch> {
        std::iter::from_fn(|| loader.next_batch().expect("batch")).collect()
    }

    #[test]
    fn an_epoch_sees_every_image_once_and_is_the_same_again() {
        let epoch = |epoch, iteration| {
            all(LabelledLoader::train(set(None), config(8), ON, epoch, iteration).expect("loader"))
        };
        let batches = epoch(0, 0);
        assert_eq!(batches.len(), 6, "the rest of two is dropped");
        let mut places: Vec<usize> = batches.iter().flat_map(|batch| batch.places.clone()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 48);
        assert_eq!(epoch(0, 4), batches[4..], "a resumed epoch goes on with the same batches");
        assert_ne!(epoch(1, 0), batches);
        for batch in &batches {
            assert!(batch.labels.iter().zip(&batch.places).all(|(label, place)| *label == place % 10));
            assert!(batch.targets.chunks_exact(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        }
    }

    #[test]
    fn with_all_off_targets_are_the_labels() {
        for batch in all(LabelledLoader::train(set(None), config(10), OFF, 0, 0).expect("loader")) {
            for (row, label) in batch.targets.chunks_exact(10).zip(&batch.labels) {
                assert!(row.iter().enumerate().all(|(k, v)| *v == f32::from(u8::from(k == *label))));
            }
        }
    }

    #[test]
    fn a_test_sees_whole_images_in_order_the_rest_too() {
        let batches = all(LabelledLoader::test(set(Some(25)), config(10)).expect("loader"));
        assert_eq!(batches.iter().map(|batch| batch.labels.len()).collect::<Vec<_>>(), [10, 10, 5]);
        let labels: Vec<usize> = batches.iter().flat_map(|batch| batch.labels.clone()).collect();
        assert_eq!(labels, (0..25).map(|place| place * 2 % 10).collect::<Vec<_>>(), "evenly spread");
    }

    #[test]
    fn a_moved_image_keeps_its_inside_and_is_black_outside() {
        let view: Vec<u8> = (0..16 * 16).map(|i| (i % 255) as u8 + 1).collect();
        let mut offsets = BTreeSet::new();
        for index in 0..300 {
            let out = moved(&view, (16, 16), &mut generator(1, index));
            let place = out.iter().position(|v| *v > 0).expect("something is seen");
            let source = view.iter().position(|v| *v == out[place]).expect("of the view");
            let offset = (source / 16) as isize - (place / 16) as isize;
            let across = (source % 16) as isize - (place % 16) as isize;
            offsets.insert((offset, across));
            for (at, value) in out.iter().enumerate() {
                let (row, col) = ((at / 16) as isize + offset, (at % 16) as isize + across);
                let inside = (0..16).contains(&row) && (0..16).contains(&col);
                assert_eq!(*value, if inside { view[(row * 16 + col) as usize] } else { 0 });
            }
        }
        assert_eq!(offsets.len(), 25, "up to two pixels in each direction: {offsets:?}");
    }
}
