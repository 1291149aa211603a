//! The curves of a joint term: the two parts of the loss, and how far the features spread.

use super::{chart::Chart, history::Epoch};
use maud::{Markup, html};

/// The section; nothing for a training without a joint term. `end`: the last epoch of the horizontal axis.
pub fn section(epochs: &[Epoch], end: f64) -> Markup {
    let points = |place: f64, value: fn(&Epoch) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|epoch| Some((epoch.epoch as f64 - place, value(epoch)?))).collect()
    };
    // Means belong to the middle of their epoch, the spread to its end.
    let parts = [
        (
            "Reconstruction over the epochs",
            "mean squared error on removed patches",
            points(0.5, |e| e.reconstruction),
        ),
        ("Joint term over the epochs", "joint term", points(0.5, |e| e.joint)),
    ];
    let spread = [
        (
            "Deviation of the features over the epochs",
            "deviation, 1 in every direction",
            points(0.0, |e| e.feature_std),
        ),
        (
            "Rank of the features over the epochs",
            "directions in which features spread",
            points(0.0, |e| e.feature_rank),
        ),
    ];
    let charts = |of: &[(&str, &str, Vec<(f64, f64)>)], from_zero| {
        html! {
            @for (title, label, main) in of {
                // Without a decoder the reconstruction is 0 throughout.
                @if main.iter().any(|(_, value)| *value != 0.0) {
                    figure {
                        (Chart { title, label, epochs: end, from_zero, fine: &[], main, marked: true }.svg())
                    }
                }
            }
        }
    };
    html! {
        @if parts[1].2.iter().any(|(_, value)| value.is_finite()) {
            section {
                h2 { "Parts of the loss" }
                p.soft { "Before they are weighed." }
                (charts(&parts, false))
            }
            section {
                h2 { "Spread of the features" }
                p.soft {
                    "Of the last batch of each epoch. Features that become the same for all images lose both: the training "
                    "then ends and says so."
                }
                (charts(&spread, true))
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
            section(&epochs, 4.0).into_string()
        };
        assert_eq!(draw(None, None), "");
        let (both, alone) = (draw(Some(3.0), Some(0.5)), draw(Some(3.0), Some(0.0)));
        assert_eq!((both.matches("<figure>").count(), alone.matches("<figure>").count()), (4, 3));
        assert!(both.contains("Reconstruction over") && !alone.contains("Reconstruction over"));
    }
}
