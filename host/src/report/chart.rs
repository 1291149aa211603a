//! Line charts over the epochs, drawn twice: for wide and for narrow screens, so that their text keeps its size.

use super::number::{number, superscript};
use crate::figure::{
    axis::Axis,
    frame::Frame,
    scene::{Anchor, Item, Paint, Scene},
    svg,
};
use maud::{Markup, html};

/// Most points of a line that are drawn; more are averaged in groups.
const MOST: usize = 400;

/// What a chart shows over the epochs.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// For people who cannot see it: what it shows.
    pub title: &'a str,
    /// What the vertical axis is, with its unit.
    pub label: &'a str,
    /// End of the horizontal axis, epochs.
    pub epochs: f64,
    /// Whether the vertical axis must begin at zero.
    pub from_zero: bool,
    /// Thin, pale line: (epoch, value).
    pub fine: &'a [(f64, f64)],
    /// Thick line: (epoch, value).
    pub main: &'a [(f64, f64)],
    /// Whether the points of the thick line are marked, and say their values.
    pub marked: bool,
}

impl Chart<'_> {
    /// Both drawings. Points that are not finite are left out; without any there is a line that says so.
    #[must_use]
    pub fn svg(&self) -> Markup {
        if self.values().next().is_none() {
            return html! { p.soft { "No figures yet." } };
        }
        html! {
            (svg::part("wide", &self.scene((736.0, 300.0), 8)))
            (svg::part("narrow", &self.scene((344.0, 250.0), 5)))
        }
    }

    fn values(&self) -> impl Iterator<Item = (f64, f64)> {
        let points = self.fine.iter().chain(self.main).copied();
        points.filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// Of the values that are drawn. The first steps of a training would press all others flat: of the thin line,
    /// values above the thick line are left out where they are few.
    fn range(&self) -> (f64, f64) {
        let bounds = |points: &[(f64, f64)]| {
            let finite = points.iter().filter(|(_, y)| y.is_finite());
            finite.fold((f64::MAX, f64::MIN), |(low, high), (_, y)| (low.min(*y), high.max(*y)))
        };
        let (mut low, mut high) = bounds(self.main);
        let mut fine: Vec<f64> = self.fine.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
        fine.sort_by(f64::total_cmp);
        let most = if self.main.len() > 1 { fine.len() * 95 / 100 } else { fine.len() };
        if let (Some(first), Some(last)) = (fine.first(), fine.get(most.saturating_sub(1))) {
            (low, high) = (low.min(*first), high.max(*last));
        }
        (if self.from_zero { low.min(0.0) } else { low }, high)
    }

    fn axis(&self) -> Axis {
        let (low, high) = self.range();
        Axis::around(low, high, 5)
    }

    /// The largest value of the thin line that is left out above the picture.
    #[must_use]
    pub fn above(&self) -> Option<f64> {
        let high = self.axis().high;
        self.fine.iter().map(|(_, y)| *y).filter(|y| y.is_finite() && *y > high).reduce(f64::max)
    }

    fn scene(&self, (width, height): (f64, f64), x_ticks: usize) -> Scene {
        let (y, exponent) = (self.axis(), self.axis().exponent());
        let scale = 10_f64.powi(exponent);
        let end = self.values().map(|(x, _)| x).fold(self.epochs, f64::max).max(f64::MIN_POSITIVE);
        let (left, right, upper, lower) = (12.0 + y.room(scale), width - 12.0, 28.0, height - 40.0);
        let frame = Frame { left, right, upper, lower, inset: 0.0, x: (0.0, end), y };
        let mut scene = Scene { title: self.title.into(), width, height, items: Vec::new() };
        let label = match exponent {
            0 => self.label.to_owned(),
            exponent => format!("{} (× 10{})", self.label, superscript(&exponent.to_string())),
        };
        scene.text((0.0, 14.0), Anchor::Start, Paint::Soft, label);
        frame.grid(&mut scene, scale);
        frame.base(&mut scene);
        let x: Vec<_> = Axis::to(end, x_ticks).ticks().map(|tick| (tick, number(tick))).collect();
        frame.marks(&mut scene, x.iter().map(|(tick, _)| *tick));
        frame.below(&mut scene, &x, "epoch");
        let place = |(x, y)| (frame.at_x(x), frame.at_y(y));
        for (paint, width, points) in [(Paint::Fine, 1.25, self.fine), (Paint::Main, 2.0, self.main)] {
            let inside: Vec<_> = points.iter().copied().filter(|(_, value)| *value <= y.high).collect();
            let points: Vec<_> = thinned(&inside).into_iter().map(place).collect();
            match points[..] {
                [] => {}
                [at] => scene.dot(at, 3.0, Paint::Main),
                _ => scene.items.push(Item::Line { points, width, paint }),
            }
        }
        if self.marked && self.main.len() <= 60 {
            for (x, y) in thinned(self.main) {
                let (at, title) = (place((x, y)), Some(number(y)));
                scene.items.push(Item::Dot { at, radius: 3.0, paint: Paint::Main, title });
            }
        }
        scene
    }
}

/// Finite points; long lines averaged in groups.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<_> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let group = finite.len().div_ceil(MOST).max(1);
    let mean = |group: &[(f64, f64)]| {
        let sum = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / group.len() as f64, sum.1 / group.len() as f64)
    };
    finite.chunks(group).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chart<'a>(fine: &'a [(f64, f64)], main: &'a [(f64, f64)]) -> Chart<'a> {
        Chart { title: "a <title>", label: "loss", epochs: 20.0, from_zero: false, fine, main, marked: true }
    }

    #[test]
    fn the_first_steps_do_not_press_the_rest_flat() {
        let fine: Vec<(f64, f64)> = (1..100).map(|i| (f64::from(i), if i < 3 { 9.0 } else { 0.4 })).collect();
        let chart = chart(&fine, &[(5.0, 0.5), (10.0, 0.4)]);
        assert_eq!((chart.range(), chart.above()), ((0.4, 0.5), Some(9.0)));
        assert_eq!(Chart { main: &[], ..chart }.above(), None);
    }

    #[test]
    fn nothing_and_one_point_are_drawn_too() {
        assert!(chart(&[], &[(1.0, f64::NAN)]).svg().0.contains("No figures yet"));
        let one = chart(&[], &[(1.0, 0.5)]).svg().0;
        assert!(one.contains("<circle") && !one.contains("NaN") && one.contains("a &lt;title&gt;"), "{one}");
    }

    #[test]
    fn long_lines_are_averaged() {
        let line: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let short = thinned(&line);
        assert!(short.len() <= MOST);
        assert!(short.iter().all(|(_, y)| (y - 0.5).abs() < 0.05));
    }

    proptest! {
        #[test]
        fn every_coordinate_lies_in_the_picture(points in proptest::collection::vec((0.0..20.0_f64, -1e3..1e3_f64), 1..50)) {
            let svg = chart(&points, &points).svg().0;
            let (wide, narrow) = svg.split_once("</svg>").expect("two drawings");
            for (drawing, width, height) in [(wide, 736.0, 300.0), (narrow, 344.0, 250.0)] {
                for list in drawing.split("points=\"").skip(1) {
                    for point in list.split('"').next().unwrap_or_default().split(' ') {
                        let (x, y) = point.split_once(',').expect("x,y");
                        let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
                        prop_assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{point}");
                    }
                }
            }
        }
    }
}
