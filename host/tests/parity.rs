//! The model against the official implementation's numbers (`tests/parity/mae-32`).

use burn::tensor::{Device, Tensor, TensorData};
use common::mask::Mask;
use host::{
    checkpoint::{NamedTensor, Tensors, safetensors},
    model::{BurnEncoder, Mae, MaeConfig, MaskBatch, mae::normalize_patches, ops::Ops, weights},
    train::optimizer::{AdamWHyper, Optimizer},
};
use std::path::PathBuf;

fn parity(file: &str) -> Tensors {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32"));
    safetensors::read(&folder.join(file)).expect("parity file").0
}

fn config(norm_pix_loss: bool) -> MaeConfig {
    MaeConfig {
        image_height: 32,
        image_width: 32,
        channels: 3,
        patch_size: 4,
        dim: 48,
        depth: 2,
        heads: 3,
        decoder_dim: 32,
        decoder_depth: 2,
        decoder_heads: 4,
        mlp_ratio: 4.0,
        norm_pix_loss,
        position: common::model::PositionKind::SinCos2d,
    }
}

fn model(norm_pix_loss: bool, device: &Device) -> Mae {
    let config = config(norm_pix_loss);
    let model = Mae::new(&config, 1, device).expect("geometry");
    weights::load_tensors(model, &parity("checkpoint.safetensors"), &config.grid().expect("grid")).expect("weights")
}

fn masks(forward: &Tensors) -> MaskBatch {
    let noise = &forward["noise"];
    let masks = noise.data.chunks_exact(64).map(|noise| Mask::from_noise(noise, common::mask::len_keep(64, 0.75)));
    MaskBatch::from_masks(masks.collect()).expect("equal lengths")
}

fn upload<const D: usize>(tensor: &NamedTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(tensor.data.clone(), tensor.shape.clone()), device)
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn masks_equal_the_official_ones() {
    let forward = parity("forward.safetensors");
    let masks = masks(&forward);
    let flat = |f: fn(&Mask) -> Vec<f32>| masks.masks().iter().flat_map(f).collect::<Vec<_>>();
    assert_eq!(flat(|m| m.ids_keep.iter().map(|i| *i as f32).collect()), forward["ids_keep"].data);
    assert_eq!(flat(|m| m.ids_restore.iter().map(|i| *i as f32).collect()), forward["ids_restore"].data);
    assert_eq!(flat(|m| m.removed().iter().map(|i| f32::from(*i)).collect()), forward["mask"].data);
}

#[test]
fn forward_equals_the_official_one_to_1e_5() {
    let (device, forward) = (Device::flex(), parity("forward.safetensors"));
    let (model, masks) = (model(true, &device), masks(&forward));
    let patches: Tensor<3> = upload(&forward["patches"], &device);
    let latent = model.forward_encoder(patches.clone(), &masks);
    let pred = model.forward_decoder(latent.clone(), &masks);
    let target = normalize_patches(patches.clone());
    for (name, found) in [
        ("latent", latent.try_into_vec_as::<f32>()),
        ("pred", pred.clone().try_into_vec_as::<f32>()),
        ("target_norm_pix", target.try_into_vec_as::<f32>()),
    ] {
        let error = worst(&found.expect("read"), &forward[name].data);
        println!("{name}: largest difference {error:e}");
        assert!(error < 1e-5, "{name}: {error}");
    }
    for (name, norm_pix_loss) in [("loss_norm_pix", true), ("loss_pixels", false)] {
        let model = self::model(norm_pix_loss, &device);
        let loss: f32 = model.forward_loss(patches.clone(), pred.clone(), &masks).into_scalar();
        let error = (loss - forward[name].data[0]).abs();
        println!("{name}: {loss} differs by {error:e}");
        assert!(error < 1e-5, "{name}: {error}");
    }
}

#[test]
fn encoding_every_patch_equals_the_official_one() {
    let (config, forward) = (config(true), parity("forward.safetensors"));
    let spec = config.encoder_spec(common::normalize::PixelStats::IMAGENET, Default::default());
    let encoder = BurnEncoder::new(&spec, &parity("checkpoint.safetensors")).expect("encoder");
    let ids: Vec<u32> = (0..4).flat_map(|_| 0..64).collect();
    let features = encoder.encode(&forward["patches"].data, &ids, 64).expect("encode");
    let latent = &forward["latent_all_visible"].data;
    for (features, tokens) in features.iter().zip(latent.chunks_exact(65 * 48)) {
        assert!(worst(&features.cls, &tokens[..48]) < 1e-5);
        let mean: Vec<f32> =
            (0..48).map(|d| (1..65).map(|t| f64::from(tokens[t * 48 + d])).sum::<f64>() as f32 / 64.0).collect();
        assert!(worst(&features.mean, &mean) < 1e-5);
    }
}

#[test]
fn every_gradient_equals_the_official_one_to_1e_4_relative() {
    for ops in [Ops::Fused, Ops::Plain] {
        gradients_equal_the_official_ones(ops);
    }
}

