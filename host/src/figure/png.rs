//! A scene as PNG at two pixels a unit: shapes by `tiny-skia`, letters as outlines of the font that the SVG names
//! first.
//!
//! Design decision: not `resvg`, which would render the SVG itself and save 80 lines. It draws the same picture (mean
//! difference 0.04 of 255), but with text it takes 30 crates and 89 CPU seconds of a release build, against 6 crates
//! and 15 s (both with crates that the program has anyway; two busy cores of an x86-64 virtual machine).

use super::scene::{Anchor, FONT_SIZE, Item, Scene};
use anyhow::Context as _;
use tiny_skia::{Color, FillRule, LineJoin, Path, PathBuilder, Pixmap, Stroke, Transform};
use ttf_parser::{Face, OutlineBuilder};

/// Pixels a unit.
const SCALE: f32 = 2.0;
/// [`super::svg::FONT`], the letters that figures need; see the licence beside it.
const FONT: &[u8] = include_bytes!("font/Arimo-subset.ttf");

/// The file's bytes.
///
/// # Errors
/// If the picture has no area, or is too large.
pub fn encode(scene: &Scene) -> anyhow::Result<Vec<u8>> {
    draw(scene)?.encode_png().context("encoding the picture")
}

fn draw(scene: &Scene) -> anyhow::Result<Pixmap> {
    let font = Face::parse(FONT, 0).context("reading the font")?;
    let length = |units: f64| (units as f32 * SCALE).ceil() as u32;
    let mut pixels = Pixmap::new(length(scene.width), length(scene.height)).context("the picture has no area")?;
    pixels.fill(Color::WHITE);
    for item in &scene.items {
        let (path, paint, stroke, opacity) = match item {
            Item::Line { points, width, paint } => (line(points, false), paint, Some(*width as f32), 1.0),
            Item::Area { points, paint, opacity } => (line(points, true), paint, None, *opacity),
            Item::Dot { at: (x, y), radius, paint, .. } => {
                (PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32), paint, None, 1.0)
            }
            Item::Text { at, text, anchor, paint } => (letters(&font, text, *at, *anchor), paint, None, 1.0),
        };
        // Nothing to draw: a single point, or a blank.
        let Some(path) = path else { continue };
        let [red, green, blue] = paint.rgb();
        let mut brush = tiny_skia::Paint::default();
        brush.set_color_rgba8(red, green, blue, (opacity * 255.0).round() as u8);
        let to_pixels = Transform::from_scale(SCALE, SCALE);
        match stroke {
            Some(width) => {
                let stroke = Stroke { width, line_join: LineJoin::Round, ..Stroke::default() };
                pixels.stroke_path(&path, &brush, &stroke, to_pixels, None);
            }
            None => pixels.fill_path(&path, &brush, FillRule::Winding, to_pixels, None),
        }
    }
    Ok(pixels)
}

fn line(points: &[(f64, f64)], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (place, (x, y)) in points.iter().enumerate() {
        if place == 0 { path.move_to(*x as f32, *y as f32) } else { path.line_to(*x as f32, *y as f32) }
    }
    if closed {
        path.close();
    }
    path.finish()
}

/// The outlines of a text; letters that the font lacks are its box.
fn letters(font: &Face<'_>, text: &str, at: (f64, f64), anchor: Anchor) -> Option<Path> {
    let scale = FONT_SIZE as f32 / f32::from(font.units_per_em());
    let glyphs = || text.chars().map(|letter| font.glyph_index(letter).unwrap_or_default());
    let advance = |glyph| f32::from(font.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    let width: f32 = glyphs().map(advance).sum();
    let left = at.0 as f32
        - match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
    let mut outline = Outline { path: PathBuilder::new(), at: (left, at.1 as f32), scale };
    for glyph in glyphs() {
        font.outline_glyph(glyph, &mut outline);
        outline.at.0 += advance(glyph);
    }
    outline.path.finish()
}

/// Puts a letter's outline, in units of the font and upwards, where it belongs.
struct Outline {
    path: PathBuilder,
    at: (f32, f32),
    scale: f32,
}

impl Outline {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        (self.at.0 + x * self.scale, self.at.1 - y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.place(x1, y1), self.place(x2, y2), self.place(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::scene::{Anchor, Item, Paint, Rgb},
        *,
    };

    #[test]
    fn shapes_cover_what_they_should() {
        let mut scene = Scene { title: String::new(), width: 40.0, height: 30.0, items: Vec::new() };
        let square = vec![(2.0, 2.0), (12.0, 2.0), (12.0, 12.0), (2.0, 12.0)];
        scene.items.push(Item::Area { points: square, paint: Paint::Data([200, 0, 0]), opacity: 1.0 });
        scene.line((20.0, 5.0), (38.0, 5.0), 2.0, Paint::Data([0, 0, 200]));
        scene.dot((30.0, 20.0), 3.5, Paint::Data([0, 150, 0]));
        scene.text((1.0, 29.0), Anchor::Start, Paint::Data([1, 2, 3]), "kNN ±");
        let image = draw(&scene).expect("a picture");
        let count = |rgb: Rgb| {
            image.pixels().iter().filter(|pixel| [pixel.red(), pixel.green(), pixel.blue()] == rgb).count()
        };
        assert_eq!((image.width(), image.height()), (80, 60));
        assert_eq!(count([200, 0, 0]), 20 * 20);
        assert_eq!(count([0, 0, 200]), 36 * 4);
        let disc = std::f64::consts::PI * 49.0;
        let found = count([0, 150, 0]) as f64;
        assert!(found < disc && found > 0.75 * disc, "{found} of {disc}");
        assert!(count([1, 2, 3]) > 40, "{}", count([1, 2, 3]));
        assert!(encode(&scene).expect("a file").starts_with(b"\x89PNG"));
    }
}
