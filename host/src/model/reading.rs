//! One pass with what a person wants to see of it: the prediction, the tokens, and where the class token looked.

use super::{Mae, MaskBatch, mae::random_masking};
use burn::tensor::Tensor;

/// What one pass showed.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Prediction for every patch, `[B, L, P]`; in units of the normalised patch with `norm_pix_loss`.
    pub pred: Tensor<3>,
    /// What the encoder's last block gives, `[B * (1 + V), D]`.
    pub tokens: Tensor<2>,
    /// How much each head of the class token takes from every token, itself first, `[B, H, 1 + V]`.
    pub attention: Tensor<3>,
}

impl Mae {
    /// As [`Self::forward`] without the loss, reading the attention of encoder block number `block`; `None` if there
    /// is no such block. `patches`: normalised pixels, `[B, L, P]`.
    pub fn read(&self, patches: Tensor<3>, masks: &MaskBatch, block: usize) -> Option<Reading> {
        let (batch, encoder) = (masks.batch(), &self.encoder);
        let (visible, positions) = random_masking(patches, masks);
        let (mut x, mut attention) = (encoder.embed(visible, positions, batch), None);
        for (number, layer) in encoder.blocks.iter().enumerate() {
            if number == block {
                attention = Some(layer.attn.of_cls(layer.norm1.forward(x.clone()), batch));
            }
            x = layer.forward(x, batch);
        }
        let pred = self.forward_decoder(encoder.norm.forward(x.clone()), masks);
        Some(Reading { pred, tokens: x, attention: attention? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DecoderKind, MaeConfig, layers::NORM_EPS};
    use burn::tensor::{Device, TensorData};
    use common::{
        mask::{MaskKind, generator, uniform},
        model::PositionKind,
    };

    const DIM: usize = 12;
    const HEADS: usize = 3;

    fn config() -> MaeConfig {
        MaeConfig {
            image_height: 8,
            image_width: 12,
            channels: 3,
            patch_size: 2,
            dim: DIM,
            depth: 3,
            heads: HEADS,
            decoder_dim: 8,
            decoder_depth: 1,
            decoder_heads: 2,
            decoder: DecoderKind::default(),
            mlp_ratio: 2.0,
            norm_pix_loss: true,
            position: PositionKind::SinCos2d,
        }
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().expect("values")
    }

    /// `x W + b` for one row, in f64.
    fn linear(x: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let columns = bias.len();
        let column = |c: usize| x.iter().zip(weight.iter().skip(c).step_by(columns)).map(|(x, w)| x * f64::from(*w));
        (0..columns).map(|c| column(c).sum::<f64>() + f64::from(bias[c])).collect()
    }

    fn norm(x: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let scaled = x.iter().map(|v| (v - mean) / (var + NORM_EPS).sqrt());
        scaled.zip(weight).zip(bias).map(|((v, w), b)| v * f64::from(*w) + f64::from(*b)).collect()
    }

    /// Naive loops in f64 give the weights, and these weights times the values give the block's own output.
    #[test]
    fn attention_is_what_the_block_itself_takes() {
        let (config, device, rng) = (config(), Device::flex(), &mut generator(7, 0));
        let grid = config.grid().expect("grid");
        let model = Mae::new(&config, 3, &device).expect("model");
        let masks = MaskBatch::draw(MaskKind::Random, &grid, 7, 1, 0, 2);
        let pixels: Vec<f32> = (0..2 * grid.image_len()).map(|_| uniform(rng) * 4.0 - 2.0).collect();
        let patches = Tensor::from_data(TensorData::new(pixels, [2, grid.patches(), grid.patch_dim()]), &device);
        let expected = values(model.forward(patches.clone(), &masks).pred);
        assert!(model.read(patches.clone(), &masks, config.depth).is_none());
        let (visible, positions) = random_masking(patches.clone(), &masks);
        let mut x = model.encoder.embed(visible, positions, 2);
        for (number, block) in model.encoder.blocks.iter().enumerate() {
            let reading = model.read(patches.clone(), &masks, number).expect("a block");
            assert_eq!(values(reading.pred), expected, "looking changed the prediction");
            let (input, output) = (values(x.clone()), values(block.forward(x.clone(), 2)));
            let found = values(reading.attention);
            assert_eq!(found.len(), 2 * HEADS * 8);
            for image in 0..2 {
                let rows = input[image * 8 * DIM..(image + 1) * 8 * DIM].chunks_exact(DIM);
                let rows: Vec<Vec<f64>> = rows.map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
                let attn = &block.attn;
                let (w1, b1) = (values(block.norm1.weight.val()), values(block.norm1.bias.val()));
                let (qkv_w, qkv_b) = (values(attn.qkv.weight.val()), values(attn.qkv.bias.val()));
                let qkv: Vec<Vec<f64>> =
                    rows.iter().map(|row| linear(&norm(row, &w1, &b1), &qkv_w, &qkv_b)).collect();
                let (width, mut taken) = (DIM / HEADS, vec![]);
                for head in 0..HEADS {
                    let part = |row: &[f64], which: usize| row[which * DIM + head * width..][..width].to_vec();
                    let dot = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let scores = qkv.iter().map(|row| dot(part(&qkv[0], 0), part(row, 1)) / (width as f64).sqrt());
                    let scores: Vec<f64> = scores.map(f64::exp).collect();
                    let sum: f64 = scores.iter().sum();
                    let own = &found[(image * HEADS + head) * 8..][..8];
                    for (score, own) in scores.iter().zip(own) {
                        assert!((score / sum - f64::from(*own)).abs() < 1e-6, "{score} of {sum} is not {own}");
                    }
                    for column in 0..width {
                        taken.push(qkv.iter().zip(own).map(|(row, w)| part(row, 2)[column] * f64::from(*w)).sum());
                    }
                }
                let branch = linear(&taken, &values(attn.proj.weight.val()), &values(attn.proj.bias.val()));
                let middle: Vec<f64> = rows[0].iter().zip(branch).map(|(x, y)| x + y).collect();
                let (w2, b2) = (values(block.norm2.weight.val()), values(block.norm2.bias.val()));
                let (fc1, fc2) = (&block.mlp.fc1, &block.mlp.fc2);
                let hidden = linear(&norm(&middle, &w2, &b2), &values(fc1.weight.val()), &values(fc1.bias.val()));
                let gelu = hidden.iter().map(|v| 0.5 * v * (1.0 + libm::erf(v / 2.0_f64.sqrt())));
                let hidden: Vec<f64> = gelu.collect();
                let end = linear(&hidden, &values(fc2.weight.val()), &values(fc2.bias.val()));
                let cls = &output[image * 8 * DIM..][..DIM];
                for ((middle, end), cls) in middle.iter().zip(end).zip(cls) {
                    assert!((middle + end - f64::from(*cls)).abs() < 1e-5, "{} is not {cls}", middle + end);
                }
            }
            x = block.forward(x, 2);
        }
    }
}
