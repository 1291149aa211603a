//! A row for each named setting, panels side by side: the mean as a point, its spread as a line, and both in numbers.

use super::{
    Figure, Panel, Point,
    axis::Axis,
    scene::{Anchor, LINE, Paint, Scene, room},
};

const PANEL: f64 = 220.0;
const MARGIN: f64 = 14.0;
const GAP: f64 = 26.0;
const ROW: f64 = 34.0;

pub(super) fn scene(figure: &Figure, names: &[String]) -> Scene {
    let label = names.iter().map(|name| room(name)).fold(0.0, f64::max);
    let numbers = |panel: &Panel| panel.points.iter().flatten().map(|p| room(&shown(panel, p))).fold(0.0, f64::max);
    let widths: Vec<f64> =
        figure.panels.iter().map(|panel| (PANEL + numbers(panel) + 8.0).max(room(&panel.title))).collect();
    let first = MARGIN + label + 14.0;
    let texts = room(&figure.title).max(room(&figure.note)) + 2.0 * MARGIN;
    let width = (first + widths.iter().map(|width| width + GAP).sum::<f64>() - GAP + MARGIN).max(texts);
    let top = MARGIN + 3.2 * LINE;
    let bottom = top + names.len() as f64 * ROW + 6.0;
    let height = bottom + 3.4 * LINE;
    let mut scene = Scene { title: figure.title.clone(), width, height, items: Vec::new() };
    scene.text((MARGIN, MARGIN + LINE * 0.8), Anchor::Start, Paint::Ink, figure.title.as_str());
    let middle = |row: usize| top + (row as f64 + 0.5) * ROW;
    for (row, name) in names.iter().enumerate() {
        scene.text((first - 14.0, middle(row) + 4.0), Anchor::End, Paint::Ink, name.as_str());
    }
    let mut left = first;
    for (panel, width) in figure.panels.iter().zip(&widths) {
        let paint = Paint::Data(panel.colour);
        scene.text((left, top - 8.0), Anchor::Start, paint, panel.title.as_str());
        let (low, high) = panel.range();
        let axis = if low > high { Axis::around(0.0, 1.0, 4) } else { Axis::around(low, high, 4) };
        let at = |value: f64| left + (value - axis.low) / (axis.high - axis.low) * PANEL;
        for tick in axis.ticks() {
            scene.line((at(tick), top), (at(tick), bottom), 1.0, Paint::Grid);
            scene.text((at(tick), bottom + LINE), Anchor::Middle, Paint::Soft, axis.text(tick, 1.0));
        }
        scene.line((left, bottom), (left + PANEL, bottom), 1.0, Paint::Ink);
        for (row, point) in panel.points.iter().enumerate() {
            let (y, end) = (middle(row), left + PANEL + 8.0);
            let Some(point) = point else {
                scene.text((end, y + 4.0), Anchor::Start, Paint::Soft, "-");
                continue;
            };
            if point.count > 1 {
                scene.line((at(point.mean - point.spread), y), (at(point.mean + point.spread), y), 3.0, paint);
            }
            scene.dot((at(point.mean), y), 3.5, paint);
            scene.text((end, y + 4.0), Anchor::Start, Paint::Ink, shown(panel, point));
        }
        left += width + GAP;
    }
    scene.text((MARGIN, height - 10.0), Anchor::Start, Paint::Soft, figure.note.as_str());
    scene
}

fn shown(panel: &Panel, point: &Point) -> String {
    match point.count {
        1 => panel.number(point.mean),
        _ => format!("{} ± {}", panel.number(point.mean), panel.number(point.spread)),
    }
}
