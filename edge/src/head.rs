//! A linear classifier on the feature of an image.

/// The class of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Classified {
    /// Number of the class.
    pub class: u32,
    /// Its softmax score, above 0 and at most 1.
    pub score: f32,
}

/// Why there is no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HeadError {
    /// Lengths disagree.
    #[error("a head of {weights} weights and {classes} biases does not fit a feature of {dim} values")]
    Length {
        /// Number of weights.
        weights: usize,
        /// Number of biases.
        classes: usize,
        /// Length of the feature.
        dim: usize,
    },
    /// A logit is infinite or no number.
    #[error("a class has no finite logit: the feature or the head is damaged")]
    NotFinite,
}

/// `logits = weights x + bias` on raw features.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
}

impl<'a> Head<'a> {
    /// A head. `weights`: `[K, D]`; `bias`: `[K]`.
    ///
    /// # Errors
    /// If there is no class, or the weights are no multiple of the classes.
    pub fn new(weights: &'a [f32], bias: &'a [f32]) -> Result<Self, HeadError> {
        if bias.is_empty() || weights.is_empty() || !weights.len().is_multiple_of(bias.len()) {
            return Err(HeadError::Length { weights: weights.len(), classes: bias.len(), dim: 0 });
        }
        Ok(Self { weights, bias })
    }

    /// Number of classes (`K`).
    #[must_use]
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// The likeliest class of a feature (`[D]`), the lowest of equals, without a heap: the logits are computed once
    /// to find the largest, and again to sum their exponentials.
    ///
    /// # Errors
    /// If the feature has another length, or a logit is not finite.
    pub fn classify(&self, feature: &[f32]) -> Result<Classified, HeadError> {
        let (weights, classes, dim) = (self.weights.len(), self.bias.len(), feature.len());
        if weights != classes * dim {
            return Err(HeadError::Length { weights, classes, dim });
        }
        let logits = || {
            let rows = self.weights.chunks_exact(dim).zip(self.bias);
            rows.map(|(row, bias)| row.iter().zip(feature).map(|(weight, value)| weight * value).sum::<f32>() + bias)
        };
        let (mut class, mut top) = (0, f32::NEG_INFINITY);
        for (number, logit) in (0..).zip(logits()) {
            if !logit.is_finite() {
                return Err(HeadError::NotFinite);
            }
            if logit > top {
                (class, top) = (number, logit);
            }
        }
        let sum: f32 = logits().map(|logit| libm::expf(logit - top)).sum();
        Ok(Classified { class, score: 1.0 / sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_class_has_the_largest_logit_and_its_softmax(
            classes in 1_usize..12, dim in 1_usize..20, values in proptest::collection::vec(-3.0_f32..3.0, 300),
        ) {
            let (weights, rest) = values.split_at(classes * dim);
            let (bias, feature) = (&rest[..classes], &rest[classes..classes + dim]);
            let found = Head::new(weights, bias).unwrap().classify(feature).unwrap();
            let logits: Vec<f64> = (0..classes).map(|k| {
                let row = weights[k * dim..(k + 1) * dim].iter().zip(feature);
                row.map(|(w, f)| f64::from(*w) * f64::from(*f)).sum::<f64>() + f64::from(bias[k])
            }).collect();
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(logits[found.class as usize] > top - 1e-4);
            let softmax = (logits[found.class as usize]).exp() / logits.iter().map(|l| l.exp()).sum::<f64>();
            prop_assert!((f64::from(found.score) - softmax).abs() < 1e-4, "{} {softmax}", found.score);
        }
    }

    #[test]
    fn the_lowest_of_equals_and_no_class_from_nothing() {
        let head = Head::new(&[1.0, 1.0], &[0.5, 0.5]).unwrap();
        assert_eq!(head.classify(&[3.0]), Ok(Classified { class: 0, score: 0.5 }));
        assert!(Head::new(&[1.0], &[]).is_err() && Head::new(&[1.0; 5], &[0.0; 2]).is_err());
        assert!(matches!(head.classify(&[1.0, 2.0]), Err(HeadError::Length { weights: 2, classes: 2, dim: 2 })));
        assert_eq!(head.classify(&[f32::NAN]), Err(HeadError::NotFinite));
        assert_eq!(head.classify(&[f32::INFINITY]), Err(HeadError::NotFinite));
    }
}
