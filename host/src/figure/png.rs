//! A scene as PNG, at two pixels a unit, edges smoothed; text in the font of the other pictures.

use super::scene::{Anchor, Item, Rgb, Scene};
use crate::pictures::font;
use anyhow::Context as _;
use image::RgbImage;

/// Pixels a unit.
const SCALE: f64 = 2.0;
/// Pixels of a dot of the font.
const DOT: usize = 2;
/// Height of a letter, dots.
const LETTER: usize = 7;
/// Steps in which the edge of an area is smoothed, in each direction.
const STEPS: usize = 4;

/// The file's bytes.
///
/// # Errors
/// If the encoder fails.
pub fn encode(scene: &Scene) -> anyhow::Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    draw(scene).write_to(&mut bytes, image::ImageFormat::Png).context("encoding the picture")?;
    Ok(bytes.into_inner())
}

fn draw(scene: &Scene) -> RgbImage {
    let size = |length: f64| (length * SCALE).ceil().max(1.0) as u32;
    let mut image = RgbImage::from_pixel(size(scene.width), size(scene.height), image::Rgb([255; 3]));
    for item in &scene.items {
        match item {
            Item::Line { points, width, paint: colour } => {
                let (points, half) = (scaled(points), width * SCALE / 2.0);
                let cover = |x, y| half + 0.5 - distance(&points, (x, y));
                paint(&mut image, bounds(&points, half + 1.0), colour.rgb(), 1.0, cover);
            }
            Item::Area { points, paint: colour, opacity } => {
                let points = scaled(points);
                let inside = |x: f64, y: f64| {
                    let step = |i: usize| (i as f64 + 0.5) / STEPS as f64 - 0.5;
                    let hits =
                        (0..STEPS * STEPS).filter(|i| contains(&points, (x + step(i % STEPS), y + step(i / STEPS))));
                    hits.count() as f64 / (STEPS * STEPS) as f64
                };
                paint(&mut image, bounds(&points, 1.0), colour.rgb(), *opacity, inside);
            }
            Item::Dot { at, radius, paint: colour, .. } => {
                let (points, radius) = (scaled(&[*at]), radius * SCALE);
                let cover = |x, y| radius + 0.5 - distance(&points, (x, y));
                paint(&mut image, bounds(&points, radius + 1.0), colour.rgb(), 1.0, cover);
            }
            Item::Text { at, text, anchor, paint } => write(&mut image, *at, text, *anchor, paint.rgb()),
        }
    }
    image
}

fn scaled(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().map(|(x, y)| (x * SCALE, y * SCALE)).collect()
}

/// Left, top, right and bottom of the points with a margin.
fn bounds(points: &[(f64, f64)], margin: f64) -> [f64; 4] {
    let first = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
    let [left, top, right, bottom] = points
        .iter()
        .fold(first, |[left, top, right, bottom], (x, y)| [left.min(*x), top.min(*y), right.max(*x), bottom.max(*y)]);
    [left - margin, top - margin, right + margin, bottom + margin]
}

/// Mixes `colour` into the pixels of a rectangle, each by what `cover` says of its middle, 0 to 1.
fn paint(
    image: &mut RgbImage,
    [left, top, right, bottom]: [f64; 4],
    colour: Rgb,
    opacity: f64,
    cover: impl Fn(f64, f64) -> f64,
) {
    let within = |value: f64, most: u32| value.clamp(0.0, f64::from(most)) as u32;
    for y in within(top.floor(), image.height())..within(bottom.ceil(), image.height()) {
        for x in within(left.floor(), image.width())..within(right.ceil(), image.width()) {
            let share = cover(f64::from(x) + 0.5, f64::from(y) + 0.5).clamp(0.0, 1.0) * opacity;
            let pixel = image.get_pixel_mut(x, y);
            for (value, new) in pixel.0.iter_mut().zip(colour) {
                *value = (f64::from(*value) * (1.0 - share) + f64::from(new) * share).round() as u8;
            }
        }
    }
}

/// From a place to a line through points, or to a single point.
fn distance(points: &[(f64, f64)], (x, y): (f64, f64)) -> f64 {
    let to = |(a, b): (f64, f64)| (x - a).hypot(y - b);
    let segments = points.windows(2).map(|ends| {
        let [(ax, ay), (bx, by)] = [ends[0], ends[1]];
        let (dx, dy) = (bx - ax, by - ay);
        let along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
        let along = along.clamp(0.0, 1.0);
        to((ax + along * dx, ay + along * dy))
    });
    segments.chain(points.first().map(|point| to(*point))).fold(f64::MAX, f64::min)
}

/// Whether a polygon holds a place: a ray to the right crosses its sides an odd number of times.
fn contains(points: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let sides = points.iter().zip(points.iter().cycle().skip(1));
    let crossed =
        sides.filter(|((ax, ay), (bx, by))| (*ay > y) != (*by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax));
    crossed.count() % 2 == 1
}

fn write(image: &mut RgbImage, at: (f64, f64), text: &str, anchor: Anchor, colour: Rgb) {
    let width = font::width(text, DOT) as f64;
    let left = at.0 * SCALE
        - match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
    let (left, top) = (left.round().max(0.0) as usize, (at.1 * SCALE).round() as usize);
    let top = top.saturating_sub(LETTER * DOT);
    for (place, letter) in text.chars().enumerate() {
        for (row, bits) in font::glyph(letter).iter().enumerate() {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                for i in 0..DOT * DOT {
                    let x = left + (place * font::ADVANCE + column) * DOT + i % DOT;
                    let y = top + row * DOT + i / DOT;
                    if let Some(pixel) = image.get_pixel_mut_checked(x as u32, y as u32) {
                        pixel.0 = colour;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scene::Paint, *};

    #[test]
    fn shapes_cover_what_they_should() {
        let mut scene = Scene { title: String::new(), width: 40.0, height: 30.0, items: Vec::new() };
        let square = vec![(2.0, 2.0), (12.0, 2.0), (12.0, 12.0), (2.0, 12.0)];
        scene.items.push(Item::Area { points: square, paint: Paint::Data([200, 0, 0]), opacity: 1.0 });
        scene.line((20.0, 5.0), (38.0, 5.0), 2.0, Paint::Data([0, 0, 200]));
        scene.dot((30.0, 20.0), 3.5, Paint::Data([0, 150, 0]));
        scene.text((1.0, 29.0), Anchor::Start, Paint::Data([1, 2, 3]), "kNN");
        let image = draw(&scene);
        let count = |rgb: Rgb| image.pixels().filter(|pixel| pixel.0 == rgb).count();
        assert_eq!(image.dimensions(), (80, 60));
        assert_eq!(count([200, 0, 0]), 20 * 20);
        assert!((36 * 4..=38 * 4 + 8).contains(&count([0, 0, 200])), "{}", count([0, 0, 200]));
        let disc = std::f64::consts::PI * 49.0;
        let found = count([0, 150, 0]) as f64;
        assert!(found < disc && found > 0.75 * disc, "{found} of {disc}");
        assert!(count([1, 2, 3]) > 40);
    }
}
