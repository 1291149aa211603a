//! Affine maps of 8-bit images: rotation, shear, translation.

use imaging::Pixels;

/// From a place in the result to its place in the source: `[a, b, c, d, e, f]` is `(a x + b y + c, d x + e y + f)`,
/// in pixels from the upper left corner, centres of pixels at halves.
pub type Inverse = [f64; 6];

/// Turns by `degrees` counter-clockwise about the middle.
#[must_use]
pub fn rotation(degrees: f64, height: usize, width: usize) -> Inverse {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
}

/// The image under an affine map, bicubic as in Pillow; `fill` where the source has nothing.
#[must_use]
pub fn affine(image: &Pixels, map: Inverse, fill: [u8; 4]) -> Pixels {
    let Pixels { height, width, channels, ref data } = *image;
    let [a, b, c, d, e, f] = map;
    let mut out = Vec::with_capacity(data.len());
    for row in 0..height {
        for col in 0..width {
            let (x, y) = (col as f64 + 0.5, row as f64 + 0.5);
            let (x, y) = (a * x + b * y + c, d * x + e * y + f);
            let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
            if !inside {
                out.extend_from_slice(&fill[..channels]);
                continue;
            }
            let ((left, across), (top, down)) = (taps(x), taps(y));
            for channel in 0..channels {
                let mut sum = 0.0;
                for (row, weight) in (top..).zip(down) {
                    let row = row.clamp(0, height as isize - 1) as usize;
                    for (col, other) in (left..).zip(across) {
                        let col = col.clamp(0, width as isize - 1) as usize;
                        sum += weight * other * f64::from(data[(row * width + col) * channels + channel]);
                    }
                }
                // Pillow truncates; what rounding took from a whole number is given back.
                out.push((sum + 1e-6).clamp(0.0, 255.0) as u8);
            }
        }
    }
    Pixels { data: out, ..*image }
}

/// The first of the four pixels around a place, and their weights: Keys' cubic with the slope -1, Pillow's.
fn taps(place: f64) -> (isize, [f64; 4]) {
    let place = place - 0.5;
    let (first, t) = (place.floor(), place - place.floor());
    let (t2, t3) = (t * t, t * t * t);
    let weights = [-t3 + 2.0 * t2 - t, t3 - 2.0 * t2 + 1.0, -t3 + t2 + t, t3 - t2];
    (first as isize - 1, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Pixels {
        let data = (0..6 * 6 * 3).map(|i| (i * 37 % 256) as u8).collect();
        Pixels { height: 6, width: 6, channels: 3, data }
    }

    fn pixel(image: &Pixels, row: usize, col: usize) -> &[u8] {
        &image.data[(row * image.width + col) * 3..][..3]
    }

    #[test]
    fn the_identity_and_whole_turns_change_nothing() {
        let image = image();
        assert_eq!(affine(&image, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [9; 4]), image);
        assert_eq!(affine(&image, rotation(0.0, 6, 6), [9; 4]), image);
        let quarter = affine(&image, rotation(90.0, 6, 6), [9; 4]);
        // Counter-clockwise: the upper right corner comes to the upper left.
        assert_eq!(pixel(&quarter, 0, 0), pixel(&image, 0, 5));
        assert_eq!(pixel(&quarter, 5, 0), pixel(&image, 0, 0));
        let whole = (0..3).fold(quarter, |image, _| affine(&image, rotation(90.0, 6, 6), [9; 4]));
        assert_eq!(whole, image);
    }

    #[test]
    fn what_comes_from_outside_is_filled() {
        let image = image();
        let shifted = affine(&image, [1.0, 0.0, 2.0, 0.0, 1.0, 0.0], [1, 2, 3, 4]);
        for row in 0..6 {
            assert_eq!(pixel(&shifted, row, 0), pixel(&image, row, 2));
            assert_eq!(pixel(&shifted, row, 4), [1, 2, 3]);
        }
        let flat = Pixels { data: vec![77; 108], ..image };
        let turned = affine(&flat, rotation(30.0, 6, 6), [77; 4]);
        assert!(turned.data.iter().all(|v| *v == 77), "weights sum to 1");
    }
}
