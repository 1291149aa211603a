//! The curves of a joint term: the two parts of the loss, and how far the features spread.

use super::{
    chart::Chart,
    history::{Epoch, Point},
};
use maud::{Markup, html};

/// The section; nothing for a training without a joint term. `end`: the last epoch of the horizontal axis.
pub fn section(steps: &[Point], epochs: &[Epoch], end: f64) -> Markup {
    let fine = |value: fn(&Point) -> Option<f64>| -> Vec<(f64, f64)> {
        steps.iter().filter_map(|point| Some((point.epoch, value(point)?))).collect()
    };
    let points = |place: f64, value: fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|epoch| Some((epoch.epoch as f64 - place, value(epoch)?))).collect()
    };
    // Means belong to the middle of their epoch, the spread to its end.
    let reconstruction = points(0.5, |e| e.reconstruction);
    let joint = points(0.5, |e| e.joint);
    let (std, rank) = (points(0.0, |e| e.feature_std), points(0.0, |e| e.feature_rank));
    let (fine_reconstruction, fine_joint) = (fine(|p| p.reconstruction), fine(|p| p.joint));
    let chart = |title, label, main: &[(f64, f64)], fine: &[(f64, f64)], from_zero| {
        html! {
            figure { (Chart { title, label, epochs: end, from_zero, fine, main, marked: true }.svg()) }
        }
    };
    html! {
        @if !joint.is_empty() {
            section {
                h2 { "Parts of the loss" }
                p.soft { "Before they are weighed." }
                // Without a decoder the reconstruction is 0 throughout.
                @if reconstruction.iter().any(|(_, value)| *value != 0.0) {
                    (chart(
                        "Reconstruction over the epochs", "mean squared error on removed patches", &reconstruction,
                        &fine_reconstruction, false
                    ))
                }
                (chart("Joint term over the epochs", "joint term", &joint, &fine_joint, false))
            }
            section {
                h2 { "Spread of the features" }
                p.soft {
                    "Of the last batch of each epoch. Features that become the same for all images lose both: the training "
                    "then ends and says so."
                }
                (chart("Deviation of the features over the epochs", "deviation, 1 in every direction", &std, &[], true))
                (chart("Rank of the features over the epochs", "directions in which features spread", &rank, &[], true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, joint: Option<f64>, reconstruction: Option<f64>) -> Epoch {
        Epoch {
            epoch,
            step: epoch * 10,
            loss: 1.0,
            lr: 0.1,
            images_per_second: 5.0,
            reconstruction,
            joint,
            feature_std: joint.map(|_| 0.5),
            feature_rank: joint.map(|_| 12.0),
        }
    }

    #[test]
    fn curves_are_drawn_where_there_is_a_joint_term() {
        let draw = |joint, reconstruction| {
            let epochs: Vec<Epoch> = (1..5).map(|i| epoch(i, joint, reconstruction)).collect();
            section(&[], &epochs, 4.0).into_string()
        };
        assert_eq!(draw(None, None), "");
        let (both, alone) = (draw(Some(3.0), Some(0.5)), draw(Some(3.0), Some(0.0)));
        assert_eq!((both.matches("<figure>").count(), alone.matches("<figure>").count()), (4, 3));
        assert!(both.contains("Reconstruction over") && !alone.contains("Reconstruction over"));
    }
}
