//! Layer-wise learning-rate decay (Clark et al. 2020, MAE appendix A.1).

use crate::train::optimizer::{Group, Groups};
use std::sync::Arc;

/// The number of a parameter's layer: 0 for what makes tokens, then one a block, then the rest.
fn layer(name: &str, depth: usize) -> usize {
    let block = || name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    match name {
        "cls_token" | "pos_embed" => 0,
        _ if name.starts_with("patch_embed.") => 0,
        _ => block().map_or(depth + 1, |block| block + 1),
    }
}

/// The groups of fine-tuning: layer `l` of `depth + 1` learns at `layer_decay^(depth + 1 - l)` of the rate; matrices
/// have weight decay, while biases, norms and tokens have none.
#[must_use]
pub fn finetuning_groups(depth: usize, layer_decay: f64) -> Groups {
    Arc::new(move |name, rank| {
        let above = (depth + 1 - layer(name, depth).min(depth + 1)) as i32;
        let token = matches!(name, "cls_token" | "pos_embed");
        Group { lr_scale: layer_decay.powi(above), decayed: rank > 1 && !token }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_equal_the_official_ones() {
        #[derive(serde::Deserialize)]
        struct Expected {
            lr_scale: f64,
            weight_decay: f64,
            params: Vec<String>,
        }
        let text = include_str!("../../../../tests/parity/mae-32/layer_decay_065.json");
        let expected: Vec<Expected> = serde_json::from_str(text).expect("parity file");
        let groups = finetuning_groups(2, 0.65);
        let mut compared = 0;
        for Expected { lr_scale, weight_decay, params } in expected {
            for name in params {
                let rank = match name.as_str() {
                    "cls_token" | "pos_embed" => 3,
                    name if name.contains("norm") || name.ends_with("bias") => 1,
                    _ => 2,
                };
                let group = groups(&name, rank);
                assert!((group.lr_scale - lr_scale).abs() < 1e-15, "{name}: {}", group.lr_scale);
                assert_eq!(if group.decayed { 0.05 } else { 0.0 }, weight_decay, "{name}");
                compared += 1;
            }
        }
        assert_eq!(compared, 32, "every parameter of the classifier");
        // The final norm, which the mean's classifier lacks, learns at the full rate, too.
        assert_eq!(groups("norm.weight", 1), Group { lr_scale: 1.0, decayed: false });
        assert!(
            ["head.weight", "blocks.0.mlp.fc1.weight"]
                .iter()
                .all(|name| { finetuning_groups(2, 1.0)(name, 2) == Group { lr_scale: 1.0, decayed: true } })
        );
    }
}
