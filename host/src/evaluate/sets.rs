//! Training and test images, one folder a class.

use super::images::{Prepared, prepared};
use crate::data::classes::{ClassError, ClassNumbers};
use common::model::EncoderSpec;
use std::{collections::BTreeSet, path::Path};

/// Training and test images with their classes.
#[derive(Debug)]
pub struct Sets {
    /// Training images.
    pub train: Prepared,
    /// Test images.
    pub test: Prepared,
    /// Names of the classes, in alphabetical order; a class's number is its place here.
    pub classes: Vec<String>,
    /// Class of each training image.
    pub train_labels: Vec<usize>,
    /// Class of each test image.
    pub test_labels: Vec<usize>,
}

impl Sets {
    /// Reads both folders, at most `limit` images of each, evenly spread.
    ///
    /// # Errors
    /// If an image lies outside a class folder, or a test class has no training images.
    pub fn read(train: &Path, test: &Path, spec: &EncoderSpec, limit: Option<usize>) -> anyhow::Result<Self> {
        let (train_set, test_set) = (labelled(train, spec, limit)?, labelled(test, spec, limit)?);
        let classes: BTreeSet<&String> = train_set.labels.iter().collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let numbers = ClassNumbers::new(&classes, train, test);
        let numbered = |labels: &[String]| labels.iter().map(|class| numbers.of(class)).collect::<Result<_, _>>();
        let (train_labels, test_labels) = (numbered(&train_set.labels)?, numbered(&test_set.labels)?);
        Ok(Self { train: train_set, test: test_set, classes, train_labels, test_labels })
    }
}

fn labelled(folder: &Path, spec: &EncoderSpec, limit: Option<usize>) -> anyhow::Result<Prepared> {
    let images = prepared(folder, spec, limit)?;
    if images.labels.len() != images.images.len() {
        return Err(ClassError::Outside(folder.into()).into());
    }
    Ok(images)
}
