//! The embedded data: dead leaves with textures, so that a fresh machine needs no download.
//!
//! An image is a heap of shapes that hide each other, sizes after a power law (the dead-leaves model; Baradad et
//! al. 2021, "Learning to See by Looking at Noise", show that such images teach useful features). In front lies
//! one large leaf whose pattern is the image's class. Image `i` is a function of `(seed, i)` alone.

use super::texture::{Color, PATTERNS, Pattern, Texture, color};
use crate::stream::Stream;
use common::mask::{generator, uniform};
use imaging::Pixels;
use rand_chacha::ChaCha8Rng;

/// Points a pixel's side, for smooth edges.
const SAMPLES: usize = 2;
/// Leaves behind the large one.
const LEAVES: usize = 14;

#[derive(Debug, Clone, Copy)]
enum Shape {
    Ellipse,
    Rectangle,
    Triangle,
    Blob,
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    shape: Shape,
    center: [f32; 2],
    /// Row vectors of the map from the image to the leaf's own coordinates, in which it spans -1..1.
    axes: [[f32; 2]; 2],
    lobes: f32,
    texture: Texture,
}

impl Leaf {
    fn draw(radius: f32, center: [f32; 2], pattern: Pattern, rng: &mut ChaCha8Rng) -> Self {
        let shapes = [Shape::Ellipse, Shape::Rectangle, Shape::Triangle, Shape::Blob];
        let shape = shapes[(uniform(rng) * 4.0) as usize % 4];
        let (sin, cos) = (uniform(rng) * std::f32::consts::TAU).sin_cos();
        let aspect = 0.7 + 0.6 * uniform(rng);
        let axes = [[cos / radius * aspect, sin / radius * aspect], [-sin / radius / aspect, cos / radius / aspect]];
        Self { shape, center, axes, lobes: (3.0 + 4.0 * uniform(rng)).floor(), texture: Texture::draw(pattern, rng) }
    }

    /// Its colour at a point of the image, if it covers the point.
    fn at(&self, x: f32, y: f32) -> Option<Color> {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        let (u, v) = (self.axes[0][0] * dx + self.axes[0][1] * dy, self.axes[1][0] * dx + self.axes[1][1] * dy);
        let inside = match self.shape {
            Shape::Ellipse => u * u + v * v < 1.0,
            Shape::Rectangle => u.abs() < 0.85 && v.abs() < 0.85,
            Shape::Triangle => v > -0.8 && v < 1.1 - 1.9 * u.abs(),
            Shape::Blob => {
                let reach = 0.85 + 0.2 * (self.lobes * v.atan2(u)).sin();
                u * u + v * v < reach * reach
            }
        };
        inside.then(|| self.texture.at(u, v))
    }
}

/// Image `index` of the generator: RGB, `size x size`; its class is `index % 10`.
#[must_use]
pub fn image(seed: u64, index: usize, height: usize, width: usize) -> Pixels {
    let rng = &mut generator(Stream::Synthetic.seed(seed), index as u64);
    let (pattern, _) = PATTERNS[index % PATTERNS.len()];
    let between = |low: f32, high: f32, rng: &mut ChaCha8Rng| low + (high - low) * uniform(rng);
    let front = {
        let center = [between(0.35, 0.65, rng), between(0.35, 0.65, rng)];
        Leaf::draw(between(0.3, 0.46, rng), center, pattern, rng)
    };
    let mut leaves = vec![front];
    for _ in 0..LEAVES {
        // Sizes r^-3 between 0.07 and 0.5, by inversion of the distribution.
        let (near, far) = (0.07_f32.powi(-2), 0.5_f32.powi(-2));
        let radius = (near + (far - near) * uniform(rng)).powf(-0.5);
        let center = [uniform(rng), uniform(rng)];
        // Small leaves are mostly plain, so that the pattern in front stands out.
        let plain = uniform(rng) < 0.7;
        let other = PATTERNS[(uniform(rng) * 10.0) as usize % 10].0;
        leaves.push(Leaf::draw(radius, center, if plain { Pattern::Gradient } else { other }, rng));
    }
    let ground = [color(rng), color(rng)];
    let light = { [between(-0.35, 0.35, rng), between(-0.35, 0.35, rng)] };
    let steps = (height.max(width) * SAMPLES) as f32;
    let mut data = Vec::with_capacity(height * width * 3);
    for pixel in 0..height * width {
        let (row, col) = (pixel / width, pixel % width);
        let mut sum = [0.0; 3];
        for sample in 0..SAMPLES * SAMPLES {
            let x = ((col * SAMPLES + sample % SAMPLES) as f32 + 0.5) / steps;
            let y = ((row * SAMPLES + sample / SAMPLES) as f32 + 0.5) / steps;
            let behind = || std::array::from_fn(|c| ground[0][c] * (1.0 - y) + ground[1][c] * y);
            let point = leaves.iter().find_map(|leaf| leaf.at(x, y)).unwrap_or_else(behind);
            let bright = 1.0 + light[0] * (x - 0.5) + light[1] * (y - 0.5);
            sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += value * bright);
        }
        let scale = 255.0 / (SAMPLES * SAMPLES) as f32;
        data.extend(sum.map(|value| (value * scale).round().clamp(0.0, 255.0) as u8));
    }
    Pixels { height, width, channels: 3, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_depend_on_seed_and_index_alone() {
        assert_eq!(image(1, 5, 32, 32), image(1, 5, 32, 32));
        assert_ne!(image(1, 5, 32, 32), image(1, 15, 32, 32));
        assert_ne!(image(1, 5, 32, 32), image(2, 5, 32, 32));
    }

    #[test]
    fn every_class_has_contrast() {
        for index in 0..40 {
            let Pixels { data, .. } = image(3, index, 32, 48);
            assert_eq!(data.len(), 32 * 48 * 3);
            let mean = data.iter().map(|v| f64::from(*v)).sum::<f64>() / data.len() as f64;
            let variance = data.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / data.len() as f64;
            assert!(variance > 200.0, "image {index} is nearly flat");
        }
    }
}
