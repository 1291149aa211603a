//! Figures of measurements with their spread: laid out once as a [`scene::Scene`], written as SVG and as PNG. The
//! charts of a run's report are drawn with the same shapes.

pub mod axis;
pub mod curves;
pub mod frame;
pub mod png;
pub mod rows;
pub mod scene;
pub mod svg;

use scene::{Rgb, Scene};

/// The mean of some measurements, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Their mean.
    pub mean: f64,
    /// Their (unbiased) standard deviation; 0 of one.
    pub spread: f64,
    /// How many there are.
    pub count: usize,
}

impl Point {
    /// Of at least one measurement; `None` of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let spread = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        (count > 0).then_some(Self { mean, spread, count })
    }
}

/// What was measured, once for each setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Above the panel: what it is, with its unit.
    pub title: String,
    /// Its colour, the same in every figure.
    pub colour: Rgb,
    /// One a setting, where there is one.
    pub points: Vec<Option<Point>>,
    /// Decimals of the numbers at the points.
    pub decimals: usize,
}

/// What the settings are.
#[derive(Debug, Clone, PartialEq)]
pub enum Settings {
    /// Numbers: a curve over them, panels one above the other.
    Numbers {
        /// Below the axis.
        label: String,
        /// Place on the axis and what is written there.
        places: Vec<(f64, String)>,
    },
    /// Names: a row for each, panels side by side.
    Names(Vec<String>),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Above all.
    pub title: String,
    /// Below all, one line.
    pub note: String,
    /// What varies.
    pub settings: Settings,
    /// What was measured.
    pub panels: Vec<Panel>,
}

impl Figure {
    /// The figure as shapes.
    #[must_use]
    pub fn scene(&self) -> Scene {
        match &self.settings {
            Settings::Numbers { label, places } => curves::scene(self, label, places),
            Settings::Names(names) => rows::scene(self, names),
        }
    }
}

impl Panel {
    /// A number as it is written at its point.
    fn number(&self, value: f64) -> String {
        format!("{value:.decimals$}", decimals = self.decimals)
    }

    /// Lowest and highest value, spread included.
    fn range(&self) -> (f64, f64) {
        let ends = self.points.iter().flatten().flat_map(|p| [p.mean - p.spread, p.mean + p.spread]);
        ends.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figure(settings: Settings, points: Vec<Option<Point>>) -> Figure {
        let panel =
            |title: &str| Panel { title: title.into(), colour: [9, 8, 7], points: points.clone(), decimals: 1 };
        let panels = vec![panel("fine-tuning, accuracy (%)"), panel("linear <probe>")];
        Figure { title: "a title".into(), note: "a note".into(), settings, panels }
    }

    fn point(mean: f64, spread: f64) -> Option<Point> {
        Some(Point { mean, spread, count: if spread > 0.0 { 3 } else { 1 } })
    }

    #[test]
    fn mean_and_spread_are_those_of_a_sample() {
        let found = Point::of(&[1.0, 2.0, 6.0]).expect("three");
        assert!((found.mean - 3.0).abs() < 1e-12 && (found.spread - 7.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Point::of(&[4.0]), Some(Point { mean: 4.0, spread: 0.0, count: 1 }));
        assert_eq!(Point::of(&[]), None);
    }

    #[test]
    fn every_number_and_name_is_in_both_kinds_of_figure() {
        let points = vec![point(84.94, 0.0), None, point(73.51, 0.32)];
        let places = [(10.0, "10"), (50.0, "50"), (90.0, "90")].map(|(x, text)| (x, text.to_owned())).to_vec();
        let numbers = Settings::Numbers { label: "masking ratio (%)".into(), places };
        let names = Settings::Names(["pixels", "pixels, normalised", "high-pass"].map(String::from).to_vec());
        for settings in [numbers, names] {
            let (curve, svg) =
                (matches!(settings, Settings::Numbers { .. }), figure(settings, points.clone()).scene());
            let svg = svg::text(&svg);
            for text in ["84.9", "73.5", "a title", "a note", "linear &lt;probe&gt;"] {
                assert!(svg.contains(&format!(">{text}")), "{text}: {svg}");
            }
            let own = if curve { ["masking ratio (%)", ">50<"] } else { ["pixels, normalised", "73.5 ± 0.3"] };
            assert!(own.iter().all(|text| svg.contains(text)), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_band_ends_where_only_one_seed_was_measured() {
        let points = [0.0, 2.0, 0.0, 2.0, 3.0, 0.0].map(|spread| point(50.0, spread)).to_vec();
        let places = (0..points.len()).map(|i| (i as f64, i.to_string())).collect();
        let scene = figure(Settings::Numbers { label: "x".into(), places }, points).scene();
        let (mut bars, mut bands) = (0, Vec::new());
        for item in &scene.items {
            match item {
                scene::Item::Area { points, .. } => bands.push(points.len()),
                scene::Item::Line { points, paint: scene::Paint::Data([9, 8, 7]), .. } if points.len() == 2 => {
                    bars += 1
                }
                _ => {}
            }
        }
        // In each of the two panels: a bar at the second point, a band from the fourth to the fifth.
        assert_eq!((bars, bands), (2, vec![4, 4]));
    }

    #[test]
    fn a_figure_without_measurements_is_drawn_too() {
        for settings in [
            Settings::Names(vec!["a".into()]),
            Settings::Numbers { label: "x".into(), places: vec![(1.0, "1".into())] },
        ] {
            let scene = figure(settings, vec![None]).scene();
            assert!(!svg::text(&scene).contains("NaN") && png::encode(&scene).is_ok());
        }
    }

    proptest! {
        #[test]
        fn every_shape_lies_in_the_picture(means in proptest::collection::vec((-1e3..1e3_f64, 0.0..50.0_f64), 1..12)) {
            let points: Vec<_> = means.iter().map(|(mean, spread)| point(*mean, *spread)).collect();
            let places = (0..points.len()).map(|i| ((i * i) as f64, i.to_string())).collect();
            let numbers = Settings::Numbers { label: "x".into(), places };
            for settings in [numbers, Settings::Names(vec!["name".into(); points.len()])] {
                let scene = figure(settings, points.clone()).scene();
                for (x, y) in scene.items.iter().flat_map(scene::Item::points) {
                    prop_assert!((0.0..=scene.width).contains(&x) && (0.0..=scene.height).contains(&y), "{x} {y}");
                }
            }
        }
    }
}
