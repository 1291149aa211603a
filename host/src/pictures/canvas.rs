//! Tiles in columns with captions, as one PNG.

use super::font;
use anyhow::Context as _;

/// One small RGB image.
#[derive(Debug, Clone)]
pub struct Tile {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[H, W, 3]`.
    pub rgb: Vec<u8>,
}

/// Tiles below a caption.
#[derive(Debug, Clone)]
pub struct Column {
    caption: String,
    tiles: Vec<Tile>,
    group: bool,
}

impl Column {
    /// A column of tiles of equal size.
    #[must_use]
    pub fn new(caption: &str, tiles: Vec<Tile>) -> Self {
        Self { caption: caption.into(), tiles, group: false }
    }

    /// A wider gap before this column.
    #[must_use]
    pub fn starts_group(mut self) -> Self {
        self.group = true;
        self
    }
}

/// A white RGB picture.
#[derive(Debug, Clone)]
pub struct Canvas {
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

/// Smallest side of a tile in the picture.
const TILE: usize = 170;
const GAP: usize = 4;
const GROUP_GAP: usize = 16;
const MARGIN: usize = 12;
const CAPTION: usize = 30;

impl Canvas {
    /// Lays columns out side by side; small tiles are enlarged by a whole factor so that pixels stay visible.
    #[must_use]
    pub fn compose(columns: &[Column]) -> Self {
        let first = columns.iter().find_map(|column| column.tiles.first());
        let (height, width) = first.map_or((1, 1), |tile| (tile.height, tile.width));
        let scale = TILE.div_ceil(height.min(width).max(1));
        let rows = columns.iter().map(|column| column.tiles.len()).max().unwrap_or(0);
        let groups = columns.iter().filter(|column| column.group).count();
        let total = columns.len() * (width * scale + GAP) + groups * (GROUP_GAP - GAP) + 2 * MARGIN - GAP;
        let mut canvas = Self::white(rows * (height * scale + GAP) - GAP + CAPTION + 2 * MARGIN, total);
        let mut left = MARGIN;
        for (place, column) in columns.iter().enumerate() {
            if place > 0 && column.group {
                left += GROUP_GAP - GAP;
            }
            let dots = if font::width(&column.caption, 2) > width * scale { 1 } else { 2 };
            let text = font::width(&column.caption, dots);
            canvas.text(left + (width * scale).saturating_sub(text) / 2, MARGIN, &column.caption, dots);
            for (row, tile) in column.tiles.iter().enumerate() {
                canvas.tile(left, MARGIN + CAPTION + row * (height * scale + GAP), tile, scale);
            }
            left += width * scale + GAP;
        }
        canvas
    }

    /// The picture as PNG bytes.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn to_png(&self) -> anyhow::Result<Vec<u8>> {
        let image = image::RgbImage::from_raw(self.width as u32, self.height as u32, self.rgb.clone())
            .context("the picture has no area")?;
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).context("encoding the picture")?;
        Ok(bytes.into_inner())
    }

    pub(super) fn white(height: usize, width: usize) -> Self {
        Self { height, width, rgb: vec![255; height * width * 3] }
    }

    fn put(&mut self, x: usize, y: usize, rgb: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.rgb[at..at + 3].copy_from_slice(&rgb);
        }
    }

    fn tile(&mut self, left: usize, top: usize, tile: &Tile, scale: usize) {
        for y in 0..tile.height * scale {
            for x in 0..tile.width * scale {
                let at = (y / scale * tile.width + x / scale) * 3;
                self.put(left + x, top + y, [tile.rgb[at], tile.rgb[at + 1], tile.rgb[at + 2]]);
            }
        }
    }

    pub(super) fn rectangle(&mut self, (left, top): (usize, usize), (width, height): (usize, usize), rgb: [u8; 3]) {
        (0..width * height).for_each(|i| self.put(left + i % width, top + i / width, rgb));
    }

    pub(super) fn text(&mut self, left: usize, top: usize, text: &str, scale: usize) {
        self.text_in(left, top, text, scale, INK);
    }

    pub(super) fn text_in(&mut self, left: usize, top: usize, text: &str, scale: usize, rgb: [u8; 3]) {
        for_dots(text, scale, |x, y| self.put(left + x, top + y, rgb));
    }

    /// Text that runs upwards from `bottom`, its letters' tops to the left.
    pub(super) fn text_upwards(&mut self, left: usize, bottom: usize, text: &str, scale: usize) {
        for_dots(text, scale, |x, y| self.put(left + y, bottom.saturating_sub(1 + x), INK));
    }
}

/// Colour of text.
pub(super) const INK: [u8; 3] = [40, 40, 40];

/// Calls `dot` for every dark pixel of a text whose upper left corner is at 0, 0.
fn for_dots(text: &str, scale: usize, mut dot: impl FnMut(usize, usize)) {
    for (place, letter) in text.chars().enumerate() {
        for (y, bits) in font::glyph(letter).iter().enumerate() {
            for x in (0..5).filter(|x| bits >> (4 - x) & 1 == 1) {
                for i in 0..scale * scale {
                    dot((place * font::ADVANCE + x) * scale + i % scale, y * scale + i / scale);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_their_colours_and_captions_are_drawn() {
        let tile = Tile { height: 2, width: 2, rgb: [[200, 10, 10]; 4].concat() };
        let canvas = Canvas::compose(&[Column::new("a", vec![tile.clone()]), Column::new("b", vec![tile])]);
        let count = |rgb: [u8; 3]| canvas.rgb.chunks_exact(3).filter(|pixel| *pixel == rgb).count();
        assert_eq!(count([200, 10, 10]), 2 * TILE * TILE, "170 is a multiple of 2");
        assert!(count([40, 40, 40]) > 20);
        assert!(canvas.to_png().expect("png").starts_with(b"\x89PNG"));
    }
}
