//! The fused operations against burn's own, through the whole model: outputs and every gradient, on odd sizes too.

use burn::{
    module::{Module as _, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor, TensorData},
};
use common::mask::MaskKind;
use host::{
    model::{DecoderKind, Mae, MaeConfig, MaskBatch, ops::Ops},
    objective::loss_as_trained,
};
use proptest::prelude::*;

/// Gradients by visiting order.
struct Collect<'a>(&'a Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grad = param.val().grad(self.0).expect("every parameter has a gradient");
        self.1.push(grad.try_into_vec_as::<f32>().expect("read"));
    }
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 252.25 - 2.0).collect()
}

/// Prediction, loss and gradients; the gradients through the loss of removed patches alone with fused operations, so
/// that it is compared with the whole one, too, where all removed patches are predicted.
fn run(
    config: &MaeConfig,
    (ops, batch, kept, predict): (Ops, usize, usize, f64),
    seed: usize,
) -> (Vec<f32>, f32, Vec<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let grid = config.grid().expect("grid");
    let model = Mae::new(config, seed as u64, &device).expect("model").with_ops(ops);
    let masks = MaskBatch::draw(MaskKind::Random, &grid, kept, seed as u64, 0, batch);
    let masks = masks.predicting(predict, seed as u64, 0);
    let shape = [batch, grid.patches(), grid.patch_dim()];
    let patches = Tensor::from_data(TensorData::new(values(shape.iter().product(), seed), shape), &device);
    let output = model.forward(patches.clone(), &masks);
    let gradients = match ops {
        Ops::Plain if predict == 1.0 => output.loss.backward(),
        _ => loss_as_trained(&model, patches, &masks).backward(),
    };
    let mut collect = Collect(&gradients, Vec::new());
    model.visit(&mut collect);
    let pred = output.pred.inner().try_into_vec_as::<f32>().expect("read");
    (pred, output.loss.inner().into_scalar(), collect.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn fused_and_plain_operations_agree(
        batch in 1..4_usize, rows in 1..5_usize, columns in 2..5_usize, patch in 1..5_usize, channels in 1..5_usize,
        (heads, width) in (1..4_usize, 3..8_usize), (decoder_heads, decoder_width) in (1..4_usize, 3..8_usize),
        ratio in prop::sample::select(vec![1.0, 2.5, 4.0]), norm_pix_loss: bool, seed in 0..1000_usize,
        cross: bool, predict in prop::sample::select(vec![0.3, 1.0]),
    ) {
        // The position table needs a width that four divides. A row of four or eight numbers can be nearly constant,
        // and its norm then makes a large error of rounding.
        let config = MaeConfig {
            image_height: rows * patch,
            image_width: columns * patch,
            channels,
            patch_size: patch,
            dim: heads * width * 4,
            depth: 2,
            heads,
            decoder_dim: decoder_heads * decoder_width * 4,
            decoder_depth: 1,
            decoder_heads,
            decoder: if cross { DecoderKind::Cross } else { DecoderKind::SelfAttention },
            mlp_ratio: ratio,
            norm_pix_loss: norm_pix_loss && patch * channels > 1,
            position: common::model::PositionKind::SinCos2d,
        };
        let kept = (rows * columns / 2).max(1);
        let (pred, loss, gradients) = run(&config, (Ops::Fused, batch, kept, predict), seed);
        let (plain_pred, plain_loss, plain_gradients) = run(&config, (Ops::Plain, batch, kept, predict), seed);
        for (a, b) in pred.iter().zip(&plain_pred) {
            prop_assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} {b}");
        }
        prop_assert!((loss - plain_loss).abs() < 1e-5 * plain_loss.abs().max(1.0), "{loss} {plain_loss}");
        prop_assert_eq!(gradients.len(), plain_gradients.len());
        // Relative to the largest of its kind: the gradient of a key's bias, say, is zero but for rounding.
        let largest = plain_gradients.iter().flatten().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (index, (a, b)) in gradients.iter().zip(&plain_gradients).enumerate() {
            let scale = b.iter().fold(largest * 1e-2, |m, v| m.max(v.abs()));
            for (a, b) in a.iter().zip(b) {
                prop_assert!((a - b).abs() < 1e-4 * scale, "parameter {index}: {a} {b}");
            }
        }
    }
}
