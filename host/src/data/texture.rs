//! Procedural textures: two colours and a pattern between them.

use common::mask::uniform;
use rand_chacha::ChaCha8Rng;

/// Red, green, blue in 0..1.
pub type Color = [f32; 3];

/// Patterns, one a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Parallel stripes.
    Stripes,
    /// Chessboard.
    Checks,
    /// Round dots on a lattice.
    Dots,
    /// Concentric rings.
    Rings,
    /// Soft noise.
    Clouds,
    /// Rows of bricks.
    Bricks,
    /// Zigzag lines.
    Zigzag,
    /// A net of thin lines.
    Net,
    /// Rays from the middle.
    Rays,
    /// A smooth gradient.
    Gradient,
}

/// All patterns, in the order of their class numbers, with the names of the classes.
pub const PATTERNS: [(Pattern, &str); 10] = [
    (Pattern::Stripes, "stripes"),
    (Pattern::Checks, "checks"),
    (Pattern::Dots, "dots"),
    (Pattern::Rings, "rings"),
    (Pattern::Clouds, "clouds"),
    (Pattern::Bricks, "bricks"),
    (Pattern::Zigzag, "zigzag"),
    (Pattern::Net, "net"),
    (Pattern::Rays, "rays"),
    (Pattern::Gradient, "gradient"),
];

/// A pattern with its colours, scale and phase.
#[derive(Debug, Clone, Copy)]
pub struct Texture {
    pattern: Pattern,
    colors: [Color; 2],
    frequency: f32,
    phase: [f32; 2],
    seed: u32,
}

impl Texture {
    /// A texture of `pattern` with random colours that differ visibly.
    pub fn draw(pattern: Pattern, rng: &mut ChaCha8Rng) -> Self {
        let first = color(rng);
        let mut second = color(rng);
        let distance = |a: Color, b: Color| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>();
        for _ in 0..8 {
            if distance(first, second) > 0.7 {
                break;
            }
            second = color(rng);
        }
        Self {
            pattern,
            colors: [first, second],
            frequency: 2.0 + 2.5 * uniform(rng),
            phase: [uniform(rng), uniform(rng)],
            seed: (uniform(rng) * 1e6) as u32,
        }
    }

    /// Its colour at a point of the leaf's own coordinates, in which the leaf spans -1..1.
    #[must_use]
    pub fn at(&self, x: f32, y: f32) -> Color {
        let (u, v) = (x * self.frequency + self.phase[0], y * self.frequency + self.phase[1]);
        let wave = |t: f32| (t - t.floor() - 0.5).abs() * 2.0;
        let hard = |on: bool| if on { 1.0 } else { 0.0 };
        let mix = match self.pattern {
            Pattern::Stripes => hard(wave(u) > 0.5),
            Pattern::Checks => hard((u.floor() + v.floor()).rem_euclid(2.0) < 1.0),
            Pattern::Dots => hard((u - u.floor() - 0.5).hypot(v - v.floor() - 0.5) < 0.32),
            Pattern::Rings => hard(wave(x.hypot(y) * self.frequency) > 0.5),
            Pattern::Clouds => self.clouds(u * 1.5, v * 1.5),
            Pattern::Bricks => {
                let u = u * 0.6 + 0.5 * v.floor().rem_euclid(2.0);
                hard(u - u.floor() > 0.16 && v - v.floor() > 0.24)
            }
            Pattern::Zigzag => hard(wave(v + 0.6 * wave(u)) > 0.5),
            Pattern::Net => hard(wave(u) > 0.8 || wave(v) > 0.8),
            Pattern::Rays => hard(wave(y.atan2(x) * (1.0 + self.frequency.floor()) / std::f32::consts::PI) > 0.5),
            Pattern::Gradient => (0.5 + 0.5 * x).clamp(0.0, 1.0),
        };
        std::array::from_fn(|c| self.colors[0][c] * mix + self.colors[1][c] * (1.0 - mix))
    }

    /// Two octaves of value noise in 0..1.
    fn clouds(&self, x: f32, y: f32) -> f32 {
        (self.noise(x, y) * 0.65 + self.noise(x * 2.3 + 7.0, y * 2.3) * 0.35).clamp(0.0, 1.0)
    }

    fn noise(&self, x: f32, y: f32) -> f32 {
        let (col, row) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (s, t) = (smooth(x - col), smooth(y - row));
        let at = |dx: i32, dy: i32| self.hash(col as i32 + dx, row as i32 + dy);
        let (top, bottom) = (at(0, 0) * (1.0 - s) + at(1, 0) * s, at(0, 1) * (1.0 - s) + at(1, 1) * s);
        top * (1.0 - t) + bottom * t
    }

    fn hash(&self, col: i32, row: i32) -> f32 {
        let mut h = self.seed ^ (col as u32).wrapping_mul(0x9e37_79b1) ^ (row as u32).wrapping_mul(0x85eb_ca77);
        h = (h ^ h >> 15).wrapping_mul(0x2c1b_3c6d);
        h = (h ^ h >> 12).wrapping_mul(0x297a_2d39);
        ((h ^ h >> 15) >> 8) as f32 / (1 << 24) as f32
    }
}

/// A random colour, from dull to vivid.
pub fn color(rng: &mut ChaCha8Rng) -> Color {
    let (hue, saturation, value) = (uniform(rng) * 6.0, 0.2 + 0.8 * uniform(rng), 0.15 + 0.85 * uniform(rng));
    std::array::from_fn(|c| {
        let k = (hue + [5.0, 3.0, 1.0][c]) % 6.0;
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}
