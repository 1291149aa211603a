//! Random erasing (Zhong et al. 2017) in the reference's pixel mode: one rectangle becomes normal noise.

use super::random::{below, between, chance, normal};
use rand_chacha::ChaCha8Rng;

/// Area of the rectangle relative to the image's.
const AREA: (f64, f64) = (0.02, 1.0 / 3.0);
/// Its height relative to its width, and the inverse of that.
const ASPECT: f64 = 0.3;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Rect {
    /// Pixel numbers, row by row, in an image of this width.
    pub fn pixels(self, width: usize) -> impl Iterator<Item = usize> {
        let columns = self.left..self.left + self.width;
        (self.top..self.top + self.height).flat_map(move |row| columns.clone().map(move |col| row * width + col))
    }
}

/// A rectangle to erase; `None` if ten tries do not fit.
pub fn rectangle(height: usize, width: usize, rng: &mut ChaCha8Rng) -> Option<Rect> {
    for _ in 0..10 {
        let area = between(AREA.0, AREA.1, rng) * (height * width) as f64;
        let aspect = between(ASPECT.ln(), -ASPECT.ln(), rng).exp();
        let (rows, columns) = ((area * aspect).sqrt().round() as usize, (area / aspect).sqrt().round() as usize);
        if rows < height && columns < width && rows * columns > 0 {
            let (top, left) = (below(height - rows + 1, rng), below(width - columns + 1, rng));
            return Some(Rect { top, left, height: rows, width: columns });
        }
    }
    None
}

/// Erases a rectangle of a normalised image, `[H, W, C]`, with this probability.
pub fn erase(image: &mut [f32], (height, width): (usize, usize), probability: f64, rng: &mut ChaCha8Rng) {
    if !chance(probability, rng) {
        return;
    }
    let channels = image.len() / (height * width);
    if let Some(rect) = rectangle(height, width, rng) {
        for pixel in rect.pixels(width) {
            let values = &mut image[pixel * channels..(pixel + 1) * channels];
            values.iter_mut().for_each(|value| *value = normal(rng) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::generator;

    #[test]
    fn rectangles_lie_inside_and_have_the_area_and_aspect() {
        for index in 0..1000 {
            let Rect { top, left, height, width } = rectangle(40, 60, &mut generator(1, index)).expect("fits");
            assert!(top + height <= 40 && left + width <= 60);
            let area = (height * width) as f64 / 2400.0;
            assert!((0.017..0.36).contains(&area), "{area}");
            let aspect = height as f64 / width as f64;
            assert!((0.25..4.0).contains(&aspect), "{aspect}");
        }
        assert_eq!(rectangle(1, 1, &mut generator(1, 1)), None, "nothing fits into one pixel");
    }

    #[test]
    fn a_share_of_the_images_is_erased_in_one_rectangle() {
        let mut erased = 0;
        for index in 0..400 {
            let mut image = vec![9.0; 16 * 16 * 3];
            erase(&mut image, (16, 16), 0.25, &mut generator(2, index));
            let changed = image.chunks_exact(3).filter(|pixel| **pixel != [9.0; 3]).count();
            erased += usize::from(changed > 0);
            assert!(changed < 256 * 2 / 5, "{changed}");
        }
        assert!((70..130).contains(&erased), "{erased}");
        let mut image = vec![9.0; 48];
        erase(&mut image, (4, 4), 0.0, &mut generator(2, 0));
        assert_eq!(image, [9.0; 48]);
    }
}
