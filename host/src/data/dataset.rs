//! A set of images: a folder, shards, or the embedded generator.

use super::{
    folder,
    shards::{error::ShardError, kinds::names_shards, set::Shards, suggest},
    synthetic,
    texture::PATTERNS,
};
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
    /// The folder holds shards alone, which are named by themselves.
    #[error("{} holds no image but tar archives: name these, as {pattern}", root.display())]
    FolderOfShards {
        /// The folder.
        root: PathBuf,
        /// What names its shards.
        pattern: String,
    },
    /// Shards cannot be read.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// Several paths are named, and this one is no shard.
    #[error("{} is no shard (.tar): of folders, one can be read", .0.display())]
    Several(PathBuf),
    /// No image can be read.
    #[error("none of the {count} images in {root} can be decoded; are they damaged?")]
    Damaged {
        /// How many there are.
        count: usize,
        /// The folder, or the shards.
        root: String,
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
    count: usize,
    classes: Vec<String>,
    labels: Vec<usize>,
    /// A place for each image; none of shards, which are too many to keep.
    cache: Vec<OnceLock<Arc<Pixels>>>,
    cached: AtomicUsize,
}

#[derive(Debug)]
enum Source {
    Synthetic { seed: u64, height: usize, width: usize },
    Files { root: PathBuf, files: Vec<PathBuf> },
    Shards(Arc<Shards>),
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

    /// The images of a folder, or of the shards that a path or a pattern names.
    ///
    /// # Errors
    /// As [`Self::folder`] and [`Self::shards`].
    pub fn open(path: &Path, channels: usize) -> Result<Self, DatasetError> {
        if names_shards(path) { Self::shards(&[path.into()], channels) } else { Self::folder(path, channels) }
    }

    /// The images of the shards that paths and patterns name; they are not kept in memory. What else the shards hold
    /// is told on standard error.
    ///
    /// # Errors
    /// As [`Shards::open`]; if no image can be decoded.
    pub fn shards(patterns: &[PathBuf], channels: usize) -> Result<Self, DatasetError> {
        let shards = Arc::new(Shards::open(patterns)?);
        if !shards.rest.is_empty() {
            folder::tell_skipped(&shards.rest, shards.named());
        }
        if let [first, others @ ..] = &shards.unended[..] {
            let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
            console::note!(
                "warning: {}{others} may be cut off: the zeros that end a tar archive are missing",
                first.display()
            );
        }
        let (count, root) = (shards.len(), shards.named().to_owned());
        Self::new(Source::Shards(shards), channels, Vec::new(), Vec::new(), count).with_an_image(root)
    }

    /// The images of a folder. If it has sub-folders with images, the first level names the classes.
    ///
    /// # Errors
    /// If it cannot be read, holds no image, or none that can be decoded.
    pub fn folder(root: &Path, channels: usize) -> Result<Self, DatasetError> {
        let files = folder::find(root).map_err(|error| match (&error, suggest::pattern(root)) {
            (ImageError::NoImages { .. }, Some(pattern)) => {
                DatasetError::FolderOfShards { root: root.into(), pattern }
            }
            _ => DatasetError::Folder(error),
        })?;
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
        let source = Source::Files { root: root.into(), files };
        Self::new(source, channels, classes, labels, count).with_an_image(root.display().to_string())
    }

    /// Refuses a set of which no image can be decoded. `root`: as a person names it.
    fn with_an_image(self, root: String) -> Result<Self, DatasetError> {
        let count = self.count;
        let readable = (0..count).map(|index| self.image(index)).find(Result::is_ok);
        if readable.is_some() { Ok(self) } else { Err(DatasetError::Damaged { count, root }) }
    }

    fn new(source: Source, channels: usize, classes: Vec<String>, labels: Vec<usize>, count: usize) -> Self {
        let kept = if matches!(source, Source::Shards(_)) { 0 } else { count };
        let cache = (0..kept).map(|_| OnceLock::new()).collect();
        Self { source, channels, count, classes, labels, cache, cached: AtomicUsize::new(0) }
    }

    /// Number of images, readable or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Channels of its images.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
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
            Source::Shards(shards) => shards.name(index),
        }
    }

    /// The folder, if there is one.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        match &self.source {
            Source::Files { root, .. } => Some(root),
            Source::Synthetic { .. } | Source::Shards(_) => None,
        }
    }

    /// The shards, if the images lie in some.
    #[must_use]
    pub fn as_shards(&self) -> Option<&Arc<Shards>> {
        match &self.source {
            Source::Shards(shards) => Some(shards),
            Source::Synthetic { .. } | Source::Files { .. } => None,
        }
    }

    /// Image `index`, decoded, with the data set's number of channels.
    ///
    /// # Errors
    /// If the file is gone or damaged.
    pub fn image(&self, index: usize) -> anyhow::Result<Arc<Pixels>> {
        if self.as_shards().is_some() {
            return Ok(Arc::new(self.read(index)?));
        }
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
            Source::Shards(shards) => shards.read(index, self.channels),
        }
    }
}
