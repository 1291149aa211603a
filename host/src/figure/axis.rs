//! Round numbers along an edge.

use super::scene::room;

/// Numbers along an edge.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// The first tick.
    pub low: f64,
    /// The last tick.
    pub high: f64,
    step: f64,
}

impl Axis {
    /// The smallest axis between two ticks that holds `low..=high`, which may be one value.
    #[must_use]
    pub fn around(low: f64, high: f64, most: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - low.abs() * 0.5, high + high.abs() * 0.5) };
        let (low, high) = if high > low { (low, high) } else { (0.0, 1.0) };
        let step = step(high - low, most);
        Self { low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step, step }
    }

    /// From zero to exactly `end`, whole numbers where there are some.
    #[must_use]
    pub fn to(end: f64, most: usize) -> Self {
        Self { low: 0.0, high: end, step: if end >= 1.0 { step(end, most).max(1.0) } else { step(end, 4) } }
    }

    /// The numbers that are written along it.
    pub fn ticks(self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step + 1e-9).floor() as usize;
        (0..=count).map(move |i| self.low + i as f64 * self.step)
    }

    /// Room that its numbers take beside it, in units of `scale`.
    #[must_use]
    pub fn room(self, scale: f64) -> f64 {
        self.ticks().map(|tick| room(&self.text(tick, scale))).fold(0.0, f64::max)
    }

    /// Power of ten that is better said once, beside the axis; 0 for usual sizes.
    #[must_use]
    pub fn exponent(self) -> i32 {
        let size = self.high.abs().max(self.low.abs());
        if (0.01..10_000.0).contains(&size) { 0 } else { size.log10().floor() as i32 }
    }

    /// A tick's number in units of `scale`, all with as many decimals as the step needs.
    #[must_use]
    pub fn text(self, value: f64, scale: f64) -> String {
        let step = self.step / scale;
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let text = format!("{:.decimals$}", value / scale);
        // No "-0".
        match text.strip_prefix('-') {
            Some(zero) if zero.chars().all(|c| c == '0' || c == '.') => zero.into(),
            _ => text,
        }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that cuts `range` into at most `most` parts.
fn step(range: f64, most: usize) -> f64 {
    let least = range / most.max(1) as f64;
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::around(0.367, 0.7615, 5);
        let texts: Vec<String> = axis.ticks().map(|value| axis.text(value, 1.0)).collect();
        assert_eq!(texts, ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]);
        let axis = Axis::around(0.0, 6e-4, 5);
        assert_eq!(axis.exponent(), -4);
        let texts: Vec<String> = axis.ticks().map(|value| axis.text(value, 1e-4)).collect();
        assert_eq!(texts, ["0", "2", "4", "6"]);
        assert_eq!([20.0, 400.0, 3.0].map(|end| step(end, 8)), [5.0, 50.0, 0.5]);
    }

    proptest! {
        #[test]
        fn an_axis_holds_its_values_between_few_ticks(a in -1e6..1e6_f64, size in -9..7_i32, most in 2_usize..10) {
            let (low, high) = (a, a + 10_f64.powi(size).max(a.abs() * 1e-6));
            let axis = Axis::around(low, high, most);
            let slack = axis.step * 1e-6;
            prop_assert!(axis.low <= low + slack && axis.high >= high - slack, "{axis:?}");
            prop_assert!(axis.ticks().count() <= most + 2, "{axis:?}");
        }
    }
}
