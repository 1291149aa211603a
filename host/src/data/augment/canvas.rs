//! A view as planes of f32 and the changes of colour on them. Values stay in 0..=255 and are rounded once, at the
//! end; loops run over whole planes, so that the compiler makes vectors of them. Alpha is left alone.

/// Luma of red, green and blue by ITU-R 601, which Pillow's grey is, too.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// The dividing line of solarisation, as whole values 127 and 128 see it.
const MIDDLE: f32 = 127.5;
/// The kernel of a blur reaches this many deviations.
const REACH: f32 = 3.0;
/// Sums are taken in so many lanes.
const LANES: usize = 8;

/// One view; its memory serves the next one, too.
#[derive(Debug, Default)]
pub struct Canvas {
    height: usize,
    width: usize,
    /// The values of one colour after those of the other, `[1 or 3, H, W]`.
    planes: Vec<f32>,
    blurred: Vec<f32>,
    row: Vec<f32>,
}

impl Canvas {
    /// Takes in a view, `[H, W, C]`: of one or two channels the first, else the first three.
    pub fn load(&mut self, view: &[u8], (height, width): (usize, usize), channels: usize) {
        (self.height, self.width) = (height, width);
        self.planes.resize(colours(channels) * height * width, 0.0);
        for (colour, plane) in self.planes.chunks_exact_mut(height * width).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(view.chunks_exact(channels)) {
                *value = f32::from(pixel[colour]);
            }
        }
    }

    /// Writes the view back.
    pub fn store(&self, view: &mut [u8], channels: usize) {
        for (colour, plane) in self.planes.chunks_exact(self.height * self.width).enumerate() {
            for (value, pixel) in plane.iter().zip(view.chunks_exact_mut(channels)) {
                pixel[colour] = (value + 0.5) as u8;
            }
        }
    }

    /// The planes of red, green and blue; `None` of a view without colour.
    fn rgb(&mut self) -> Option<[&mut [f32]; 3]> {
        let pixels = self.height * self.width;
        if self.planes.len() != 3 * pixels {
            return None;
        }
        let (red, others) = self.planes.split_at_mut(pixels);
        let (green, blue) = others.split_at_mut(pixels);
        Some([red, green, blue])
    }

    /// Values times `factor`.
    pub fn brightness(&mut self, factor: f32) {
        self.planes.iter_mut().for_each(|value| *value = (*value * factor).min(255.0));
    }

    /// Distances from the mean luma times `factor`.
    pub fn contrast(&mut self, factor: f32) {
        let pixels = (self.height * self.width) as f32;
        let mean = match self.rgb() {
            Some(rgb) => rgb.iter().zip(LUMA).map(|(plane, weight)| weight * sum(plane)).sum::<f32>() / pixels,
            None => sum(&self.planes) / pixels,
        };
        let offset = mean * (1.0 - factor);
        self.planes.iter_mut().for_each(|value| *value = (*value * factor + offset).clamp(0.0, 255.0));
    }

    /// Distances from each pixel's luma times `factor`.
    pub fn saturation(&mut self, factor: f32) {
        let Some([red, green, blue]) = self.rgb() else { return };
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            let offset = luma(*red, *green, *blue) * (1.0 - factor);
            for value in [red, green, blue] {
                *value = (*value * factor + offset).clamp(0.0, 255.0);
            }
        }
    }

    /// Turns hues by `share` of the circle, at most half of it either way; value and saturation stay.
    pub fn hue(&mut self, share: f32) {
        let Some([red, green, blue]) = self.rgb() else { return };
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            let (r, g, b) = (*red, *green, *blue);
            let (high, low) = (r.max(g).max(b), r.min(g).min(b));
            // The hue in sixths of the circle, times the chroma: so a grey pixel needs no case of its own.
            let chroma = high - low;
            let circle = 6.0 * chroma;
            let among = if high == g { b - r + 2.0 * chroma } else { r - g + 4.0 * chroma };
            let place = if high == r { g - b } else { among };
            let place = place + share * circle;
            let place = if place < 0.0 { place + circle } else { place };
            for (value, offset) in [(red, 5.0), (green, 3.0), (blue, 1.0)] {
                let at = place + offset * chroma;
                let at = if at >= circle { at - circle } else { at };
                let at = if at >= circle { at - circle } else { at };
                *value = high - at.min(4.0 * chroma - at).max(0.0).min(chroma);
            }
        }
    }

    /// Every pixel becomes its luma.
    pub fn grey(&mut self) {
        let Some([red, green, blue]) = self.rgb() else { return };
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            let grey = luma(*red, *green, *blue).min(255.0);
            (*red, *green, *blue) = (grey, grey, grey);
        }
    }

    /// Inverts values from 128 on.
    pub fn solarise(&mut self) {
        let inverted = |value: f32| if value < MIDDLE { value } else { 255.0 - value };
        self.planes.iter_mut().for_each(|value| *value = inverted(*value));
    }

    /// A Gaussian of `sigma` pixels. Beyond the rim the image is mirrored, so that its mean stays.
    pub fn blur(&mut self, sigma: f32) {
        let (height, width) = (self.height, self.width);
        let kernel = kernel(sigma);
        let reach = kernel.len() - 1;
        self.blurred.resize(self.planes.len(), 0.0);
        self.row.resize(width + 2 * reach, 0.0);
        for (from, to) in self.planes.chunks_exact(width).zip(self.blurred.chunks_exact_mut(width)) {
            self.row[reach..reach + width].copy_from_slice(from);
            for place in 1..=reach {
                self.row[reach - place] = from[mirrored(-(place as isize), width)];
                self.row[reach + width - 1 + place] = from[mirrored((width - 1 + place) as isize, width)];
            }
            to.iter_mut().zip(from).for_each(|(to, from)| *to = kernel[0] * from);
            for (place, weight) in kernel.iter().enumerate().skip(1) {
                add(to, *weight, &self.row[reach - place..], &self.row[reach + place..]);
            }
        }
        let planes = self.planes.chunks_exact_mut(height * width).zip(self.blurred.chunks_exact(height * width));
        for (to, from) in planes {
            let row = |row: isize| &from[mirrored(row, height) * width..][..width];
            for (at, to) in to.chunks_exact_mut(width).enumerate() {
                let at = at as isize;
                to.iter_mut().zip(row(at)).for_each(|(to, from)| *to = kernel[0] * from);
                for (place, weight) in (0..).zip(&kernel).skip(1) {
                    add(to, *weight, row(at - place), row(at + place));
                }
                // Weights sum to 1 but for their rounding.
                to.iter_mut().for_each(|value| *value = value.min(255.0));
            }
        }
    }
}

