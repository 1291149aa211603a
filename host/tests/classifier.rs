//! The classifier against the official implementation's numbers (`tests/parity/mae-32`), fused against plain
//! operations, and what partial fine-tuning leaves alone.

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{
    model::{Pooling, PositionKind},
    normalize::PixelStats,
};
use host::{
    bench::check::Parity,
    model::{
        BurnEncoder, Classifier, MaeConfig,
        classifier::{HeadPool, Trained, drop_path},
        ops::Ops,
        weights,
    },
    tensors::{NamedTensor, Tensors, safetensors},
};
use std::path::PathBuf;

const CLASSES: usize = 10;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32"))
}

fn config() -> MaeConfig {
    Parity::open(&folder()).expect("parity files").config(true)
}

/// The numbers of a file, and its weights by this crate's names.
fn parity(pool: HeadPool) -> (Tensors, Tensors) {
    let file = match pool {
        HeadPool::Cls => "classifier_cls_token.safetensors",
        HeadPool::Mean => "classifier_mean_pool.safetensors",
    };
    let numbers = safetensors::read(&folder().join(file)).expect("parity file").0;
    let weights = numbers.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("weights.")?;
        Some((name.replace("fc_norm.", "norm."), tensor.clone()))
    });
    let weights = weights.collect();
    (numbers, weights)
}

/// `[B, C, H, W]` as patches, `[B * L, P]`.
fn patches(images: &[f32], device: &Device) -> (Tensor<2>, Tensor<1, Int>, usize) {
    let grid = config().grid().expect("grid");
    let (values, batch) = (grid.image_len(), images.len() / grid.image_len());
    let mut all = vec![0.0; images.len()];
    for (image, patches) in images.chunks_exact(values).zip(all.chunks_exact_mut(values)) {
        let area = values / 3;
        let interleaved: Vec<f32> = (0..values).map(|i| image[i % 3 * area + i / 3]).collect();
        grid.patchify(&interleaved, patches).expect("patches");
    }
    let rows = batch * grid.patches();
    let ids: Vec<i32> = (0..batch).flat_map(|_| 0..grid.patches() as i32).collect();
    let visible = Tensor::from_data(TensorData::new(all, [rows, grid.patch_dim()]), device);
    (visible, Tensor::from_data(TensorData::new(ids, [rows]), device), batch)
}

