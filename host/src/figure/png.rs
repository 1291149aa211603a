//! A scene as PNG: its SVG, rendered at two pixels a unit with the font that its text names first.

use super::{scene::Scene, svg};
use anyhow::Context as _;
use resvg::{tiny_skia, usvg};

/// Pixels a unit.
const SCALE: f32 = 2.0;
/// [`svg::FONT`], the letters that figures need; see the licence beside it.
const FONT: &[u8] = include_bytes!("font/Arimo-subset.ttf");

/// The file's bytes.
///
/// # Errors
/// If the picture has no area, or is too large.
pub fn encode(scene: &Scene) -> anyhow::Result<Vec<u8>> {
    draw(scene)?.encode_png().context("encoding the picture")
}

fn draw(scene: &Scene) -> anyhow::Result<tiny_skia::Pixmap> {
    let mut options = usvg::Options { font_family: svg::FONT.into(), ..usvg::Options::default() };
    options.fontdb_mut().load_font_data(FONT.to_vec());
    let tree = usvg::Tree::from_str(&svg::text(scene), &options).context("reading the picture")?;
    let length = |units: f32| (units * SCALE).ceil() as u32;
    let size = (length(tree.size().width()), length(tree.size().height()));
    let mut pixels = tiny_skia::Pixmap::new(size.0, size.1).context("the picture is too large")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels)
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
