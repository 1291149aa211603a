//! Curves over numbers, panels one above the other with one axis below, as in the paper's figure of mask ratios.

use super::{
    Figure, Panel, Point,
    scene::{Anchor, GRID, INK, Item, LINE, SOFT, Scene, room},
};
use crate::report::chart::Axis;

const WIDTH: f64 = 680.0;
const PANEL: f64 = 180.0;
const MARGIN: f64 = 14.0;
/// From the end of the axis to the first and the last point, for their numbers.
const INSET: f64 = 26.0;

pub(super) fn scene(figure: &Figure, label: &str, places: &[(f64, String)]) -> Scene {
    let panels: Vec<&Panel> = figure.panels.iter().collect();
    let top = MARGIN + 1.6 * LINE;
    let height = top + panels.len() as f64 * (PANEL + 2.0 * LINE) + 4.5 * LINE;
    let mut scene = Scene { title: figure.title.clone(), width: WIDTH, height, items: Vec::new() };
    scene.text((MARGIN, MARGIN + LINE * 0.8), Anchor::Start, INK, figure.title.as_str());
    let axes: Vec<Axis> = panels.iter().map(|panel| axis(panel)).collect();
    let widest =
        axes.iter().flat_map(|axis| axis.ticks().map(|tick| room(&axis.text(tick, 1.0)))).fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 8.0, WIDTH - MARGIN);
    let numbers = || places.iter().map(|(place, _)| *place);
    let (low, high) = (numbers().fold(f64::MAX, f64::min), numbers().fold(f64::MIN, f64::max));
    let at_x = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        left + INSET + share * (right - left - 2.0 * INSET)
    };
    let mut base = top;
    for (panel, axis) in panels.iter().zip(&axes) {
        let colour = &panel.colour;
        scene.text((left, base + LINE), Anchor::Start, *colour, panel.title.as_str());
        let (upper, lower) = (base + 1.6 * LINE, base + 1.6 * LINE + PANEL);
        let at_y = |value: f64| lower - (value - axis.low) / (axis.high - axis.low) * PANEL;
        for tick in axis.ticks() {
            scene.line((left, at_y(tick)), (right, at_y(tick)), 1.0, GRID);
            scene.text((left - 6.0, at_y(tick) + 4.0), Anchor::End, SOFT, axis.text(tick, 1.0));
        }
        scene.line((left, upper), (left, lower), 1.0, INK);
        scene.line((left, lower), (right, lower), 1.0, INK);
        places.iter().for_each(|(x, _)| scene.line((at_x(*x), lower), (at_x(*x), lower + 4.0), 1.0, INK));
        let points = places.iter().zip(&panel.points).filter_map(|((x, _), point)| Some((at_x(*x), (*point)?)));
        let points: Vec<_> = points.collect();
        // A band only where the spread is known: between a point of several seeds and one of a single seed it is not.
        let known = |(_, point): &(f64, Point)| point.count > 1;
        for run in points.chunk_by(|a, b| known(a) && known(b)).filter(|run| known(&run[0])) {
            let edge = |sign: f64| run.iter().map(move |(x, p)| (*x, at_y(p.mean + sign * p.spread)));
            let edges: Vec<_> = edge(1.0).chain(edge(-1.0).rev()).collect();
            scene.items.push(match run.len() {
                1 => Item::Line { points: edges, width: 2.0, colour: *colour },
                _ => Item::Area { points: edges, colour: *colour, opacity: 0.18 },
            });
        }
        if points.len() > 1 {
            let line = points.iter().map(|(x, point)| (*x, at_y(point.mean))).collect();
            scene.items.push(Item::Line { points: line, width: 2.0, colour: *colour });
        }
        for (x, point) in &points {
            let y = at_y(point.mean);
            scene.dot((*x, y), *colour);
            // Above the point and its spread, but within the panel.
            let above = at_y(point.mean + point.spread) - 7.0;
            scene.text((*x, above.max(upper - 2.0)), Anchor::Middle, INK, panel.number(point.mean));
        }
        base = lower + 0.4 * LINE;
    }
    let last = base - 0.4 * LINE;
    for (x, text) in places {
        scene.text((at_x(*x), last + 1.2 * LINE), Anchor::Middle, SOFT, text.as_str());
    }
    scene.text((f64::midpoint(left, right), last + 2.4 * LINE), Anchor::Middle, INK, label);
    scene.text((MARGIN, height - 10.0), Anchor::Start, SOFT, figure.note.as_str());
    scene
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
