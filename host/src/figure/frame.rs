//! A rectangle that data is drawn in, with numbers along its left side and below it.

use super::{
    axis::Axis,
    scene::{Anchor, Paint, Scene, room},
};

/// From the lower side to the base line of the numbers below it.
const NUMBERS: f64 = 18.0;
/// From the lower side to the base line of the label below the numbers.
const LABEL: f64 = 36.0;

/// The rectangle and what its sides stand for.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Left side.
    pub left: f64,
    /// Right side.
    pub right: f64,
    /// Upper side.
    pub upper: f64,
    /// Lower side.
    pub lower: f64,
    /// From the left side to the first value, and from the last to the right side.
    pub inset: f64,
    /// The first and the last value from left to right.
    pub x: (f64, f64),
    /// Values from the lower to the upper side.
    pub y: Axis,
}

impl Frame {
    /// Place of a value from left to right; in the middle if there is only one.
    #[must_use]
    pub fn at_x(&self, value: f64) -> f64 {
        let (low, high) = self.x;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        self.left + self.inset + share * (self.right - self.left - 2.0 * self.inset)
    }

    /// Height of a value.
    #[must_use]
    pub fn at_y(&self, value: f64) -> f64 {
        self.lower - (value - self.y.low) / (self.y.high - self.y.low) * (self.lower - self.upper)
    }

    /// Grid lines with their numbers, in units of `scale`.
    pub fn grid(&self, scene: &mut Scene, scale: f64) {
        for tick in self.y.ticks() {
            let at = self.at_y(tick);
            scene.line((self.left, at), (self.right, at), 1.0, Paint::Grid);
            scene.text((self.left - 6.0, at + 4.0), Anchor::End, Paint::Soft, self.y.text(tick, scale));
        }
    }

    /// The lower side.
    pub fn base(&self, scene: &mut Scene) {
        scene.line((self.left, self.lower), (self.right, self.lower), 1.0, Paint::Ink);
    }

    /// Marks below the lower side.
    pub fn marks(&self, scene: &mut Scene, values: impl Iterator<Item = f64>) {
        for at in values.map(|value| self.at_x(value)) {
            scene.line((at, self.lower), (at, self.lower + 4.0), 1.0, Paint::Ink);
        }
    }

    /// Numbers below the marks, and a label below them.
    pub fn below(&self, scene: &mut Scene, places: &[(f64, String)], label: &str) {
        for (value, text) in places {
            // The last number must not leave the picture.
            let at = self.at_x(*value).min(scene.width - room(text) / 2.0 - 1.0);
            scene.text((at, self.lower + NUMBERS), Anchor::Middle, Paint::Soft, text.as_str());
        }
        let middle = f64::midpoint(self.left, self.right);
        scene.text((middle, self.lower + LABEL), Anchor::Middle, Paint::Ink, label);
    }
}
