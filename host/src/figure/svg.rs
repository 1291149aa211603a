//! A scene as SVG.

use super::scene::{Anchor, FONT_SIZE, Item, Paint, Rgb, Scene};
use maud::{Markup, html};

/// The family of the text, which [`super::png`] carries; Arial has letters of the same widths and nearly the same
/// shapes.
pub const FONT: &str = "Arimo";

/// The file's text.
#[must_use]
pub fn text(scene: &Scene) -> String {
    let Scene { width, height, title, items } = scene;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
            role="img" font-family={ (FONT) ", Arial, Helvetica, sans-serif" } font-size=(FONT_SIZE) {
            "\n" title { (title) } "\n"
            rect width="100%" height="100%" fill="#fff" {}
            @for item in items { "\n" (shape(item)) }
            "\n"
        }
        "\n"
    };
    svg.into_string()
}

/// The scene as a part of a page: `class` is the picture's. The page's style sheet may give other colours, for dark
/// screens too, to text, discs and the classes of lines.
#[must_use]
pub fn part(class: &str, scene: &Scene) -> Markup {
    let Scene { width, height, title, items } = scene;
    html! {
        svg class=(class) viewBox={ "0 0 " (width) " " (height) } role="img" {
            title { (title) }
            @for item in items { (shape(item)) }
        }
    }
}

fn shape(item: &Item) -> Markup {
    match item {
        Item::Line { points, width, paint } => html! {
            polyline class=[class(*paint)] points=(places(points)) fill="none" stroke=(hex(paint.rgb()))
                stroke-width=(width) stroke-linejoin="round" {}
        },
        Item::Area { points, paint, opacity } => html! {
            polygon points=(places(points)) fill=(hex(paint.rgb())) fill-opacity=(opacity) {}
        },
        Item::Dot { at: (x, y), radius, paint, title } => html! {
            circle cx=(unit(*x)) cy=(unit(*y)) r=(radius) fill=(hex(paint.rgb())) {
                @if let Some(title) = title { title { (title) } }
            }
        },
        Item::Text { at: (x, y), text, anchor, paint } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            html! { text x=(unit(*x)) y=(unit(*y)) text-anchor=(anchor) fill=(hex(paint.rgb())) { (text) } }
        }
    }
}

/// What a page's style sheet calls a line.
fn class(paint: Paint) -> Option<&'static str> {
    match paint {
        Paint::Ink | Paint::Soft => Some("axis"),
        Paint::Grid => Some("grid"),
        Paint::Fine => Some("fine"),
        Paint::Main => Some("main"),
        Paint::Data(_) => None,
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
