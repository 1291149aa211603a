//! A set of images: a folder, or the embedded generator.

use super::{folder, synthetic, texture::PATTERNS};
use anyhow::Context as _;
use imaging::{ImageError, Pixels};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Decoded images are kept up to this many bytes; the rest is decoded anew in every epoch.
const CACHE_BYTES: usize = 2 << 30;

/// Why there are no images to work with. The command line tells the first and the last with its own options.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no such folder, or no image in it.
    #[error("{0}")]
    Folder(ImageError),
    /// No image can be read.
    #[error("none of the {count} images in {} can be decoded; are they damaged?", root.display())]
    Damaged {
        /// How many there are.
        count: usize,
        /// The folder.
        root: PathBuf,
    },
    /// The embedded generator has no other channels.
    #[error("the embedded generator makes RGB images")]
    OnlyRgb,
}

/// Images by number.
#[derive(Debug)]
pub struct Dataset {
    source: Source,
    channels: usize,
    classes: Vec<String>,
    labels: Vec<usize>,
    cache: Vec<OnceLock<Arc<Pixels>>>,
    cached: AtomicUsize,
}

#[derive(Debug)]
enum Source {
    Synthetic { seed: u64, height: usize, width: usize },
    Files { root: PathBuf, files: Vec<PathBuf> },
}

impl Dataset {
    /// `count` images of the embedded generator.
    #[must_use]
    pub fn synthetic(seed: u64, count: usize, height: usize, width: usize) -> Self {
        let source = Source::Synthetic { seed, height, width };
        let classes = PATTERNS.iter().map(|(_, name)| (*name).to_owned()).collect();
        let labels = (0..count).map(|index| index % PATTERNS.len()).collect();
        Self::new(source, 3, classes, labels, count)
    }

    /// The images of a folder. If it has sub-folders with images, the first level names the classes.
    ///
    /// # Errors
    /// If it cannot be read, holds no image, or none that can be decoded.
    pub fn folder(root: &Path, channels: usize) -> Result<Self, DatasetError> {
        let files = folder::find(root).map_err(DatasetError::Folder)?;
        let class = |file: &PathBuf| -> Option<String> {
            let mut parts = file.strip_prefix(root).ok()?.components();
            let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
            parts.next().map(|_| first)
        };
        let names: Option<Vec<String>> = files.iter().map(class).collect();
        let mut classes = names.clone().unwrap_or_default();
        classes.sort();
        classes.dedup();
        let label = |name: &String| classes.binary_search(name).unwrap_or_default();
        let labels = names.iter().flatten().map(label).collect();
        let count = files.len();
        let dataset = Self::new(Source::Files { root: root.into(), files }, channels, classes, labels, count);
        let readable = (0..count).map(|index| dataset.image(index)).find(Result::is_ok);
        if readable.is_none() {
            return Err(DatasetError::Damaged { count, root: root.into() });
        }
        Ok(dataset)
    }

    fn new(source: Source, channels: usize, classes: Vec<String>, labels: Vec<usize>, count: usize) -> Self {
        let cache = (0..count).map(|_| OnceLock::new()).collect();
        Self { source, channels, classes, labels, cache, cached: AtomicUsize::new(0) }
    }

    /// Number of images, readable or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Names of the classes; empty if the folder has none.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Class number of an image, if there are classes.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<usize> {
        self.labels.get(index).copied()
    }

    /// How a person would name an image.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Synthetic { .. } => format!("generated image {index}"),
            Source::Files { root, files } => files
                .get(index)
                .map_or_else(String::new, |file| file.strip_prefix(root).unwrap_or(file).display().to_string()),
        }
    }

    /// The folder; none of the embedded generator.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        match &self.source {
            Source::Synthetic { .. } => None,
            Source::Files { root, .. } => Some(root),
        }
    }

    /// Image `index`, decoded, with the data set's number of channels.
    ///
    /// # Errors
    /// If the file is gone or damaged.
    pub fn image(&self, index: usize) -> anyhow::Result<Arc<Pixels>> {
        let slot = self.cache.get(index).context("no such image")?;
        if let Some(image) = slot.get() {
            return Ok(image.clone());
        }
        let image = Arc::new(self.read(index)?);
        let bytes = image.data.len();
        if self.cached.fetch_add(bytes, Ordering::Relaxed) + bytes <= CACHE_BYTES {
            let _ = slot.set(image.clone());
        } else {
            self.cached.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(image)
    }

    /// As [`Self::image`], but nothing is kept in memory.
    ///
    /// # Errors
    /// If the file is gone or damaged.
    pub fn read(&self, index: usize) -> anyhow::Result<Pixels> {
        match &self.source {
            Source::Synthetic { seed, height, width } => Ok(synthetic::image(*seed, index, *height, *width)),
            Source::Files { files, .. } => {
                let file = files.get(index).context("no such image")?;
                Ok(imaging::open(file, self.channels)?)
            }
        }
    }
}