fn gradients_equal_the_official_ones(ops: Ops) {
    use burn::{
        module::{Module as _, ModuleVisitor, Param},
        tensor::Gradients,
    };
    struct Check<'a> {
        grads: &'a Gradients,
        path: Vec<String>,
        found: Vec<(String, Vec<f32>, Vec<usize>)>,
    }
    impl ModuleVisitor for Check<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = param.val().grad(self.grads).expect("every parameter has a gradient");
            let shape = grad.dims().to_vec();
            let values = grad.try_into_vec_as::<f32>().expect("read");
            self.found.push((weights::official_name(&self.path), values, shape));
        }
    }
    let (device, forward) = (Device::flex().autodiff(), parity("forward.safetensors"));
    let (model, masks) = (model(true, &device).with_ops(ops), masks(&forward));
    let output = model.forward(upload(&forward["patches"], &device), &masks);
    let grads = output.loss.backward();
    let mut check = Check { grads: &grads, path: Vec::new(), found: Vec::new() };
    model.visit(&mut check);
    let official = parity("gradients.safetensors");
    let mut compared = 0;
    for (name, found, shape) in check.found {
        let expected = &official[&name];
        let scale = expected.data.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        // Back to PyTorch's layout: a Linear is transposed; the patch projection is [D, C, p, p].
        let found: Vec<f32> = match shape[..] {
            [p, d] if name == "patch_embed.proj.weight" => (0..p * d)
                .map(|i| {
                    let (row, channel, pixel) = (i / p, i / 16 % 3, i % 16);
                    found[(pixel * 3 + channel) * d + row]
                })
                .collect(),
            [rows, cols] => (0..rows * cols).map(|i| found[i % rows * cols + i / rows]).collect(),
            _ => found,
        };
        let error = worst(&found, &expected.data) / scale;
        assert!(error < 1e-4, "{ops:?} {name}: relative error {error}");
        compared += 1;
    }
    let trainable = official.keys().filter(|name| !name.contains("pos_embed")).count();
    assert_eq!(compared, trainable, "every official gradient was compared");
}

#[test]
fn parameters_survive_the_round_trip_through_official_layouts() {
    let (device, checkpoint) = (Device::flex(), parity("checkpoint.safetensors"));
    let grid = config(true).grid().expect("grid");
    let found = weights::to_tensors(&model(true, &device), &grid).expect("read");
    for (name, tensor) in &found {
        assert_eq!(tensor, &checkpoint[name], "{name}");
    }
    assert_eq!(found.len(), checkpoint.keys().filter(|name| !name.contains("pos_embed")).count());
}

/// The parameters after five steps, and the five losses, which the file holds in f64.
fn five_steps() -> (Tensors, Vec<f64>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32"));
    let bytes = std::fs::read(folder.join("adamw_5_steps.safetensors")).expect("parity file");
    let file = ::safetensors::SafeTensors::deserialize(&bytes).expect("parity file");
    let losses = file.tensor("losses").expect("losses");
    let losses = losses.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let tensor = |name: &str| {
        let tensor = file.tensor(name).expect("a tensor");
        let data = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        NamedTensor { shape: tensor.shape().to_vec(), data }
    };
    let names = file.names().into_iter().filter(|name| *name != "losses");
    (names.map(|name| (name.to_owned(), tensor(name))).collect(), losses)
}

/// Losses to 1e-5, parameters to 1e-4 of each one's largest value.
#[test]
fn five_steps_of_adamw_equal_pytorchs() {
    const LR: f64 = 1e-3;
    let (official, losses) = five_steps();
    for ops in [Ops::Fused, Ops::Plain] {
        let (device, forward) = (Device::flex().autodiff(), parity("forward.safetensors"));
        let masks = masks(&forward);
        let mut model = model(true, &device).with_ops(ops);
        let hyper = AdamWHyper { beta1: 0.9, beta2: 0.95, weight_decay: 0.05 };
        let mut optimizer = Optimizer::new(hyper).with_ops(ops);
        for expected in &losses {
            let loss = model.forward(upload(&forward["patches"], &device), &masks).loss;
            let gradients = loss.backward();
            model = optimizer.step(model, gradients, LR);
            let loss: f32 = loss.inner().into_scalar();
            assert!((f64::from(loss) - expected).abs() < 1e-5, "{ops:?}: {loss} is not {expected}");
        }
        let found = weights::to_tensors(&model, &config(true).grid().expect("grid")).expect("read");
        for (name, tensor) in &found {
            let expected = &official[name];
            let scale = expected.data.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let third = expected.data.len() / 3;
            let errors = tensor.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs() / scale).enumerate();
            // A key's bias moves all scores of a query alike and has no gradient but rounding, of which Adam makes whole
            // steps in any direction.
            let keys = if name.ends_with("qkv.bias") { third..2 * third } else { 0..0 };
            let error = errors.filter(|(i, _)| !keys.contains(i)).map(|(_, error)| error).fold(0.0, f32::max);
            assert!(error < 1e-4, "{ops:?} {name}: relative error {error}");
        }
    }
}
