//! Which class is taken for which, as numbers and as a picture.

use crate::pictures::canvas::Canvas;
use serde::Serialize;

/// Counts of test images by class and by the class found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: Vec<String>,
    /// `[K, K]`, a row a class, a column a class found.
    counts: Vec<u32>,
}

/// How well one class is recognised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// Its name.
    pub class: String,
    /// Its test images.
    pub images: u32,
    /// The share that is recognised.
    pub accuracy: f64,
}

impl Confusion {
    /// Counts pairs of the class found and the true one.
    #[must_use]
    pub fn new(classes: &[String], found: &[usize], expected: &[usize]) -> Self {
        let mut counts = vec![0; classes.len() * classes.len()];
        found.iter().zip(expected).for_each(|(found, expected)| counts[expected * classes.len() + found] += 1);
        Self { classes: classes.to_vec(), counts }
    }

    /// Of each class that has test images.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassAccuracy> {
        let rows = self.counts.chunks_exact(self.classes.len().max(1)).zip(&self.classes).enumerate();
        rows.filter_map(|(place, (row, class))| {
            let images = row.iter().sum();
            let accuracy = f64::from(row[place]) / f64::from(images);
            (images > 0).then(|| ClassAccuracy { class: class.clone(), images, accuracy })
        })
        .collect()
    }

    /// A picture: a row a class, shares of its images in per cent, dark where many are.
    #[must_use]
    pub fn draw(&self, title: &str) -> Canvas {
        let shares: Vec<f64> = self
            .counts
            .chunks_exact(self.classes.len().max(1))
            .flat_map(|row| {
                let images = f64::from(row.iter().sum::<u32>().max(1));
                row.iter().map(move |count| f64::from(*count) / images)
            })
            .collect();
        Canvas::matrix(title, &self.classes, &shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_classes_and_shares_are_of_them() {
        let classes = ["cat", "dog", "ship"].map(String::from);
        let confusion = Confusion::new(&classes, &[0, 0, 1, 1, 1], &[0, 0, 0, 0, 1]);
        assert_eq!(confusion.counts, [2, 2, 0, 0, 1, 0, 0, 0, 0]);
        let per_class = confusion.per_class();
        assert_eq!(per_class.len(), 2, "the class without images is left out");
        assert_eq!((per_class[0].images, per_class[0].accuracy), (4, 0.5));
        assert_eq!((per_class[1].class.as_str(), per_class[1].accuracy), ("dog", 1.0));
        assert!(confusion.draw("a test").to_png().expect("png").starts_with(b"\x89PNG"));
    }
}
