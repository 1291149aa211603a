//! Folders of images that name classes, and what may be wrong with them.

use imaging::ImageError;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Why folders of training and test images cannot be used. The command line tells the first and the last with its own
/// options.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// There is no such folder, or no image in it.
    #[error("{0}")]
    Folder(ImageError),
    /// An image has no class.
    #[error("{} has images outside class folders: put each in a folder of its class", .0.display())]
    Outside(PathBuf),
    /// A class of the test images cannot be learned.
    #[error("the class {class} of {} has no images in {}", test.display(), train.display())]
    Unknown {
        /// The class.
        class: String,
        /// Training images.
        train: PathBuf,
        /// Test images.
        test: PathBuf,
    },
}

/// Numbers of classes by name.
#[derive(Debug)]
pub struct ClassNumbers<'a> {
    numbers: BTreeMap<&'a str, usize>,
    train: &'a Path,
    test: &'a Path,
}

impl<'a> ClassNumbers<'a> {
    /// The places of `classes`, those of the training images. `train`, `test`: the folders, for the message.
    #[must_use]
    pub fn new(classes: &'a [String], train: &'a Path, test: &'a Path) -> Self {
        Self { numbers: classes.iter().map(String::as_str).zip(0..).collect(), train, test }
    }

    /// The number of a class.
    ///
    /// # Errors
    /// If no training image has it.
    pub fn of(&self, class: &str) -> Result<usize, ClassError> {
        self.numbers.get(class).copied().ok_or_else(|| ClassError::Unknown {
            class: class.into(),
            train: self.train.into(),
            test: self.test.into(),
        })
    }
}