fn classifier(pool: HeadPool, weights: &Tensors, device: &Device) -> Classifier {
    let model = Classifier::new(&config(), CLASSES, pool, 1, device).expect("geometry");
    weights::load_tensors(model, weights, &config().grid().expect("grid")).expect("weights")
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("read")
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn features_and_logits_equal_the_official_ones_to_1e_5() {
    let device = Device::flex();
    for pool in [HeadPool::Cls, HeadPool::Mean] {
        let (numbers, weights) = parity(pool);
        for ops in [Ops::Fused, Ops::Plain] {
            // The table of these files has been trained.
            let config = MaeConfig { position: PositionKind::Stored, ..config() };
            let model = Classifier::new(&config, CLASSES, pool, 1, &device).expect("geometry").with_ops(ops);
            let model = weights::load_tensors(model, &weights, &config.grid().expect("grid")).expect("weights");
            let (visible, positions, batch) = patches(&numbers["images"].data, &device);
            let output = model.forward(visible, positions, batch, &[]);
            for (name, found) in [("features", read(output.features)), ("logits", read(output.logits))] {
                let error = worst(&found, &numbers[name].data);
                println!("{pool:?} {ops:?} {name}: largest difference {error:e}");
                assert!(error < 1e-5, "{pool:?} {ops:?} {name}: {error}");
            }
        }
    }
}

/// The encoder that `export`, `features` and the rest read gives what the head was trained on.
#[test]
fn the_exported_pooling_is_the_classifiers() {
    for (pool, pooling) in [(HeadPool::Cls, Pooling::Cls), (HeadPool::Mean, Pooling::MeanNorm)] {
        let (numbers, weights) = parity(pool);
        let mut spec = config().encoder_spec(PixelStats::IMAGENET, Default::default());
        spec.pooling = pooling;
        let (visible, positions, batch) = patches(&numbers["images"].data, &Device::flex());
        let expected =
            classifier(pool, &weights, &Device::flex()).forward(visible.clone(), positions, batch, &[]).features;
        let ids: Vec<u32> = (0..batch).flat_map(|_| 0..64).collect();
        let encoder = BurnEncoder::new(&spec, &weights).expect("encoder");
        let features = encoder.encode(&read(visible), &ids, 64).expect("encode");
        for (features, expected) in features.into_iter().zip(read(expected).chunks_exact(48)) {
            let found = host::evaluate::features::pooled(features, pooling);
            assert!(worst(&found, expected) < 1e-5, "{pooling:?}");
        }
    }
}

#[test]
fn a_model_has_one_kind_of_mean() {
    let mut spec = config().encoder_spec(PixelStats::IMAGENET, Default::default());
    for (own, mean) in
        [(Pooling::Cls, Pooling::Mean), (Pooling::Mean, Pooling::Mean), (Pooling::MeanNorm, Pooling::MeanNorm)]
    {
        spec.pooling = own;
        assert_eq!(spec.pooling_for(None), own);
        assert_eq!(spec.pooling_for(Some(Pooling::Cls)), Pooling::Cls);
        assert_eq!(spec.pooling_for(Some(Pooling::Mean)), mean);
        assert_eq!(spec.pooling_for(Some(Pooling::MeanNorm)), mean);
    }
}

/// Gradients by name; parameters without one are left out.
fn gradients(model: &Classifier, rate: f64) -> Tensors {
    let device = Device::flex().autodiff();
    let numbers = parity(HeadPool::Cls).0;
    let (visible, positions, batch) = patches(&numbers["images"].data, &device);
    let factors = drop_path(2, batch, rate, 5, 6);
    let logits = model.forward(visible, positions, batch, &factors).logits;
    let gradients = logits.powi_scalar(2).mean().backward();
    weights::gradients_to_tensors(model, &gradients, &config().grid().expect("grid")).expect("gradients")
}

fn assert_close(found: &Tensors, expected: &Tensors) {
    let largest = expected.values().flat_map(|tensor| &tensor.data).fold(0.0_f32, |m, v| m.max(v.abs()));
    for (name, NamedTensor { data: found, .. }) in found {
        let expected = &expected[name].data;
        let scale = expected.iter().fold(largest * 1e-2, |m, v| m.max(v.abs()));
        assert!(worst(found, expected) < 1e-4 * scale, "{name}: {} of {scale}", worst(found, expected));
    }
}

#[test]
fn fused_and_plain_gradients_agree_with_dropped_branches() {
    let device = Device::flex().autodiff();
    for pool in [HeadPool::Cls, HeadPool::Mean] {
        let model = classifier(pool, &parity(pool).1, &device);
        let (fused, plain) = (model.clone().with_ops(Ops::Fused), model.with_ops(Ops::Plain));
        for rate in [0.0, 0.5] {
            let (fused, plain) = (gradients(&fused, rate), gradients(&plain, rate));
            assert_eq!(fused.len(), plain.len());
            assert_close(&fused, &plain);
        }
        assert_ne!(
            gradients(&fused, 0.5)["head.weight"],
            gradients(&fused, 0.0)["head.weight"],
            "branches are dropped"
        );
    }
}

#[test]
fn partial_training_has_the_gradients_of_its_part_and_no_others() {
    let device = Device::flex().autodiff();
    let pool = HeadPool::Cls;
    for ops in [Ops::Fused, Ops::Plain] {
        let model = classifier(pool, &parity(pool).1, &device).with_ops(ops);
        let all = gradients(&model, 0.0);
        assert_eq!(all.len(), 31);
        let names = |trained| -> Vec<String> {
            let some = gradients(&model.clone().with_trained(trained), 0.0);
            assert_close(&some, &all);
            some.into_keys().collect()
        };
        assert_eq!(names(Trained::Head), ["head.bias", "head.weight"]);
        let half = names(Trained::HalfBlock);
        assert_eq!(
            half,
            [
                "blocks.1.mlp.fc1.bias",
                "blocks.1.mlp.fc1.weight",
                "blocks.1.mlp.fc2.bias",
                "blocks.1.mlp.fc2.weight",
                "blocks.1.norm2.bias",
                "blocks.1.norm2.weight",
                "head.bias",
                "head.weight",
                "norm.bias",
                "norm.weight",
            ]
        );
        let one = names(Trained::Blocks(1));
        assert_eq!(one.len(), 12 + 4);
        assert!(half.iter().all(|name| one.contains(name)));
        // All blocks are not all parameters: tokens and patch projection stay frozen.
        assert_eq!(names(Trained::Blocks(2)).len(), 24 + 4);
    }
}

/// A table of positions is added to the projected patches, and its first row to the class token, so that its
/// gradients are theirs: those of the rows of patches sum to that of the projection's bias.
#[test]
fn a_trained_table_of_positions_has_its_gradients() {
    let (device, pool) = (Device::flex().autodiff(), HeadPool::Cls);
    let config = MaeConfig { position: PositionKind::Stored, ..config() };
    for ops in [Ops::Fused, Ops::Plain] {
        let model = Classifier::new(&config, CLASSES, pool, 1, &device).expect("geometry").with_ops(ops);
        let model = weights::load_tensors(model, &parity(pool).1, &config.grid().expect("grid")).expect("weights");
        assert!(!gradients(&model, 0.0).contains_key("pos_embed"), "a stored table is fixed until told");
        let model = model.with_trained_positions();
        let found = gradients(&model, 0.0);
        let table = &found["pos_embed"];
        assert_eq!((&table.shape[..], found.len()), (&[1, 65, 48][..], 32));
        assert_eq!(table.data[..48], found["cls_token"].data);
        let bias = &found["patch_embed.proj.bias"].data;
        let largest = bias.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (i, bias) in bias.iter().enumerate() {
            let sum: f32 = table.data[48..].iter().skip(i).step_by(48).sum();
            assert!((sum - bias).abs() < 1e-5 * largest, "{sum} {bias}");
        }
        // Of a part, it stays fixed.
        let part = gradients(&model.with_trained(Trained::Blocks(2)), 0.0);
        assert!(!part.contains_key("pos_embed") && part.contains_key("blocks.0.norm1.weight"));
    }
}
