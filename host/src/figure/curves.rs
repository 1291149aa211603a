//! Curves over numbers, panels one above the other with one axis below, as in the paper's figure of mask ratios.

use super::{
    Figure, Panel, Point,
    axis::Axis,
    frame::Frame,
    scene::{Anchor, Item, LINE, Paint, Scene},
};

const WIDTH: f64 = 680.0;
const PANEL: f64 = 180.0;
const MARGIN: f64 = 14.0;
/// From the end of the axis to the first and the last point, for their numbers.
const INSET: f64 = 26.0;

pub(super) fn scene(figure: &Figure, label: &str, places: &[(f64, String)]) -> Scene {
    let top = MARGIN + 1.6 * LINE;
    let height = top + figure.panels.len() as f64 * (PANEL + 2.0 * LINE) + 4.5 * LINE;
    let mut scene = Scene { title: figure.title.clone(), width: WIDTH, height, items: Vec::new() };
    scene.text((MARGIN, MARGIN + LINE * 0.8), Anchor::Start, Paint::Ink, figure.title.as_str());
    let numbers = || places.iter().map(|(place, _)| *place);
    let x = (numbers().fold(f64::MAX, f64::min), numbers().fold(f64::MIN, f64::max));
    let axes: Vec<Axis> = figure.panels.iter().map(axis).collect();
    let left = MARGIN + 8.0 + axes.iter().map(|axis| axis.room(1.0)).fold(0.0, f64::max);
    let (mut upper, mut last) = (top + 1.6 * LINE, None);
    for (panel, y) in figure.panels.iter().zip(axes) {
        let frame = Frame { left, right: WIDTH - MARGIN, upper, lower: upper + PANEL, inset: INSET, x, y };
        scene.text((left, upper - 0.6 * LINE), Anchor::Start, Paint::Data(panel.colour), panel.title.as_str());
        frame.grid(&mut scene, 1.0);
        scene.line((left, upper), (left, frame.lower), 1.0, Paint::Ink);
        frame.base(&mut scene);
        frame.marks(&mut scene, numbers());
        let points = places.iter().zip(&panel.points);
        let points = points.filter_map(|((x, _), point)| Some((frame.at_x(*x), (*point)?)));
        draw(&mut scene, panel, &frame, &points.collect::<Vec<_>>());
        upper = frame.lower + 2.0 * LINE;
        last = Some(frame);
    }
    if let Some(frame) = last {
        frame.below(&mut scene, places, label);
    }
    scene.text((MARGIN, height - 10.0), Anchor::Start, Paint::Soft, figure.note.as_str());
    scene
}

/// A panel's points, each at its place from the left, with line, band and numbers.
fn draw(scene: &mut Scene, panel: &Panel, frame: &Frame, points: &[(f64, Point)]) {
    let paint = Paint::Data(panel.colour);
    // A band only where the spread is known: between a point of several seeds and one of a single seed it is not.
    let known = |(_, point): &(f64, Point)| point.count > 1;
    for run in points.chunk_by(|a, b| known(a) && known(b)).filter(|run| known(&run[0])) {
        let edge = |sign: f64| run.iter().map(move |(x, p)| (*x, frame.at_y(p.mean + sign * p.spread)));
        let edges: Vec<_> = edge(1.0).chain(edge(-1.0).rev()).collect();
        scene.items.push(match run.len() {
            1 => Item::Line { points: edges, width: 2.0, paint },
            _ => Item::Area { points: edges, paint, opacity: 0.18 },
        });
    }
    if points.len() > 1 {
        let line = points.iter().map(|(x, point)| (*x, frame.at_y(point.mean))).collect();
        scene.items.push(Item::Line { points: line, width: 2.0, paint });
    }
    for (x, point) in points {
        scene.dot((*x, frame.at_y(point.mean)), 3.5, paint);
        // Above the point and its spread, but within the panel.
        let above = frame.at_y(point.mean + point.spread) - 7.0;
        let at = (*x, above.max(frame.upper - 2.0));
        scene.text(at, Anchor::Middle, Paint::Ink, panel.number(point.mean));
    }
}

/// The axis of a panel, with room above for the numbers.
fn axis(panel: &Panel) -> Axis {
    let (low, high) = panel.range();
    if low > high {
        return Axis::around(0.0, 1.0, 5);
    }
    let room = (high - low) * 0.12;
    Axis::around(low, high + room, 5)
}
