//! How far the features of a batch spread. A joint term can be satisfied by giving every image the same feature; then
//! the training is lost, and says so.

/// How far features of different images are apart. Root mean squares are over the features' values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    /// Root of the mean variance: 0 if all are the same. Of [directions](Self::of_directions) 1 if they point
    /// everywhere, and of [values](Self::of_values) what it is.
    pub std: f64,
    /// In how many directions they spread: the square of the covariance's trace over the sum of its squares, which is
    /// the number of dimensions for equal variances, and 1 on a line (the participation ratio).
    pub rank: f64,
}

/// Most rows that are looked at.
pub const ROWS: usize = 256;
/// Below these the features have collapsed.
const COLLAPSED: Spread = Spread { std: 0.02, rank: 1.2 };

impl Spread {
    /// Of the first rows of `features`, `[N, width]`, each brought to a root mean square of 1: where cosines are
    /// compared.
    #[must_use]
    pub fn of_directions(features: &[f32], width: usize) -> Self {
        Self::of(features.chunks_exact(width).take(ROWS).map(unit).collect(), width)
    }

    /// Of the first rows of `features`, `[N, width]`, as they are: where distances are compared.
    #[must_use]
    pub fn of_values(features: &[f32], width: usize) -> Self {
        let rows = features.chunks_exact(width).take(ROWS);
        Self::of(rows.map(|row| row.iter().map(|value| f64::from(*value)).collect()).collect(), width)
    }

    fn of(rows: Vec<Vec<f64>>, width: usize) -> Self {
        let count = rows.len() as f64;
        let mut mean = vec![0.0; width];
        rows.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count));
        let centred: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().zip(&mean).map(|(value, mean)| value - mean).collect()).collect();
        // The products of the rows with each other have the covariance's trace and sum of squares, and their number
        // does not grow with the width.
        let scale = count * width as f64;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / scale;
        let trace: f64 = centred.iter().map(|row| dot(row, row)).sum();
        let squares: f64 = centred.iter().flat_map(|a| centred.iter().map(|b| dot(a, b).powi(2))).sum();
        // Rounding alone has a rank, too.
        let rank = if trace > 1e-9 { trace * trace / squares } else { 0.0 };
        Self { std: trace.sqrt(), rank }
    }

    /// Whether next to nothing tells the images apart.
    #[must_use]
    pub fn collapsed(&self) -> bool {
        !(self.std >= COLLAPSED.std && self.rank >= COLLAPSED.rank)
    }
}

/// The row with a root mean square of 1.
fn unit(row: &[f32]) -> Vec<f64> {
    let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / row.len() as f64;
    let norm = norm.sqrt().max(1e-12);
    row.iter().map(|value| f64::from(*value) / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::{generator, uniform};

    #[test]
    fn directions_are_counted_and_a_collapse_is_seen() {
        let rng = &mut generator(3, 0);
        let mut random = |count: usize| -> Vec<f32> { (0..count).map(|_| uniform(rng) - 0.5).collect() };
        let wide = Spread::of_directions(&random(256 * 16), 16);
        assert!(wide.std > 0.98 && wide.std <= 1.0 && (14.0..=16.0).contains(&wide.rank), "{wide:?}");
        // Four of sixteen dimensions.
        let mut flat = random(256 * 16);
        flat.iter_mut().enumerate().filter(|(i, _)| i % 16 >= 4).for_each(|(_, value)| *value = 0.0);
        let narrow = Spread::of_directions(&flat, 16);
        assert!((3.5..=4.0).contains(&narrow.rank) && !narrow.collapsed(), "{narrow:?}");
        let same: Vec<f32> = (0..256 * 16).map(|i| (i % 16) as f32).collect();
        assert!(Spread::of_directions(&same, 16).collapsed());
        // On a line: many lengths, two directions.
        let line: Vec<f32> = random(256).iter().flat_map(|value| (0..16).map(move |i| value * i as f32)).collect();
        assert!(Spread::of_directions(&line, 16).collapsed());
        // They point everywhere and are next to nothing.
        let tiny: Vec<f32> = random(256 * 16).iter().map(|value| 1e-3 * value).collect();
        assert!(!Spread::of_directions(&tiny, 16).collapsed() && Spread::of_values(&tiny, 16).collapsed());
        assert!(Spread { std: f64::NAN, rank: 5.0 }.collapsed() && Spread::of_directions(&[], 16).collapsed());
    }
}
