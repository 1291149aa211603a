//! Position tables for another image size: bicubic, as PyTorch's `interpolate(mode="bicubic", align_corners=False)`.

/// The parameter of the cubic convolution kernel (Keys 1981) that PyTorch uses.
const A: f64 = -0.75;

/// For one output: the four inputs around it, clamped to the edge, and their weights.
fn taps(output: usize, inputs: usize, outputs: usize) -> [(usize, f64); 4] {
    let centre = (output as f64 + 0.5) * (inputs as f64 / outputs as f64) - 0.5;
    let (first, t) = (centre.floor(), centre - centre.floor());
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    std::array::from_fn(|i| {
        let place = (first + i as f64 - 1.0).clamp(0.0, inputs.saturating_sub(1) as f64);
        (place as usize, weights[i])
    })
}

/// Resamples a table of patch positions. `table`: `[rows * cols, D]` for the grid `from` (rows, columns), all at
/// least 1. Returns `[rows * cols, D]` for the grid `to`.
#[must_use]
pub(crate) fn bicubic(table: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let dim = table.len() / (from.0 * from.1).max(1);
    let mut out = Vec::with_capacity(to.0 * to.1 * dim);
    for row in 0..to.0 {
        let rows = taps(row, from.0, to.0);
        for col in 0..to.1 {
            let cols = taps(col, from.1, to.1);
            out.extend((0..dim).map(|d| {
                let line = |row: usize| -> f64 {
                    cols.iter().map(|(col, w)| w * f64::from(table[(row * from.1 + col) * dim + d])).sum()
                };
                rows.iter().map(|(row, w)| w * line(*row)).sum::<f64>() as f32
            }));
        }
    }
    out
}

/// As [`bicubic`] for a table whose first row belongs to the class token and stays. `table`: `[1 + L, dim]`.
#[must_use]
pub(crate) fn with_cls(table: &[f32], dim: usize, from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let (cls, patches) = table.split_at(dim.min(table.len()));
    [cls, &bicubic(patches, from, to)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize, cols: usize, dim: usize) -> Vec<f32> {
        let value = |i: usize| (i / dim / cols * 7 + i / dim % cols * 3 + i % dim * 5) % 11;
        (0..rows * cols * dim).map(|i| value(i) as f32 / 4.0 - 1.0).collect()
    }

    fn check(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{found} for {expected}");
        }
    }

    /// torch 2.15.0: `interpolate(table.permute(2, 0, 1)[None], size=to, mode="bicubic", align_corners=False)`.
    #[test]
    fn equals_pytorch() {
        check(
            &bicubic(&table(3, 3, 2), (3, 3), (4, 4)),
            &[
                -1.1794434, 0.2679443, -0.7499571, 1.0429258, 0.0481797, 0.3623427, 0.6397783, -1.2833331, 0.175415,
                -0.6574278, 0.8530324, 0.1175537, 0.589168, 0.4989719, -0.4260206, 0.2119521, 0.5280762, -0.2119521,
                1.2056937, -0.4989719, 0.9418291, -0.1175537, -0.0733594, 0.6574278, -0.3756104, 1.2833331,
                0.0538759, -0.3623427, 0.8520128, -1.042926, 1.4436114, -0.2679443,
            ],
        );
        check(
            &bicubic(&table(4, 3, 1), (4, 3), (2, 5)),
            &[
                -0.10325, 0.3233125, 0.71875, 0.2324686, -0.2488125, 0.59125, 0.2161875, -0.09375, 0.4780315,
                1.0108128,
            ],
        );
    }

    #[test]
    fn the_same_grid_gives_the_same_table() {
        let table = table(5, 4, 3);
        assert_eq!(bicubic(&table, (5, 4), (5, 4)), table);
        let with_cls = with_cls(&[&[9.0; 3], &table[..]].concat(), 3, (5, 4), (10, 8));
        assert_eq!((with_cls.len(), &with_cls[..3]), (81 * 3, &[9.0; 3][..]));
    }
}
