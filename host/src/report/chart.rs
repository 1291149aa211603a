//! Line charts as SVG, drawn twice: for wide and for narrow screens, so that their text keeps its size.

use super::number::{number, superscript};
use maud::{Markup, PreEscaped, Render as _};
use std::fmt::Write as _;

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
            return PreEscaped("<p class=\"soft\">No figures yet.</p>".into());
        }
        PreEscaped(self.draw("wide", 736.0, 300.0, 8) + &self.draw("narrow", 344.0, 250.0, 5))
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

    /// The largest value of the thin line that is left out above the picture.
    #[must_use]
    pub fn above(&self) -> Option<f64> {
        let high = Axis::between(self.range()).high;
        self.fine.iter().map(|(_, y)| *y).filter(|y| y.is_finite() && *y > high).reduce(f64::max)
    }

    fn draw(&self, class: &str, width: f64, height: f64, x_ticks: usize) -> String {
        let (low, high) = self.range();
        let y = Axis::between((low, high));
        let end = self.values().map(|(x, _)| x).fold(self.epochs, f64::max).max(f64::MIN_POSITIVE);
        let x =
            Axis { low: 0.0, high: end, step: if end >= 1.0 { step(end, x_ticks).max(1.0) } else { step(end, 4) } };
        let exponent = y.exponent();
        let scale = 10_f64.powi(exponent);
        let y_texts: Vec<(f64, String)> = y.ticks().map(|value| (value, y.text(value, scale))).collect();
        let widest = y_texts.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(1);
        // 7 pixels a digit at 12 pixels a letter.
        let (left, right, top, bottom) = (12.0 + 7.0 * widest as f64, 12.0, 28.0, 40.0);
        let at_x = |value: f64| left + (value - x.low) / (x.high - x.low) * (width - left - right);
        let at_y = |value: f64| height - bottom - (value - y.low) / (y.high - y.low) * (height - top - bottom);

        let mut out = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n",
            self.title.render().0
        );
        let label = match exponent {
            0 => self.label.to_owned(),
            exponent => format!("{} (× 10{})", self.label, superscript(&exponent.to_string())),
        };
        let _ = writeln!(out, "<text x=\"0\" y=\"14\">{}</text>", label.render().0);
        let (x0, x1, y0) = (left, width - right, height - bottom);
        for (value, text) in y_texts {
            let at = at_y(value);
            let _ =
                writeln!(out, "<line class=\"grid\" x1=\"{x0:.1}\" x2=\"{x1:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        let _ = writeln!(out, "<line class=\"axis\" x1=\"{x0:.1}\" x2=\"{x1:.1}\" y1=\"{y0:.1}\" y2=\"{y0:.1}\"/>");
        for value in x.ticks() {
            let at = at_x(value);
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{y0:.1}\" y2=\"{:.1}\"/>",
                y0 + 4.0
            );
            let text = number(value);
            // The last label must not leave the picture.
            let at = at.min(width - 3.5 * text.chars().count() as f64 - 1.0);
            let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", y0 + 18.0);
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">epoch</text>",
            f64::midpoint(x0, x1),
            height - 4.0
        );
        for (class, points) in [("fine", self.fine), ("main", self.main)] {
            let inside = |(_, value): &(f64, f64)| *value <= y.high;
            let points: Vec<(f64, f64)> = points.iter().copied().filter(inside).collect();
            let points: Vec<String> =
                thinned(&points).into_iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(x), at_y(y))).collect();
            if points.len() > 1 {
                let _ = writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
            } else if let Some((x, y)) = points.first().and_then(|point| point.split_once(',')) {
                let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\"/>");
            }
        }
        if self.marked && self.main.len() <= 60 {
            for (x, y) in thinned(self.main) {
                let (at_x, at_y) = (at_x(x), at_y(y));
                let _ = writeln!(
                    out,
                    "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3\"><title>{}</title></circle>",
                    number(y)
                );
            }
        }
        out + "</svg>\n"
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

/// The smallest of 1, 2, 5 times a power of ten that cuts `range` into at most `most` parts.
fn step(range: f64, most: usize) -> f64 {
    let least = range / most.max(1) as f64;
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Numbers along an edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// The first tick.
    pub(crate) low: f64,
    /// The last tick.
    pub(crate) high: f64,
    step: f64,
}

impl Axis {
    /// A vertical axis for these values.
    fn between((low, high): (f64, f64)) -> Self {
        Self::around(low, high, 5)
    }

    /// The smallest axis between two ticks that holds `low..=high`, which may be one value.
    pub(crate) fn around(low: f64, high: f64, most: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - low.abs() * 0.5, high + high.abs() * 0.5) };
        let (low, high) = if high > low { (low, high) } else { (0.0, 1.0) };
        let step = step(high - low, most);
        Self { low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step, step }
    }

    pub(crate) fn ticks(self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step + 1e-9).floor() as usize;
        (0..=count).map(move |i| self.low + i as f64 * self.step)
    }

    /// Power of ten that is better said once, beside the axis; 0 for usual sizes.
    fn exponent(self) -> i32 {
        let size = self.high.abs().max(self.low.abs());
        if (0.01..10_000.0).contains(&size) { 0 } else { size.log10().floor() as i32 }
    }

    /// A tick's number in units of `scale`, all with as many decimals as the step needs.
    pub(crate) fn text(self, value: f64, scale: f64) -> String {
        let step = self.step / scale;
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let text = format!("{:.decimals$}", value / scale);
        // No "-0".
        match text.strip_prefix('-') {
            Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.into(),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chart<'a>(fine: &'a [(f64, f64)], main: &'a [(f64, f64)]) -> Chart<'a> {
        Chart { title: "a <title>", label: "loss", epochs: 20.0, from_zero: false, fine, main, marked: true }
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::around(0.367, 0.7615, 5);
        let texts: Vec<String> = axis.ticks().map(|value| axis.text(value, 1.0)).collect();
        assert_eq!(texts, ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]);
        let axis = Axis::around(0.0, 6e-4, 5);
        assert_eq!(axis.exponent(), -4);
        let texts: Vec<String> = axis.ticks().map(|value| axis.text(value, 1e-4)).collect();
        assert_eq!(texts, ["0", "2", "4", "6"]);
        assert_eq!([20.0, 400.0, 3.0].map(|end| step(end, 8)), [5.0, 50.0, 0.5]);
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
        fn an_axis_holds_its_values_between_few_ticks(a in -1e6..1e6_f64, size in -9..7_i32, most in 2_usize..10) {
            let (low, high) = (a, a + 10_f64.powi(size).max(a.abs() * 1e-6));
            let axis = Axis::around(low, high, most);
            let slack = axis.step * 1e-6;
            prop_assert!(axis.low <= low + slack && axis.high >= high - slack, "{axis:?}");
            prop_assert!(axis.ticks().count() <= most + 2, "{axis:?}");
        }

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
