//! InfoNCE (van den Oord et al. 2018, arXiv 1807.03748; as NT-Xent in Chen et al. 2020, arXiv 2002.05709): each view
//! must tell the other views of its image from all views of the other images of the batch.

use burn::tensor::Tensor;

/// The mean over all ordered pairs of views of an image of `-log(p / (p + n))`, `[1]`: `p` is the exponential of the
/// pair's cosine over the temperature, `n` the sum of those of the first view with every view of the other images.
/// With two views this is NT-Xent. `z`: `[views, B, K]`.
pub fn infonce(z: Tensor<3>, temperature: f64) -> Tensor<1> {
    let [views, batch, width] = z.dims();
    let norm = (z.clone().powi_scalar(2).sum_dim(2) + 1e-12).sqrt();
    let z = z / norm;
    let (rows, device) = (views * batch, z.device());
    let flat = z.clone().reshape([rows, width]);
    // Cosines are at most 1, so nothing overflows after this shift, and nothing vanishes at usual temperatures.
    let scores = flat.clone().matmul(flat.transpose()).sub_scalar(1.0).div_scalar(temperature);
    let others = (Tensor::<2>::ones([batch, batch], &device) - Tensor::eye(batch, &device)).repeat(&[views, views]);
    let negatives = (scores.exp() * others).sum_dim(1).log().reshape([views, batch, 1]);
    let terms = (1..views).map(|shift| {
        let ahead = |from: usize, count: usize| z.clone().narrow(0, from, count);
        let partners = Tensor::cat(vec![ahead(shift, views - shift), ahead(0, shift)], 0);
        let positives = (z.clone() * partners).sum_dim(2).sub_scalar(1.0).div_scalar(temperature);
        (negatives.clone() - positives).exp().log1p().mean()
    });
    let sum = terms.reduce(|sum, term| sum + term);
    sum.unwrap_or_else(|| Tensor::zeros([1], &device)).div_scalar((views - 1).max(1) as f64)
}
