//! The classifier that a fine-tuned model ends in: its last layer, and the feature that it reads.

use super::{finding::Provenance, names::Dialect};
use crate::tensors::Tensors;
use common::model::Pooling;

/// BatchNorm's epsilon in the official linear probe.
const PROBE_EPS: f64 = 1e-6;

/// A last layer, `logits = weights x + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    /// `[K, D]`.
    pub weights: Vec<f32>,
    /// `[K]`.
    pub bias: Vec<f32>,
    /// Names of the classes, `[K]`.
    pub classes: Vec<String>,
}

/// How an encoder is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// The feature.
    pub(super) pooling: Pooling,
    /// Who says so; none of a model without a classifier that has only one reading.
    pub(super) origin: Option<Provenance>,
    /// Whether it is a guess that a person should know of.
    pub(super) assumed: bool,
}

/// Makes the norm after the mean (`fc_norm`) the last norm, where there is no other, and tells how features are read.
/// `pool`: what a file says, timm's `global_pool` or the official one's truth value. Of two norms the one after the
/// mean cannot be kept: `Err` with the reason then, for which the head has to go.
pub(super) fn reading(
    tensors: &mut Tensors,
    dialect: Option<Dialect>,
    pool: Option<(String, Provenance)>,
    head: bool,
) -> Result<Reading, &'static str> {
    let has = |tensors: &Tensors, name: &str| tensors.contains_key(&format!("{name}.weight"));
    if has(tensors, "fc_norm") {
        let twice = has(tensors, "norm");
        for part in ["weight", "bias"] {
            if let Some(tensor) = tensors.remove(&format!("fc_norm.{part}")).filter(|_| !twice) {
                tensors.insert(format!("norm.{part}"), tensor);
            }
        }
        if twice {
            return Err("it norms before and after the mean of tokens (`norm` and `fc_norm`)");
        }
        let origin = Some("`fc_norm` norms after the mean".into());
        return Ok(Reading { pooling: Pooling::MeanNorm, origin, assumed: false });
    }
    if !head {
        return Ok(Reading { pooling: Pooling::Mean, origin: None, assumed: false });
    }
    let (pooling, origin, assumed) = match (pool, dialect) {
        (Some((pool, origin)), _) if ["avg", "true"].contains(&pool.as_str()) => (Pooling::Mean, origin, false),
        (Some((pool, origin)), _) if ["token", "false", ""].contains(&pool.as_str()) => (Pooling::Cls, origin, false),
        (Some(_), _) => return Err("it pools tokens in a way that is not computed here (`global_pool`)"),
        (None, Some(Dialect::HuggingFace | Dialect::Torchvision | Dialect::OpenMmLab)) => {
            (Pooling::Cls, "as the library reads it".into(), false)
        }
        (None, _) => (Pooling::Cls, "assumed: nothing tells".into(), true),
    };
    Ok(Reading { pooling, origin: Some(origin), assumed })
}

