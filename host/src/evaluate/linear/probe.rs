//! Linear probes of several encoders side by side.

use super::{LinearHead, Method, Recipe, TrainingSet, train};
use crate::{
    evaluate::{backend::Backend, encoders::Encoders, sets::Sets, views::augmented},
    model::classifier::accuracy,
    progress::bar,
};
use anyhow::Context as _;
use edge::head_file::{self, HeadDescription};
use ndarray::Array2;
use serde::Serialize;
use std::{path::Path, time::Instant};

/// What is probed, and how.
#[derive(Debug)]
pub struct Probe<'a> {
    /// What encodes.
    pub encoders: &'a Encoders,
    /// The images.
    pub sets: &'a Sets,
    /// The folder of the training images.
    pub folder: &'a Path,
    /// How the classifiers are trained.
    pub recipes: &'a [Recipe],
    /// Random crops of each training image that are encoded, too.
    pub views: u64,
}

/// The accuracy of one classifier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Whose features.
    pub name: String,
    /// How it was trained.
    pub method: Method,
    /// Share of test images that are recognised.
    pub accuracy: f64,
    /// Time of the training.
    pub train_seconds: f64,
    /// All about the training.
    pub recipe: Recipe,
    /// What becomes of the classifier of the first form on this one's features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_of_first_forms_head: Option<f64>,
}

/// All rows, and what the first of them found.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// The rows.
    pub rows: Vec<Row>,
    /// The first row's classifier.
    pub head: LinearHead,
    /// The class of each test image by it.
    pub first: Vec<usize>,
}

impl Probe<'_> {
    /// Trains a classifier for each encoder and recipe. `show` gets each row when it is known.
    ///
    /// # Errors
    /// If an image does not fit, an encoder fails, or a classifier cannot be trained.
    pub fn run(&self, mut show: impl FnMut(&Row)) -> anyhow::Result<Probed> {
        let (mut rows, mut first) = (Vec::new(), None);
        // Heads of the first form, one a recipe.
        let mut of_first_form: Vec<LinearHead> = Vec::new();
        let labels = &self.sets.test_labels;
        for encoder in &self.encoders.list {
            let set = self.training_set(encoder)?;
            let test = matrix(self.encoders.encode(encoder, &self.sets.test.images, 0)?)?;
            for (place, recipe) in self.recipes.iter().enumerate() {
                let begun = Instant::now();
                let bar = bar(recipe.epochs, "training");
                let head = train(&set, recipe, |done| bar.set_position(done as u64));
                bar.finish_and_clear();
                let (head, train_seconds) = (head?, begun.elapsed().as_secs_f64());
                let found = head.predict(test.view());
                let foreign = of_first_form.get(place).map(|head| accuracy(&head.predict(test.view()), labels));
                let row = Row {
                    name: encoder.name(),
                    method: recipe.method,
                    accuracy: accuracy(&found, labels),
                    train_seconds,
                    recipe: *recipe,
                    accuracy_of_first_forms_head: foreign,
                };
                show(&row);
                rows.push(row);
                first.get_or_insert_with(|| (head.clone(), found));
                if of_first_form.len() == place {
                    of_first_form.push(head);
                }
            }
        }
        let (head, first) = first.context("nothing was evaluated")?;
        Ok(Probed { rows, head, first })
    }

    /// What the file of the first row's classifier, of this `accuracy`, says about it.
    #[must_use]
    pub fn describe(&self, accuracy: f64) -> HeadDescription {
        let how = self.recipes.first().map_or_else(String::new, |recipe| {
            let Recipe { method, epochs, batch_size, blr, .. } = recipe;
            match method {
                Method::Closed => "ridge regression in closed form".to_owned(),
                Method::Lars | Method::Adamw => format!("{method}, {epochs} epochs, batch {batch_size}, blr {blr}"),
            }
        });
        let features = self.encoders.list.first().map(Backend::name).unwrap_or_default();
        let (version, images) = (env!("CARGO_PKG_VERSION"), self.sets.train.images.len());
        let views = if self.views > 0 { format!(" and {} crops of each", self.views) } else { String::new() };
        HeadDescription {
            format: head_file::FORMAT,
            encoder: self.encoders.spec.hash,
            pooling: self.encoders.pooling,
            classes: self.sets.classes.clone(),
            keep: self.encoders.choice.keep,
            made_by: format!("host {version}: {how}, {images} images{views}, {features}"),
            accuracy: Some(accuracy),
            sha256: String::new(),
        }
    }

    /// Features of the training images, and of augmented views of them.
    fn training_set(&self, encoder: &Backend) -> anyhow::Result<TrainingSet> {
        let Self { encoders, sets, folder, .. } = self;
        let mut rows = encoders.encode(encoder, &sets.train.images, 0)?;
        for view in 1..=self.views {
            let images = augmented(folder, &sets.train.names, &encoders.spec, (encoders.choice.seed, view))?;
            rows.extend(encoders.encode(encoder, &images, view)?);
        }
        Ok(TrainingSet { rows: matrix(rows)?, labels: sets.train_labels.clone(), classes: sets.classes.len() })
    }
}

/// `[N, D]`.
///
/// # Errors
/// If lengths differ.
pub fn matrix(rows: Vec<Vec<f32>>) -> anyhow::Result<Array2<f32>> {
    let dim = rows.first().map_or(0, Vec::len);
    Ok(Array2::from_shape_vec((rows.len(), dim), rows.into_iter().flatten().collect())?)
}
