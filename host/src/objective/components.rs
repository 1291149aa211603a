//! Principal components of patches.

/// Mean of patches (`[N, P]`), and their main components, `[K, P]`, until `enough` says so of their number and the
/// share of the variance that they explain; one at least, all but one at most.
pub fn main_components(sample: &[f32], values: usize, enough: impl Fn(usize, f64) -> bool) -> (Vec<f32>, Vec<f32>) {
    let count = (sample.len() / values) as f64;
    let mut mean = vec![0.0_f64; values];
    for patch in sample.chunks_exact(values) {
        mean.iter_mut().zip(patch).for_each(|(sum, value)| *sum += f64::from(*value) / count);
    }
    let mut covariance = vec![0.0_f64; values * values];
    let mut centred = vec![0.0_f64; values];
    for patch in sample.chunks_exact(values) {
        centred.iter_mut().zip(patch).zip(&mean).for_each(|((c, value), mean)| *c = f64::from(*value) - mean);
        for (row, a) in covariance.chunks_exact_mut(values).zip(&centred) {
            row.iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b / count);
        }
    }
    let (eigenvalues, eigenvectors) = eigen(covariance, values);
    let mut order: Vec<usize> = (0..values).collect();
    order.sort_by(|a, b| eigenvalues[*b].total_cmp(&eigenvalues[*a]));
    let (total, mut explained, mut components) = (eigenvalues.iter().sum::<f64>(), 0.0, Vec::new());
    for (taken, index) in (1..).zip(&order[..values.saturating_sub(1).max(1)]) {
        components.extend(eigenvectors[index * values..][..values].iter().map(|value| *value as f32));
        explained += eigenvalues[*index];
        if enough(taken, explained / total.max(f64::MIN_POSITIVE)) {
            break;
        }
    }
    (mean.into_iter().map(|value| value as f32).collect(), components)
}

/// Eigenvalues `[N]` and, row by row, eigenvectors `[N, N]` of a symmetric matrix `[N, N]`, by Jacobi's rotations.
fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect();
    let scale = matrix.iter().map(|v| v * v).sum::<f64>();
    for _sweep in 0..30 {
        let off = (0..n * n).filter(|i| i / n != i % n).map(|i| matrix[i] * matrix[i]).sum::<f64>();
        if off <= 1e-22 * scale {
            break;
        }
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            let apq = matrix[p * n + q];
            if apq == 0.0 {
                continue;
            }
            let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * apq);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let c = (t * t + 1.0).sqrt().recip();
            let rotate = |a: &mut f64, b: &mut f64| (*a, *b) = (c * *a - t * c * *b, t * c * *a + c * *b);
            for table in [&mut matrix, &mut vectors] {
                let (head, tail) = table.split_at_mut(q * n);
                head[p * n..][..n].iter_mut().zip(&mut tail[..n]).for_each(|(a, b)| rotate(a, b));
            }
            for row in matrix.chunks_exact_mut(n) {
                let (head, tail) = row.split_at_mut(q);
                rotate(&mut head[p], &mut tail[0]);
            }
        }
    }
    ((0..n).map(|i| matrix[i * (n + 1)]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::{generator, uniform};

    #[test]
    fn eigenvectors_are_orthonormal_and_fit_their_eigenvalues() {
        let (n, rng) = (17, &mut generator(5, 0));
        let half: Vec<f64> = (0..n * n).map(|_| f64::from(uniform(rng)) - 0.5).collect();
        let matrix: Vec<f64> = (0..n * n).map(|i| half[i] + half[i % n * n + i / n]).collect();
        let (values, vectors) = eigen(matrix.clone(), n);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for (i, a) in vectors.chunks_exact(n).enumerate() {
            for (j, b) in vectors.chunks_exact(n).enumerate() {
                assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
            let worst = matrix.chunks_exact(n).zip(a).map(|(row, v)| (dot(row, a) - values[i] * v).abs());
            assert!(worst.fold(0.0, f64::max) < 1e-10);
        }
    }
}
