//! Features of many images in memory, and which are nearest to another.

use crate::evaluate::knn::largest;
use rayon::prelude::*;

/// Features of length 1, so that a product is a cosine.
#[derive(Debug, Clone, Default)]
pub struct Index {
    dim: usize,
    /// `[N, D]`.
    rows: Vec<f32>,
    /// Number of each row's image.
    images: Vec<usize>,
    /// Images that could not be read.
    pub broken: usize,
    /// Whether all images were seen.
    pub finished: bool,
}

/// An image near another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub image: usize,
    /// Cosine of the two features.
    pub cosine: f32,
}

impl Index {
    /// An empty one for features of `dim` values.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim, ..Self::default() }
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// What the features take in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
    }

    /// Adds an image; a feature of another length, or without direction, counts as broken.
    pub fn push(&mut self, image: usize, feature: &[f32]) {
        match unit(feature) {
            Some(row) if row.len() == self.dim => {
                self.rows.extend(row);
                self.images.push(image);
            }
            _ => self.broken += 1,
        }
    }

    /// The `k` images nearest to `feature` but for image number `without`, the nearest first.
    #[must_use]
    pub fn nearest(&self, feature: &[f32], k: usize, without: Option<usize>) -> Vec<Neighbour> {
        let Some(query) = unit(feature).filter(|query| query.len() == self.dim) else { return Vec::new() };
        let rows = self.rows.par_chunks_exact(self.dim.max(1)).with_min_len(512);
        let cosines: Vec<f32> = rows.map(|row| row.iter().zip(&query).map(|(a, b)| a * b).sum()).collect();
        let near = largest(&cosines, k.saturating_add(1)).into_iter();
        let near = near.map(|row| Neighbour { image: self.images[row], cosine: cosines[row] });
        near.filter(|found| Some(found.image) != without).take(k).collect()
    }
}

/// The feature with length 1; `None` if it has no direction.
fn unit(feature: &[f32]) -> Option<Vec<f32>> {
    let norm = feature.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 0.0).then(|| feature.iter().map(|value| (f64::from(*value) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_no_direction_is_counted_and_never_found() {
        let mut index = Index::new(2);
        for bad in [&[0.0, 0.0][..], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0], &[1.0], &[]] {
            index.push(0, bad);
        }
        assert_eq!((index.len(), index.broken, index.bytes()), (0, 5, 0));
        assert!(index.images.is_empty() && index.nearest(&[1.0, 0.0], 3, None).is_empty());
        index.push(7, &[3.0, 4.0]);
        assert_eq!(index.nearest(&[6.0, 8.0], 3, None)[0].image, 7);
        assert!(index.nearest(&[0.0, 0.0], 3, None).is_empty() && index.nearest(&[1.0], 3, None).is_empty());
        assert!(index.nearest(&[1.0, 0.0], 0, None).is_empty() && index.nearest(&[1.0, 0.0], 3, Some(7)).is_empty());
    }

    proptest! {
        #[test]
        fn the_nearest_are_those_of_a_sorted_list(
            rows in prop::collection::vec(prop::collection::vec(-9..9_i32, 3), 1..60),
            query in prop::collection::vec(1..9_i32, 3), k in 0..70_usize, without in 0..60_usize,
        ) {
            let float = |row: &[i32]| row.iter().map(|v| *v as f32).collect::<Vec<_>>();
            let mut index = Index::new(3);
            rows.iter().enumerate().for_each(|(i, row)| index.push(i, &float(row)));
            let length = |row: &[i32]| row.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
            let cosine = |row: &Vec<i32>| {
                f64::from(row.iter().zip(&query).map(|(a, b)| a * b).sum::<i32>()) / length(row) / length(&query)
            };
            let kept = rows.iter().enumerate().filter(|(i, row)| length(row) > 0.0 && *i != without);
            let mut expected: Vec<f64> = kept.map(|(_, row)| cosine(row)).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            expected.truncate(k);
            let found = index.nearest(&float(&query), k, Some(without));
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((f64::from(found.cosine) - expected).abs() < 1e-6);
                prop_assert!((cosine(&rows[found.image]) - expected).abs() < 1e-6);
            }
        }
    }
}
