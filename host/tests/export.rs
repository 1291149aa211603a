//! Exported encoders against the official numbers and against burn.

use common::{model::EncoderSpec, normalize::PixelStats};
use edge::{
    model_folder::{ModelError, ModelFolder, Precision},
    native_file::{NativeFile, NativeFileError},
    tract_runtime::{TractEncoder, TractError},
};
use host::{
    bench::check::Parity,
    export::{self, precision::EncoderPrecision},
    model::{BurnEncoder, ops::Ops},
    tensors::{Tensors, encoder_hash, safetensors},
};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32"))
}

fn parity(file: &str) -> Tensors {
    safetensors::read(&folder().join(file)).expect("parity file").0
}

fn encoder() -> (EncoderSpec, Tensors) {
    let parity = Parity::open(&folder()).expect("parity files");
    let hash = encoder_hash(&parity.checkpoint);
    (parity.config(true).encoder_spec(PixelStats::IMAGENET, hash), parity.checkpoint)
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Visible patches of one image of the parity batch, in the official order.
fn visible(forward: &Tensors, image: usize) -> (Vec<u32>, Vec<f32>) {
    let ids: Vec<u32> = forward["ids_keep"].data[image * 16..(image + 1) * 16].iter().map(|id| *id as u32).collect();
    let patches = &forward["patches"].data[image * 64 * 48..(image + 1) * 64 * 48];
    let visible = ids.iter().flat_map(|id| patches[*id as usize * 48..(*id as usize + 1) * 48].to_vec()).collect();
    (ids, visible)
}

#[test]
fn tract_equals_the_official_latent() {
    let ((spec, tensors), forward) = (encoder(), parity("forward.safetensors"));
    // Measured on these weights: f32 3e-6; w8 0.99996; int8 0.9999.
    for (form, bound) in [(Precision::F32, 1.0), (Precision::W8, 0.9995), (Precision::Int8, 0.999)] {
        let onnx = export::onnx::encoder(&spec, &tensors, form).expect("export");
        let mut tract = TractEncoder::from_onnx(&spec, form, &onnx).expect("load");
        for image in 0..4 {
            let (ids, patches) = visible(&forward, image);
            let found = tract.encode(&patches, &ids).expect("encode");
            let latent = &forward["latent"].data[image * 17 * 48..(image + 1) * 17 * 48];
            let mean: Vec<f32> = (0..48).map(|d| (1..17).map(|t| latent[t * 48 + d]).sum::<f32>() / 16.0).collect();
            if form == Precision::F32 {
                assert!(worst(&found.cls, &latent[..48]) < 1e-5);
                assert!(worst(&found.tokens, &latent[48..]) < 1e-5);
                assert!(worst(&found.mean, &mean) < 1e-5);
            } else {
                let (cls, mean) = (cosine(&found.cls, &latent[..48]), cosine(&found.mean, &mean));
                println!("{form}: cosine of cls {cls}, of mean {mean}");
                assert!(cls > bound && mean > bound, "{form}: {cls} {mean}");
            }
        }
    }
}

#[test]
fn every_number_of_patches_works_and_equals_burn() {
    let ((spec, tensors), forward) = (encoder(), parity("forward.safetensors"));
    let burn = BurnEncoder::new(&spec, &tensors).expect("burn");
    let onnx = export::onnx::encoder(&spec, &tensors, Precision::F32).expect("export");
    let mut tract = TractEncoder::from_onnx(&spec, Precision::F32, &onnx).expect("load");
    let patches = &forward["patches"].data;
    for count in [1, 2, 7, 33, 64, 3, 9, 12, 20, 50, 1] {
        let ids: Vec<u32> = (0..count).map(|i| (i * 37 % 64) as u32).collect();
        let visible: Vec<f32> =
            ids.iter().flat_map(|id| patches[*id as usize * 48..(*id as usize + 1) * 48].to_vec()).collect();
        let (found, expected) = (tract.encode(&visible, &ids).expect("tract"), burn.encode(&visible, &ids, count));
        let expected = expected.expect("burn").remove(0);
        assert!(worst(&found.cls, &expected.cls) < 1e-5 && worst(&found.mean, &expected.mean) < 1e-5, "{count}");
    }
    assert!(matches!(tract.encode(&[], &[]), Err(TractError::Input(_))));
    assert!(matches!(tract.encode(&[0.0; 48], &[64]), Err(TractError::Input(_))));
    assert!(matches!(tract.encode(&[0.0; 47], &[1]), Err(TractError::Input(_))));
}

/// With instructions for it or with the portable products.
#[test]
fn products_in_bf16_hardly_turn_a_feature() {
    let ((spec, tensors), forward) = (encoder(), parity("forward.safetensors"));
    let exact = BurnEncoder::new(&spec, &tensors).expect("burn");
    let rounded = BurnEncoder::new(&spec, &tensors).expect("burn").with_ops(Ops::FusedBf16);
    for count in [16, 64] {
        let ids: Vec<u32> = (0..count as u32).collect();
        let visible = &forward["patches"].data[..count * 48];
        let [exact, found] =
            [&exact, &rounded].map(|encoder| encoder.encode(visible, &ids, count).expect("features"));
        for (exact, found) in [(&exact[0].cls, &found[0].cls), (&exact[0].mean, &found[0].mean)] {
            let near = cosine(exact, found);
            assert!(near > 0.9999 && exact != found, "{count} patches: {near}");
        }
    }
}

#[test]
fn a_model_folder_is_read_back_and_damage_is_named() {
    let (spec, tensors) = encoder();
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().join("model");
    export::write(&path, &spec, &tensors, &EncoderPrecision::ALL, "a test").expect("write");
    let (found_spec, found) = export::read_back(&path).expect("read");
    assert_eq!(found_spec, spec);
    assert_eq!(encoder_hash(&found), spec.hash, "names, shapes and values are those that were exported");

    // Only 8-bit weights: still readable, no longer exact.
    export::write(&path, &spec, &tensors, &[EncoderPrecision::W8, EncoderPrecision::Int8], "a test").expect("write");
    assert!(!path.join("encoder.onnx").exists());
    let (_, found) = export::read_back(&path).expect("read");
    assert!(worst(&found["blocks.1.mlp.fc2.weight"].data, &tensors["blocks.1.mlp.fc2.weight"].data) < 0.01);
    let folder = ModelFolder::open(&path).expect("open");
    assert!(matches!(
        TractEncoder::load(&folder, Precision::F32),
        Err(TractError::Model(ModelError::Precision { .. }))
    ));

    let file = path.join("encoder.w8.onnx");
    let bytes = std::fs::read(&file).expect("read");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("write");
    assert!(matches!(TractEncoder::load(&folder, Precision::W8), Err(TractError::Model(ModelError::Checksum(_)))));
    assert!(matches!(export::read_back(&path), Err(export::ExportError::Model(ModelError::Checksum(_)))));
    for length in [0, 1, bytes.len() / 3, bytes.len() - 1] {
        assert!(TractEncoder::from_onnx(&spec, Precision::W8, &bytes[..length]).is_err(), "{length}");
    }
    for (text, wanted) in [("", "format"), ("format = 7", "format 7"), ("format = 1\nmade_by = 3", "made_by")] {
        std::fs::write(path.join("model.toml"), text).expect("write");
        let error = ModelFolder::open(&path).expect_err("damaged").to_string();
        assert!(error.contains(wanted) || error.contains("string"), "{error}");
    }
}

#[test]
fn a_native_encoder_is_mapped_and_damage_is_named() {
    let (spec, tensors) = encoder();
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().join("model");
    export::write(&path, &spec, &tensors, &[EncoderPrecision::Native], "a test").expect("write");
    let folder = ModelFolder::open(&path).expect("open");
    let file = NativeFile::open(&folder).expect("map");
    let model = file.model(&folder).expect("model");
    assert_eq!(model.blocks().len(), 2);
    assert_eq!(model.norm().gamma, tensors["norm.weight"].data);
    assert!(matches!(folder.read(Precision::F32), Err(ModelError::Precision { present, .. }) if present == "native"));

    // Another model's, whole as it is.
    let mut other = spec;
    other.hash.0[0] ^= 1;
    let native = path.join("encoder.native");
    let good = std::fs::read(&native).expect("read");
    let swap = |bytes: &[u8]| {
        std::fs::write(path.join("new"), bytes).expect("write");
        std::fs::rename(path.join("new"), &native).expect("rename");
        NativeFile::open(&folder).expect("map").model(&folder).expect_err("unusable")
    };
    assert!(matches!(swap(&export::native_encoder(&other, &tensors).expect("bytes")), NativeFileError::Other(_)));
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    for bad in [&good[..good.len() / 2], &flipped, b"", b"text"] {
        let error = swap(bad);
        assert!(matches!(error, NativeFileError::Model { .. }) && error.to_string().contains("encoder.native"));
    }
    std::fs::remove_file(&native).expect("remove");
    assert!(matches!(NativeFile::open(&folder), Err(NativeFileError::Io { .. })));

    export::write(&path, &spec, &tensors, &[EncoderPrecision::F32], "a test").expect("write");
    let folder = ModelFolder::open(&path).expect("open");
    assert!(matches!(NativeFile::open(&folder), Err(NativeFileError::Folder(ModelError::NoNative(_)))));
}

#[test]
fn a_diverged_or_incomplete_training_is_not_exported() {
    let (spec, mut tensors) = encoder();
    tensors.get_mut("norm.bias").expect("there").data[3] = f32::NAN;
    let error = export::onnx::encoder(&spec, &tensors, Precision::F32).expect_err("NaN");
    assert!(error.to_string().contains("norm.bias"), "{error}");
    let error = export::native_encoder(&spec, &tensors).expect_err("NaN");
    assert!(error.to_string().contains("norm.bias"), "{error}");
    tensors.remove("blocks.0.mlp.fc1.weight");
    let error = export::native_encoder(&spec, &tensors).expect_err("missing");
    assert!(error.to_string().contains("blocks.0.mlp.fc1.weight"), "{error}");
    let error = export::onnx::encoder(&spec, &tensors, Precision::Int8).expect_err("missing");
    assert!(error.to_string().contains("blocks.0.mlp.fc1.weight"), "{error}");
}