/// The last layer, with a BatchNorm before it (the official linear probe's) folded in. `dim`: width of a token.
///
/// # Errors
/// As the end of a sentence, if it is no layer from a feature to classes.
pub(super) fn last_layer(head: &Tensors, dim: usize) -> Result<(Vec<f32>, Vec<f32>), String> {
    let probe = head.contains_key("head.1.weight");
    let layer = if probe { "head.1" } else { "head" };
    let weight = head.get(&format!("{layer}.weight")).ok_or("it has no weights")?;
    let [classes, width] = weight.shape[..] else {
        return Err(format!("its weights are {:?}", weight.shape));
    };
    if width != dim || classes == 0 || weight.data.len() != classes * width {
        return Err(format!("it reads {width} values and features have {dim}"));
    }
    let mut weights = weight.data.clone();
    let mut bias = match head.get(&format!("{layer}.bias")) {
        Some(bias) if bias.data.len() == classes => bias.data.clone(),
        Some(bias) => return Err(format!("its bias is {:?} for {classes} classes", bias.shape)),
        None => vec![0.0; classes],
    };
    if probe {
        let running = |name: &str| {
            let tensor = head.get(&format!("head.0.running_{name}")).filter(|tensor| tensor.data.len() == dim);
            tensor.ok_or_else(|| format!("its BatchNorm has no running {name}"))
        };
        let (mean, var) = (running("mean")?, running("var")?);
        for (row, bias) in weights.chunks_exact_mut(dim).zip(&mut bias) {
            let mut shift = 0.0;
            for ((weight, mean), var) in row.iter_mut().zip(&mean.data).zip(&var.data) {
                let scaled = f64::from(*weight) / (f64::from(*var) + PROBE_EPS).sqrt();
                shift += scaled * f64::from(*mean);
                *weight = scaled as f32;
            }
            *bias = (f64::from(*bias) - shift) as f32;
        }
    }
    Ok((weights, bias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::NamedTensor;

    fn tensor(shape: &[usize], data: &[f32]) -> NamedTensor {
        NamedTensor { shape: shape.to_vec(), data: data.to_vec() }
    }

    #[test]
    fn a_probes_batch_norm_is_folded_in() {
        let head = Tensors::from([
            ("head.0.running_mean".into(), tensor(&[2], &[1.0, -2.0])),
            ("head.0.running_var".into(), tensor(&[2], &[4.0, 0.25])),
            ("head.1.weight".into(), tensor(&[1, 2], &[3.0, 5.0])),
            ("head.1.bias".into(), tensor(&[1], &[0.5])),
        ]);
        let (weights, bias) = last_layer(&head, 2).expect("a layer");
        // ((x - 1) / 2) * 3 + ((y + 2) / 0.5) * 5 + 0.5
        assert!((weights[0] - 1.5).abs() < 1e-5 && (weights[1] - 10.0).abs() < 1e-4, "{weights:?}");
        assert!((bias[0] - (0.5 - 1.5 + 20.0)).abs() < 1e-4, "{bias:?}");
    }

    #[test]
    fn what_is_no_last_layer_is_said() {
        let head = |weight: &[usize]| {
            let count = weight.iter().product();
            Tensors::from([("head.weight".into(), tensor(weight, &vec![0.0; count]))])
        };
        assert_eq!(last_layer(&head(&[3, 2]), 2), Ok((vec![0.0; 6], vec![0.0; 3])), "no bias is one of zeros");
        assert!(last_layer(&head(&[3, 4]), 2).is_err_and(|reason| reason.contains("reads 4 values")));
        assert!(last_layer(&head(&[3]), 2).is_err() && last_layer(&Tensors::new(), 2).is_err());
    }

    #[test]
    fn pooling_is_what_the_norm_or_the_file_says() {
        let norm = |name: &str| Tensors::from([(format!("{name}.weight"), tensor(&[1], &[1.0]))]);
        let told = |pool: &str| Some((pool.to_owned(), "a file".into()));
        let pooled = |name: &str, pool, head| {
            let mut tensors = norm(name);
            let reading = reading(&mut tensors, Some(Dialect::Official), pool, head).expect("a reading");
            assert!(tensors.contains_key("norm.weight"));
            (reading.pooling, reading.assumed)
        };
        assert_eq!(pooled("fc_norm", None, true), (Pooling::MeanNorm, false));
        assert_eq!(pooled("fc_norm", None, false), (Pooling::MeanNorm, false));
        assert_eq!(pooled("norm", told("avg"), true), (Pooling::Mean, false));
        assert_eq!(pooled("norm", told("token"), true), (Pooling::Cls, false));
        assert_eq!(pooled("norm", None, true), (Pooling::Cls, true));
        assert_eq!(pooled("norm", None, false), (Pooling::Mean, false));
        let mut both = norm("norm");
        both.extend(norm("fc_norm"));
        assert!(reading(&mut both, None, None, true).is_err());
    }
}
