//! Both decoders against PyTorch's numbers (`tests/parity/decoders.safetensors`, which
//! `tests/python/make_decoders.py` makes), and one that predicts some patches alone against one that predicts all.

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{
    mask::{Mask, MaskKind},
    model::PositionKind,
};
use host::{
    model::{DecoderKind, Mae, MaeConfig, MaskBatch, mae::normalize_patches, ops::Ops, weights},
    objective::{Learner, loss_as_trained},
    tensors::{Tensors, safetensors},
};
use proptest::prelude::*;
use std::path::Path;

const KINDS: [DecoderKind; 2] = [DecoderKind::SelfAttention, DecoderKind::Cross];

/// The model of the file: 9 patches of 2x2 grey pixels.
fn config(decoder: DecoderKind) -> MaeConfig {
    MaeConfig {
        image_height: 6,
        image_width: 6,
        channels: 1,
        patch_size: 2,
        dim: 12,
        depth: 1,
        heads: 3,
        decoder_dim: 8,
        decoder_depth: 2,
        decoder_heads: 2,
        decoder,
        mlp_ratio: 2.0,
        norm_pix_loss: true,
        position: PositionKind::Stored,
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("values")
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn both_decoders_equal_pytorch() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/decoders.safetensors"));
    let (file, _) = safetensors::read(path).expect("the file");
    let device = Device::flex().autodiff();
    let upload = |name: &str| {
        let shape: [usize; 3] = file[name].shape[..].try_into().expect("three axes");
        Tensor::<3>::from_data(TensorData::new(file[name].data.clone(), shape), &device)
    };
    let masks = file["noise"].data.chunks_exact(9).map(|noise| Mask::from_noise(noise, 4)).collect();
    let masks = MaskBatch::from_masks(masks).expect("masks");
    let wanted: Vec<i32> = file["wanted"].data.iter().map(|id| *id as i32).collect();
    let wanted = Tensor::<1, Int>::from_data(TensorData::new(wanted, [6]), &device);
    for kind in KINDS {
        let prefix = format!("{}.", kind.name());
        let of = |group: &str| -> Tensors {
            let group = format!("{prefix}{group}.");
            file.iter().filter_map(|(name, t)| Some((name.strip_prefix(&group)?.to_owned(), t.clone()))).collect()
        };
        let (config, parameters, expected) = (config(kind), of("model"), of("gradient"));
        let grid = config.grid().expect("grid");
        let model = Mae::new(&config, 1, &device).expect("model");
        assert_eq!(DecoderKind::of(&parameters), Some(kind));
        let model = weights::load_tensors(model, &parameters, &grid).expect("these parameters");
        assert_eq!(weights::to_tensors(&model, &grid).expect("read"), parameters);
        for (ops, bound) in [(Ops::Fused, 2e-5), (Ops::Plain, 2e-5), (Ops::Bf16, 0.1)] {
            let model = model.clone().with_ops(ops);
            let latent = model.forward_encoder(upload("patches"), &masks);
            let pred = model.predict(model.decode_wanted(latent, &masks, wanted.clone()));
            let loss = (pred.clone() - upload("target").reshape([6, 4])).powi_scalar(2).mean();
            let (found, numbers) = (read(pred.inner()), &file[&format!("{prefix}pred")].data);
            let off = largest_difference(&found, numbers);
            assert!(off < bound * largest(numbers), "{kind:?} {ops:?}: {off}");
            let (found, number) = (read(loss.clone().inner())[0], file[&format!("{prefix}loss")].data[0]);
            assert!((found - number).abs() < bound * number, "{kind:?} {ops:?}: {found} {number}");
            let found = weights::gradients_to_tensors(&model, &loss.backward(), &grid).expect("gradients");
            assert!(found.keys().eq(expected.keys()), "{kind:?}: {:?}", found.keys());
            // The gradient of a key's bias is zero but for rounding.
            let all = expected.values().map(|t| largest(&t.data)).fold(0.0, f32::max);
            for (name, expected) in &expected {
                let off = largest_difference(&found[name].data, &expected.data);
                let scale = largest(&expected.data).max(1e-2 * all);
                assert!(off < 2.0 * bound * scale, "{kind:?} {ops:?}: {name} {off} of {scale}");
            }
        }
    }
}

/// What one model makes of one batch.
struct Case {
    model: Mae,
    patches: Tensor<3>,
    masks: MaskBatch,
}

fn case(kind: DecoderKind, ops: Ops, seed: u64) -> Case {
    let device = Device::flex();
    let model = Mae::new(&config(kind), seed, &device).expect("model").with_ops(ops);
    let values = (0..4 * 36).map(|i| ((i * 7919 + seed as usize * 104_729) % 1009) as f32 / 252.25 - 2.0);
    let patches = Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [4, 9, 4]), &device);
    let grid = config(kind).grid().expect("grid");
    Case { model, patches, masks: MaskBatch::draw(MaskKind::Random, &grid, 3, seed, 0, 4) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With self-attention the tokens are the paper's, in another order; with cross-attention every patch is
    /// predicted by itself, so that it does not matter which others are.
    #[test]
    fn predicting_some_is_predicting_all_and_taking_some(seed in 0..1000_u64, fused: bool, ratio in 0.01..1.0_f64) {
        for kind in KINDS {
            let ops = if fused { Ops::Fused } else { Ops::Plain };
            let Case { model, patches, masks } = case(kind, ops, seed);
            let device = Device::flex();
            let learner = Learner::from(model.clone());
            let latent = learner.encode(patches.clone(), &masks);
            let every = learner.predict(latent.clone(), &masks);
            prop_assert_eq!(read(every.clone()), read(model.forward(patches.clone(), &masks).pred));
            let reading = model.read(patches.clone(), &masks, 0).expect("a block");
            prop_assert_eq!(read(every.clone()), read(reading.pred));
            let every = every.reshape([36, 4]);
            let removed = read(every.clone().select(0, masks.predicted_rows(0, &device)));
            let found = read(learner.predict_removed(latent.clone(), &masks));
            prop_assert!(largest_difference(&found, &removed) < 1e-5);
            let found = model.decode_wanted(latent.clone(), &masks, masks.predicted_ids(&device));
            prop_assert!(largest_difference(&read(model.predict(found)), &removed) < 1e-5);

            let some = masks.clone().predicting(ratio, seed, 0);
            let found = read(learner.predict_removed(latent, &some));
            prop_assert_eq!(found.len(), 4 * 4 * ((6.0 * ratio) as usize).max(1));
            if kind == DecoderKind::Cross {
                let rows = some.predicted_rows(0, &device);
                let expected = read(every.clone().select(0, rows.clone()));
                prop_assert!(largest_difference(&found, &expected) < 1e-5);
                // The loss is the mean over these patches.
                let target = normalize_patches(patches.clone()).0.reshape([36, 4]);
                let error = read((every - target).powi_scalar(2).mean_dim(1).select(0, rows));
                let mean = error.iter().sum::<f32>() / error.len() as f32;
                let loss = read(loss_as_trained(&model, patches, &some))[0];
                prop_assert!((loss - mean).abs() < 1e-5 * mean.max(1.0), "{loss} {mean}");
            }
        }
    }
}

/// A prediction reads every visible patch and no removed one.
#[test]
fn only_visible_patches_are_read() {
    let device = Device::flex().autodiff();
    for kind in KINDS {
        let Case { model, patches, masks } = case(kind, Ops::Fused, 5);
        let grid = config(kind).grid().expect("grid");
        let tensors = weights::to_tensors(&model, &grid).expect("read");
        let model = weights::load_tensors(Mae::new(&config(kind), 0, &device).expect("model"), &tensors, &grid);
        let model = model.expect("its own");
        let patches = Tensor::<3>::from_data(patches.into_data(), &device).require_grad();
        let some = masks.predicting(0.5, 3, 0);
        let learner = Learner::from(model);
        let pred = learner.predict_removed(learner.encode(patches.clone(), &some), &some);
        let gradients = pred.powi_scalar(2).mean().backward();
        let gradient = read(patches.grad(&gradients).expect("of the pixels"));
        for (mask, image) in some.masks().iter().zip(gradient.chunks_exact(36)) {
            for (removed, patch) in mask.removed().iter().zip(image.chunks_exact(4)) {
                assert_eq!(largest(patch) == 0.0, *removed == 1, "{kind:?}");
            }
        }
    }
}