/// How many of the channels are colours: grey, or red, green and blue.
fn colours(channels: usize) -> usize {
    if channels < 3 { 1 } else { 3 }
}

fn luma(red: f32, green: f32, blue: f32) -> f32 {
    LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
}

fn sum(values: &[f32]) -> f32 {
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum::<f32>() + rest
}

/// `to += weight * (left + right)`.
fn add(to: &mut [f32], weight: f32, left: &[f32], right: &[f32]) {
    for ((to, left), right) in to.iter_mut().zip(left).zip(right) {
        *to += weight * (left + right);
    }
}

/// The middle and one half of a Gaussian's weights, which sum to 1 with the other half.
fn kernel(sigma: f32) -> Vec<f32> {
    let reach = (REACH * sigma).ceil().max(1.0) as usize;
    let mut kernel: Vec<f32> = (0..=reach).map(|place| (-0.5 * (place as f32 / sigma).powi(2)).exp()).collect();
    let total = 2.0 * kernel.iter().sum::<f32>() - 1.0;
    kernel.iter_mut().for_each(|weight| *weight /= total);
    kernel
}

/// The place within `0..length` that is seen at `place` between two mirrors at the rims.
fn mirrored(place: isize, length: usize) -> usize {
    let place = place.rem_euclid(2 * length as isize) as usize;
    place.min(2 * length - 1 - place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view after some steps.
    fn after(view: &[u8], shape: (usize, usize), channels: usize, steps: impl FnOnce(&mut Canvas)) -> Vec<u8> {
        let (mut canvas, mut out) = (Canvas::default(), view.to_vec());
        canvas.load(view, shape, channels);
        steps(&mut canvas);
        canvas.store(&mut out, channels);
        out
    }

    fn scattered(values: usize) -> Vec<u8> {
        (0..values).map(|i| (i * 37 % 256) as u8).collect()
    }

    #[test]
    fn steps_without_strength_change_nothing() {
        for channels in 1..=4 {
            let view = scattered(9 * 7 * channels);
            let found = after(&view, (9, 7), channels, |canvas| {
                canvas.brightness(1.0);
                canvas.contrast(1.0);
                canvas.saturation(1.0);
                canvas.hue(0.0);
                canvas.hue(0.5);
                canvas.hue(-0.5);
                canvas.blur(0.05);
            });
            assert_eq!(found, view, "{channels}");
        }
    }

    #[test]
    fn values_are_those_of_the_definitions() {
        let grey = |view: &[u8], steps: fn(&mut Canvas)| after(view, (1, view.len()), 1, steps);
        assert_eq!(grey(&[10, 100, 200], |c| c.brightness(1.5)), [15, 150, 255]);
        assert_eq!(grey(&[0, 200], |c| c.contrast(0.5)), [50, 150]);
        assert_eq!(grey(&[0, 200], |c| c.contrast(3.0)), [0, 255]);
        assert_eq!(grey(&[0, 127, 128, 255], Canvas::solarise), [0, 127, 127, 0]);
        let rgb = |view: &[u8], steps: fn(&mut Canvas)| after(view, (1, view.len() / 3), 3, steps);
        // Luma: 0.299 * 200 + 0.587 * 100 + 0.114 * 50.
        assert_eq!(rgb(&[200, 100, 50], Canvas::grey), [124; 3]);
        assert_eq!(rgb(&[200, 100, 50], |c| c.saturation(0.5)), [162, 112, 87]);
        let hues = [200, 0, 0, 90, 90, 90, 10, 210, 10, 30, 30, 7];
        assert_eq!(rgb(&hues, |c| c.hue(1.0 / 3.0)), [0, 200, 0, 90, 90, 90, 10, 10, 210, 7, 30, 30]);
        assert_eq!(rgb(&hues, |c| c.hue(-1.0 / 3.0)), [0, 0, 200, 90, 90, 90, 210, 10, 10, 30, 7, 30]);
    }

    #[test]
    fn turned_hues_keep_value_and_saturation_and_turn_back() {
        let view = scattered(300 * 3);
        for share in [-0.5, -0.25, -0.1, 0.03, 0.1, 0.25, 0.5] {
            let turned = after(&view, (20, 15), 3, |canvas| canvas.hue(share));
            for (before, after) in view.chunks_exact(3).zip(turned.chunks_exact(3)) {
                assert_eq!((before.iter().max(), before.iter().min()), (after.iter().max(), after.iter().min()));
            }
            let back = after(&view, (20, 15), 3, |canvas| {
                canvas.hue(share);
                canvas.hue(-share);
            });
            assert_eq!(back, view, "{share}");
        }
    }

    #[test]
    fn views_without_colour_and_alpha_keep_what_they_have() {
        let steps = |canvas: &mut Canvas| {
            canvas.saturation(0.2);
            canvas.hue(0.2);
            canvas.grey();
        };
        for channels in [1, 2] {
            let view = scattered(6 * 6 * channels);
            assert_eq!(after(&view, (6, 6), channels, steps), view);
        }
        for channels in [2, 4] {
            let view = scattered(6 * 6 * channels);
            let found = after(&view, (6, 6), channels, |canvas| {
                canvas.brightness(0.5);
                canvas.solarise();
                canvas.blur(1.0);
            });
            let alpha = |view: &[u8]| view.iter().skip(channels - 1).step_by(channels).copied().collect::<Vec<_>>();
            assert_eq!(alpha(&found), alpha(&view));
            assert_ne!(found, view);
        }
    }

    #[test]
    fn a_blur_keeps_the_mean_and_what_is_constant_and_spreads_a_dot() {
        for (shape, sigma) in [((9, 14), 0.7), ((32, 32), 2.0), ((3, 2), 2.0), ((1, 1), 1.0), ((1, 40), 1.5)] {
            let values = shape.0 * shape.1;
            assert_eq!(after(&vec![77; values], shape, 1, |canvas| canvas.blur(sigma)), vec![77; values]);
            assert_eq!(after(&vec![255; values * 3], shape, 3, |canvas| canvas.blur(sigma)), vec![255; values * 3]);
            let mut canvas = Canvas::default();
            canvas.load(&scattered(values), shape, 1);
            let mean = sum(&canvas.planes) / values as f32;
            let before = canvas.planes.clone();
            canvas.blur(sigma);
            assert!((sum(&canvas.planes) / values as f32 - mean).abs() < 1e-3, "{shape:?}");
            assert!(values == 1 || canvas.planes != before);
        }
        // The weights of a standard Gaussian at 0, 1 and 2: 0.39905, 0.24204 and 0.05401 within three deviations.
        let mut dot = vec![0; 81];
        dot[40] = 250;
        let blurred = after(&dot, (9, 9), 1, |canvas| canvas.blur(1.0));
        let expected = [(4, 4, 0.39905 * 0.39905), (4, 5, 0.39905 * 0.24204), (5, 3, 0.24204 * 0.24204)];
        for (row, column, share) in expected {
            assert_eq!(f64::from(blurred[row * 9 + column]), (250.0_f64 * share).round());
        }
    }
}
