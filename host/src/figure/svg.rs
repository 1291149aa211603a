//! A scene as SVG.

use super::scene::{Anchor, Item, Rgb, Scene};
use maud::{Markup, html};

/// The file's text.
#[must_use]
pub fn text(scene: &Scene) -> String {
    let Scene { width, height, title, items } = scene;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
            role="img" font-family="system-ui, sans-serif" font-size="12" {
            "\n" title { (title) } "\n"
            rect width="100%" height="100%" fill="#fff" {}
            @for item in items { "\n" (shape(item)) }
            "\n"
        }
        "\n"
    };
    svg.into_string()
}

fn shape(item: &Item) -> Markup {
    match item {
        Item::Line { points, width, colour } => html! {
            polyline points=(places(points)) fill="none" stroke=(hex(*colour)) stroke-width=(width)
                stroke-linejoin="round" {}
        },
        Item::Area { points, colour, opacity } => html! {
            polygon points=(places(points)) fill=(hex(*colour)) fill-opacity=(opacity) {}
        },
        Item::Dot { at: (x, y), radius, colour } => html! {
            circle cx=(unit(*x)) cy=(unit(*y)) r=(radius) fill=(hex(*colour)) {}
        },
        Item::Text { at: (x, y), text, anchor, colour } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            html! { text x=(unit(*x)) y=(unit(*y)) text-anchor=(anchor) fill=(hex(*colour)) { (text) } }
        }
    }
}

fn unit(value: f64) -> String {
    format!("{value:.1}")
}

fn places(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
