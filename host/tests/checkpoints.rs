//! Checkpoints of other programs: every format gives the same model, and back the same bytes (`tests/parity/mae-32`).

use common::{
    model::{Pooling, PositionKind},
    normalize::PixelStats,
    position::sincos_2d_table,
};
use host::{
    export,
    formats::{
        classifier::Classifier,
        error::ImportError,
        export::{ExportError, Exported},
        finding::Provenance,
        import::{Imported, Warning, import},
        infer::{Given, Inferred, infer},
        official, source,
    },
    model::{BurnEncoder, MaeConfig},
    tensors::{NamedTensor, Tensors, encoder_hash, encoder_hash_with, safetensors},
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn parity(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32")).join(name)
}

fn read(path: &Path, given: Given) -> Imported {
    let given = &given;
    let source = source::open(path, None).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
    import(source, given).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
}

fn tensors(path: &Path) -> Tensors {
    safetensors::read(path).expect("tensors").0
}

fn exported(imported: &Imported) -> Exported<'_> {
    let Imported { config, pixels, mask_ratio, tensors, pooling, head, .. } = imported;
    Exported { config, pixels, mask_ratio: *mask_ratio, tensors, pooling: *pooling, head: head.as_ref() }
}

fn origin<'a>(imported: &'a Imported, name: &str) -> &'a str {
    let finding = imported.findings.iter().find(|finding| finding.name == name);
    match &finding.unwrap_or_else(|| panic!("{name}")).origin {
        Provenance::Given => "given",
        Provenance::Found(place) => place,
    }
}

#[test]
fn every_format_gives_the_same_model() {
    let pth = read(&parity("checkpoint.pth"), Given::default());
    assert_eq!((pth.names, pth.decoder, pth.config.position), ("official", true, PositionKind::SinCos2d));
    let MaeConfig { image_height, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads, .. } = pth.config;
    assert_eq!((image_height, dim, depth, heads), (32, 48, 2, 3));
    assert_eq!((decoder_dim, decoder_depth, decoder_heads, pth.config.mlp_ratio), (32, 2, 4, 4.0));
    assert_eq!(origin(&pth, "heads"), "num_heads in config.json");
    assert_eq!(origin(&pth, "norm_pix_loss"), "assumed: the paper's");
    assert!(pth.tensors.keys().all(|name| !name.ends_with("pos_embed")), "the fixed tables are not stored");
    for file in ["checkpoint.safetensors", "huggingface", "huggingface/model.safetensors"] {
        let other = read(&parity(file), Given::default());
        assert_eq!((&other.config, &other.tensors), (&pth.config, &pth.tensors), "{file}");
    }
    let huggingface = read(&parity("huggingface"), Given::default());
    assert_eq!(huggingface.names, "huggingface");
    assert_eq!(origin(&huggingface, "heads"), "num_attention_heads in config.json");
    assert_eq!(origin(&huggingface, "norm_pix_loss"), "norm_pix_loss in config.json");
}

#[test]
fn what_is_exported_has_the_same_bytes() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name);
    let original = tensors(&parity("checkpoint.safetensors"));
    // official, Hugging Face, official, each from the one before.
    let first = read(&parity("checkpoint.pth"), Given::default());
    exported(&first).huggingface(&path("hf")).expect("folder");
    assert_eq!(tensors(&path("hf/model.safetensors")), tensors(&parity("huggingface/model.safetensors")));
    let second = read(&path("hf"), Given::default());
    exported(&second).official(&path("back.pth")).expect("file");
    exported(&second).official(&path("back.safetensors")).expect("file");
    assert_eq!(tensors(&path("back.safetensors")), original);
    // Alone in a folder: the files say themselves what shapes do not.
    for name in ["back.pth", "back.safetensors"] {
        let alone = tempfile::tempdir().expect("folder");
        let file = alone.path().join(name);
        std::fs::copy(path(name), &file).expect("copy");
        assert_eq!(source::open(&file, None).expect("file").tensors, original);
        let last = read(&file, Given::default());
        assert_eq!((&last.config, last.mask_ratio, last.pixels), (&first.config, first.mask_ratio, first.pixels));
        assert_eq!(origin(&last, "heads"), "num_heads in the file's arguments");
    }
    // timm: the encoder alone.
    exported(&first).timm(&path("timm")).expect("folder");
    let timm = read(&path("timm"), Given::default());
    assert!(!timm.decoder && timm.tensors.keys().all(|name| first.tensors[name] == timm.tensors[name]));
    assert_eq!(encoder_hash(&timm.tensors), encoder_hash(&first.tensors));
    assert_eq!((origin(&timm, "heads"), timm.pixels), ("num_heads in config.json", first.pixels));
    // And Hugging Face's encoder alone.
    exported(&timm).huggingface(&path("vit")).expect("folder");
    assert!(tensors(&path("vit/model.safetensors")).keys().all(|name| !name.starts_with("vit.")));
    assert_eq!(read(&path("vit"), Given::default()).tensors, timm.tensors);
}

/// Tensors with the shapes of `config` and no values.
fn shapes(config: &MaeConfig, decoder: bool) -> Tensors {
    let all = official::parameters(config, decoder).into_iter();
    all.map(|(name, shape)| (name, NamedTensor { shape, data: vec![] })).collect()
}

#[test]
fn the_papers_models_are_known_by_their_shapes() {
    for name in ["base-224", "large-224", "huge-224", "tiny-224", "pico-32"] {
        let preset = host::preset::Preset::named(name).expect(name);
        let config = preset.with_recipe(host::preset::Recipe::Paper).model;
        for decoder in [true, false] {
            let heads = |width: usize, heads: usize, of: usize| (width / of != heads).then_some(heads);
            // Heads of other widths than the paper's must be told, except those of ViT-H.
            let told = heads(config.dim, config.heads, 64).filter(|_| name != "huge-224");
            let decoder_heads = heads(config.decoder_dim, config.decoder_heads, 32);
            let given = Given { heads: told, decoder_heads, ..Given::default() };
            let found =
                infer(&shapes(&config, decoder), &[], &given).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(found.decoder, decoder);
            let expected = MaeConfig { position: found.config.position, ..config.clone() };
            match decoder {
                true => assert_eq!(found.config, expected, "{name}"),
                false => assert_eq!(
                    (found.config.dim, found.config.depth, found.config.heads, found.config.patch_size),
                    (expected.dim, expected.depth, expected.heads, expected.patch_size)
                ),
            }
        }
    }
}

#[test]
fn arguments_go_before_config_and_options_before_both() {
    let mut config = read(&parity("checkpoint.pth"), Given::default()).config;
    config.dim = 768;
    let facts = |origin: &str, name: &str, value: serde_json::Value| source::Facts {
        origin: origin.into(),
        values: [(name.to_owned(), value)].into_iter().collect(),
    };
    let heads = |facts: &[source::Facts], given| {
        let found = infer(&shapes(&config, true), facts, &Given { heads: given, ..Given::default() }).expect("model");
        let origin = found.findings.iter().find(|finding| finding.name == "heads").expect("heads").origin.clone();
        (found.config.heads, origin)
    };
    let arguments = facts("the file's arguments", "num_heads", 8.into());
    let json = facts("config.json", "num_heads", 6.into());
    assert_eq!(heads(&[arguments.clone(), json.clone()], Some(4)), (4, Provenance::Given));
    assert_eq!(heads(&[arguments, json.clone()], None), (8, "num_heads in the file's arguments".into()));
    assert_eq!(heads(&[json], None), (6, "num_heads in config.json".into()));
    assert_eq!(heads(&[], None), (12, "assumed: as in ViT-B".into()));
    // The official training names its model, not its heads.
    let official = facts("the file's arguments", "model", "mae_vit_base_patch16".into());
    assert_eq!(heads(&[official], None), (12, "model in the file's arguments".into()));
    let error = infer(&shapes(&config, true), &[], &Given { heads: Some(7), ..Given::default() });
    assert_eq!(error.expect_err("7 heads").to_string(), "7 heads (given) do not divide the width 768");
}

/// The error of importing the parity checkpoint after `change`.
fn refused(file: &str, change: impl FnOnce(&mut Tensors)) -> String {
    let mut source = source::open(&parity(file), None).expect("file");
    change(&mut source.tensors);
    import(source, &Given::default()).expect_err("a wrong file").to_string()
}

#[test]
fn the_first_wrong_tensor_is_named() {
    let name = "blocks.1.attn.qkv.weight";
    let error = refused("checkpoint.pth", |tensors| {
        tensors.remove(name);
        tensors.remove("decoder_pred.bias");
    });
    assert_eq!(error, format!("the tensor `{name}` is missing"));
    let error = refused("checkpoint.pth", |tensors| tensors.get_mut(name).expect("tensor").shape = vec![100, 48]);
    assert_eq!(error, format!("the tensor `{name}` is [100, 48] where [144, 48] is needed"));
    let error = refused("checkpoint.pth", |tensors| {
        tensors.insert("blocks.0.ls1.gamma".into(), NamedTensor { shape: vec![48], data: vec![0.0; 48] });
    });
    assert!(error.starts_with("the model has layer scale (`blocks.0.ls1.gamma`)"), "{error}");
    let error = refused("checkpoint.pth", |tensors| {
        tensors.insert("blocks.0.attn.novel".into(), NamedTensor { shape: vec![48], data: vec![0.0; 48] });
    });
    assert!(error.starts_with("the tensor `blocks.0.attn.novel` has no place"), "{error}");
    let error = refused("checkpoint.pth", |tensors| tensors.retain(|name, _| name.starts_with("norm.")));
    assert!(error.contains("it holds 2 tensors: 2 of `norm.*` (`norm.bias` [48])"), "{error}");
    // In Hugging Face's names.
    let key = "decoder.decoder_layers.1.attention.attention.key.bias";
    let error = refused("huggingface", |tensors| drop(tensors.remove(key)));
    assert_eq!(error, format!("the tensor `{key}` is missing"));
    let norm = "vit.encoder.layer.0.layernorm_after.weight";
    let error = refused("huggingface", |tensors| tensors.get_mut(norm).expect("tensor").shape = vec![47]);
    assert_eq!(error, format!("the tensor `{norm}` is [47] where [48] is needed"));
    let error = refused("huggingface", |tensors| {
        tensors.get_mut(key).expect("tensor").shape = vec![];
    });
    assert!(error.contains(key), "{error}");
}

#[test]
fn wrapped_and_fine_tuned_files_are_read() {
    let original = read(&parity("checkpoint.pth"), Given::default());
    let mut source = source::open(&parity("checkpoint.pth"), None).expect("file");
    let encoder =
        source.tensors.into_iter().filter(|(name, _)| host::tensors::is_encoder(name) || name == "pos_embed");
    source.tensors = encoder.map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
    source.tensors.insert("module.head.bias".into(), NamedTensor { shape: vec![10], data: vec![0.0; 10] });
    let found = import(source, &Given::default()).expect("an encoder");
    assert!(!found.decoder);
    assert_eq!(found.notes, ["the classifier is left out: it has no weights"]);
    assert_eq!(encoder_hash(&found.tensors), encoder_hash(&original.tensors));
}

#[test]
fn a_norm_after_pooling_is_the_last_norm_of_a_model_that_is_read_so() {
    let mut source = source::open(&parity("checkpoint.pth"), None).expect("file");
    for part in ["weight", "bias"] {
        let tensor = source.tensors.remove(&format!("norm.{part}")).expect("a norm");
        source.tensors.insert(format!("fc_norm.{part}"), tensor);
    }
    let found = import(source, &Given::default()).expect("a model");
    assert_eq!(found.tensors, read(&parity("checkpoint.pth"), Given::default()).tensors);
    assert_eq!((found.pooling, found.notes.len()), (Pooling::MeanNorm, 0));
}

/// The parity encoder as a classifier of three classes.
fn classifier(pooling: Pooling) -> Imported {
    let mut model = read(&parity("checkpoint.pth"), Given::default());
    model.tensors.retain(|name, _| host::tensors::is_encoder(name));
    let weights = (0..3 * 48).map(|i| (i as f32 * 0.37).sin()).collect();
    let classes = ["cat", "a \"dog\"", "Vögel"].map(str::to_owned).to_vec();
    model.head = Some(Classifier { weights, bias: vec![0.5, -0.25, 0.125], classes });
    (model.pooling, model.decoder) = (pooling, false);
    model
}

#[test]
fn classifiers_come_back_with_head_pooling_and_names_of_classes() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name);
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::MeanNorm] {
        let model = classifier(pooling);
        exported(&model).official(&path("c.pth")).expect("file");
        exported(&model).official(&path("c.safetensors")).expect("file");
        exported(&model).timm(&path("timm")).expect("folder");
        let mut files = vec!["c.pth", "c.safetensors", "timm"];
        match (exported(&model).huggingface(&path("hf")), pooling) {
            (Ok(()), Pooling::Cls) => files.push("hf"),
            (Err(ExportError::Pooling), Pooling::Mean | Pooling::MeanNorm) => {}
            (other, _) => panic!("{pooling:?}: {other:?}"),
        }
        for file in files {
            let again = read(&path(file), Given::default());
            assert_eq!((again.pooling, &again.head), (model.pooling, &model.head), "{pooling:?} {file}");
            assert_eq!((&again.tensors, again.config.heads), (&model.tensors, 3), "{pooling:?} {file}");
            assert!(again.notes.is_empty(), "{:?}", again.notes);
        }
    }
    let names = tensors(&path("timm/model.safetensors"));
    assert!(names.contains_key("fc_norm.bias") && !names.contains_key("norm.bias"), "strict readers want it so");
    // Names of classes may be given.
    let classes = Some(vec!["a".to_owned(), "b".into(), "c".into()]);
    let again = read(&path("timm"), Given { classes: classes.clone(), ..Given::default() });
    assert_eq!(again.head.map(|head| head.classes), classes);
    let two = Given { classes: Some(vec!["a".into(), "b".into()]), ..Given::default() };
    let error = import(source::open(&path("timm"), None).expect("folder"), &two).expect_err("two names");
    assert_eq!(error.to_string(), "2 names of classes were given for a head of 3");
}

#[test]
fn heads_that_nothing_states_are_warned_about_with_what_is_published() {
    let config = |dim, decoder_dim, decoder_heads| MaeConfig {
        dim,
        heads: dim / 64,
        decoder_dim,
        decoder_heads,
        ..host::preset::Preset::named("tiny-224").expect("preset").model
    };
    let found = |config: &MaeConfig, decoder| infer(&shapes(config, decoder), &[], &Given::default()).expect("model");
    let assumed = |inferred: &Inferred, name: &str| {
        inferred.assumptions.iter().find(|assumption| assumption.name == name).map(|a| a.others.clone())
    };
    let tiny = found(&config(192, 512, 16), true);
    let others = assumed(&tiny, "heads").expect("a warning");
    assert!(tiny.config.heads == 3 && others.contains("3 (ViT-Tiny") && others.contains("12 (MAE-Lite"), "{others}");
    let small = found(&config(384, 512, 16), false);
    assert!(
        small.config.heads == 6 && assumed(&small, "heads").is_some_and(|others| others.contains("12 (MoCo v3)"))
    );
    // MAE-Lite's own decoder tells.
    let lite = found(&config(192, 96, 3), true);
    assert_eq!((lite.config.heads, lite.config.decoder_heads, assumed(&lite, "heads")), (12, 3, None));
    let odd = found(&config(320, 512, 16), false);
    assert!(odd.config.heads == 5 && assumed(&odd, "heads").is_some_and(|others| others.contains("no model 320")));
}

#[test]
fn the_stated_size_is_taken_and_a_square_is_assumed_aloud() {
    let mut config = read(&parity("checkpoint.pth"), Given::default()).config;
    // 16 patches of 4: 16x16, or 8x32.
    (config.image_height, config.image_width) = (8, 32);
    let tensors = shapes(&config, true);
    let size = |name: &str, value: serde_json::Value, given: Option<(usize, usize)>| {
        let facts =
            source::Facts { origin: "a file".into(), values: [(name.to_owned(), value)].into_iter().collect() };
        let given = Given { trained_size: given, heads: Some(3), decoder_heads: Some(4), ..Given::default() };
        infer(&tensors, &[facts], &given).map(|found| {
            let assumed = found.assumptions.iter().any(|assumption| assumption.name == "image");
            ((found.config.image_height, found.config.image_width), assumed)
        })
    };
    let two = |name: &str, value: serde_json::Value| size(name, value, None).expect("a size");
    assert_eq!(two("img_size", vec![8, 32].into()), ((8, 32), false));
    assert_eq!(two("input_size", vec![3, 8, 32].into()), ((8, 32), false));
    assert_eq!(two("size", serde_json::json!({ "height": 8, "width": 32 })), ((8, 32), false));
    assert_eq!(two("model_args", serde_json::json!({ "img_size": [32, 8] })), ((32, 8), false));
    assert_eq!(two("image_size", 16.into()), ((16, 16), false), "stated, so no assumption");
    assert_eq!(two("image_size", 18.into()), ((16, 16), false), "whole patches of it");
    assert_eq!(two("image_size", 64.into()), ((16, 16), true), "what is stated does not fit");
    assert_eq!(two("other", 1.into()), ((16, 16), true));
    assert_eq!(size("image_size", 16.into(), Some((8, 32))).expect("given"), ((8, 32), false));
    let error = size("other", 1.into(), Some((8, 8))).expect_err("a wrong size").to_string();
    assert!(error.contains("8x8 (given) does not fit"), "{error}");
}

#[test]
fn tables_of_zeros_are_warned_about_and_the_fixed_ones_put_in_their_place() {
    let zeroed = |given: &Given| {
        let mut source = source::open(&parity("huggingface"), None).expect("folder");
        for name in ["vit.embeddings.position_embeddings", "decoder.decoder_pos_embed"] {
            source.tensors.get_mut(name).expect("a table").data.fill(0.0);
        }
        import(source, given).expect("a model")
    };
    let zeros = zeroed(&Given::default());
    assert_eq!(
        (zeros.config.position, zeros.warnings.as_slice()),
        (PositionKind::Stored, &[Warning::NoPositions][..])
    );
    let fixed = zeroed(&Given { fixed_positions: true, ..Given::default() });
    assert!(fixed.warnings.is_empty());
    assert_eq!(fixed.tensors, read(&parity("huggingface"), Given::default()).tensors);
    assert_eq!(fixed.config.position, PositionKind::SinCos2d);
}

#[test]
fn pixel_statistics_are_given_stated_or_assumed_aloud() {
    let read = |pixels| read(&parity("checkpoint.pth"), Given { pixels, ..Given::default() });
    let assumed = |model: &Imported| model.assumptions.iter().any(|assumption| assumption.name == "pixels");
    assert!(assumed(&read(None)));
    let half = read(Some((vec![0.5; 3], vec![0.5; 3])));
    assert!(!assumed(&half) && half.pixels.mean[..3] == [0.5; 3] && half.pixels.std[..3] == [0.5; 3]);
    // And kept by a file of ours.
    let root = tempfile::tempdir().expect("folder");
    for name in ["half.pth", "half.safetensors"] {
        exported(&half).official(&root.path().join(name)).expect("file");
        let again = plain(&root.path().join(name));
        assert!(again.pixels == half.pixels && again.assumptions.is_empty(), "{:?}", again.assumptions);
    }
    let source = source::open(&parity("checkpoint.pth"), None).expect("file");
    let one = Given { pixels: Some((vec![0.5], vec![0.5])), ..Given::default() };
    assert!(matches!(import(source, &one), Err(ImportError::Pixels { channels: 3, mean: 1, std: 1 })));
}

fn plain(path: &Path) -> Imported {
    read(path, Given::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Through each format and back: the same sizes, heads, pixels and hash, and nothing assumed.
    #[test]
    fn every_geometry_survives_every_format(
        (rows, cols) in (1_usize..9, 1_usize..9),
        patch in prop::sample::select(vec![1_usize, 2, 4, 7, 8, 16]),
        channels in 1_usize..=4,
        (heads, width) in (1_usize..5, 1_usize..5),
        (decoder_heads, decoder_width) in (1_usize..4, 1_usize..4),
        (depth, decoder_depth) in (1_usize..4, 1_usize..3),
        mlp in prop::sample::select(vec![1.0, 2.5, 4.0]),
        stored in any::<bool>(),
    ) {
        let config = MaeConfig {
            image_height: rows * patch,
            image_width: cols * patch,
            channels,
            patch_size: patch,
            dim: 4 * heads * width,
            depth,
            heads,
            decoder_dim: 4 * decoder_heads * decoder_width,
            decoder_depth,
            decoder_heads,
            decoder: Default::default(),
            mlp_ratio: mlp,
            norm_pix_loss: stored,
            position: if stored { PositionKind::Stored } else { PositionKind::SinCos2d },
        };
        prop_assume!(config.validate().is_ok());
        let kept = |name: &str| stored || !name.ends_with("pos_embed");
        let parameters = official::parameters(&config, true).into_iter().filter(|(name, _)| kept(name));
        let tensors: Tensors = parameters
            .enumerate()
            .map(|(number, (name, shape))| {
                let count: usize = shape.iter().product();
                let data = (0..count).map(|i| ((number * 31 + i) as f32 * 0.61).sin()).collect();
                (name, NamedTensor { shape, data })
            })
            .collect();
        let pixels = PixelStats { mean: [0.1, 0.2, 0.3, 0.4], std: [0.5, 0.6, 0.7, 0.8] };
        let exported =
            Exported { config: &config, pixels: &pixels, mask_ratio: 0.6, tensors: &tensors, pooling: Pooling::Mean, head: None };
        let root = tempfile::tempdir().expect("folder");
        let path = |name: &str| root.path().join(name);
        exported.official(&path("m.pth")).expect("file");
        exported.official(&path("m.safetensors")).expect("file");
        exported.timm(&path("timm")).expect("folder");
        let mut files = vec!["m.pth", "m.safetensors", "timm"];
        match exported.huggingface(&path("hf")) {
            Ok(()) => files.push("hf"),
            Err(error) => prop_assert!(rows != cols, "{error}"),
        }
        let hash = encoder_hash_with(&tensors, config.position);
        for file in files {
            let again = plain(&path(file));
            prop_assert!(again.assumptions.is_empty(), "{file}: {:?}", again.assumptions);
            prop_assert_eq!(encoder_hash_with(&again.tensors, again.config.position), hash, "{}", file);
            prop_assert_eq!(&again.pixels.mean[..channels], &pixels.mean[..channels], "{}", file);
            let size = (again.config.image_height, again.config.image_width, again.config.patch_size);
            prop_assert_eq!(size, (rows * patch, cols * patch, patch), "{}", file);
            prop_assert_eq!((again.config.heads, again.config.channels), (heads, channels), "{}", file);
            if file != "timm" {
                prop_assert_eq!(&again.config, &config, "{}", file);
                prop_assert_eq!(&again.tensors, &tensors, "{}", file);
            }
        }
    }
}

#[test]
fn other_operations_are_refused_and_the_published_epsilon_is_told() {
    let with = |name: &str, value: serde_json::Value| {
        let mut source = source::open(&parity("huggingface"), None).expect("folder");
        source.facts.iter_mut().for_each(|facts| drop(facts.values.insert(name.into(), value.clone())));
        import(source, &Given::default())
    };
    let error = with("hidden_act", "relu".into()).expect_err("relu").to_string();
    assert!(error.contains("activation relu (hidden_act in") && error.contains("gelu"), "{error}");
    let error = with("layer_norm_eps", 1e-3.into()).expect_err("1e-3").to_string();
    assert!(error.contains("epsilon 1e-3 (layer_norm_eps in"), "{error}");
    let told = with("layer_norm_eps", 1e-12.into()).expect("the published value");
    assert!(origin(&told, "norm_eps").ends_with("is 1e-12"), "{}", origin(&told, "norm_eps"));
}

fn learned(imported: &mut Imported) {
    let config = &mut imported.config;
    config.position = PositionKind::Stored;
    for (name, dim) in [("pos_embed", config.dim), ("decoder_pos_embed", config.decoder_dim)] {
        let data = (0..65 * dim).map(|i| (i as f32 * 0.7).sin()).collect();
        imported.tensors.insert(name.into(), NamedTensor { shape: vec![1, 65, dim], data });
    }
}

#[test]
fn learned_tables_are_kept_hashed_and_exported() {
    let root = tempfile::tempdir().expect("folder");
    let mut model = read(&parity("checkpoint.pth"), Given::default());
    let fixed = encoder_hash_with(&model.tensors, PositionKind::SinCos2d);
    learned(&mut model);
    let file = root.path().join("learned.pth");
    exported(&model).official(&file).expect("file");
    let again = read(&file, Given::default());
    assert_eq!((&again.config, &again.tensors), (&model.config, &model.tensors));
    let hash = encoder_hash_with(&again.tensors, PositionKind::Stored);
    assert_ne!(hash, fixed);

    // Burn and tract compute with the table, class token's row included.
    let spec = model.config.encoder_spec(model.pixels, hash);
    let folder = root.path().join("model");
    let forms = edge::model_folder::Precision::ALL;
    export::write(&folder, &spec, &model.tensors, &[export::precision::EncoderPrecision::F32], "a test")
        .expect("model");
    let (found, tensors) = export::read_back(&folder).expect("model");
    assert_eq!((found, encoder_hash_with(&tensors, PositionKind::Stored)), (spec, hash));
    let ids: Vec<u32> = (0..20).map(|i| i * 3).collect();
    let patches: Vec<f32> = (0..20 * 48).map(|i| (i as f32 * 0.3).cos()).collect();
    let burn =
        BurnEncoder::new(&spec, &model.tensors).expect("encoder").encode(&patches, &ids, 20).expect("features");
    let model_folder = edge::model_folder::ModelFolder::open(&folder).expect("folder");
    let mut tract = edge::tract_runtime::TractEncoder::load(&model_folder, forms[0]).expect("tract");
    let tract = tract.encode(&patches, &ids).expect("features");
    let worst = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst(&burn[0].cls, &tract.cls) < 1e-4 && worst(&burn[0].mean, &tract.mean) < 1e-4);

    // A stored table that holds the fixed values computes the same as the fixed table.
    let grid = model.config.grid().expect("grid");
    for (name, dim) in [("pos_embed", 48), ("decoder_pos_embed", 32)] {
        model.tensors.get_mut(name).expect("table").data = sincos_2d_table(&grid, dim, true);
    }
    let stored = BurnEncoder::new(&spec, &model.tensors).expect("encoder");
    let sincos = common::model::EncoderSpec { position: PositionKind::SinCos2d, ..spec };
    let sincos = BurnEncoder::new(&sincos, &model.tensors).expect("encoder");
    let features = |encoder: &BurnEncoder| encoder.encode(&patches, &ids, 20).expect("features");
    assert_eq!(features(&stored), features(&sincos));
    assert!(worst(&features(&sincos)[0].mean, &burn[0].mean) > 0.01, "the learned table matters");
}

#[test]
fn another_image_size_interpolates_both_tables() {
    let given = Given { image_size: Some((48, 48)), ..Given::default() };
    let larger = read(&parity("checkpoint.pth"), given);
    assert_eq!((larger.config.image_height, larger.config.position), (48, PositionKind::Stored));
    assert_eq!(origin(&larger, "position"), "interpolated (bicubic) from 8x8 patches");
    assert_eq!(larger.tensors["pos_embed"].shape, [1, 145, 48]);
    assert_eq!(larger.tensors["decoder_pos_embed"].shape, [1, 145, 32]);
    assert!(larger.tensors["pos_embed"].data[..48].iter().all(|value| *value == 0.0), "the class token's stays");
    let error = import(
        source::open(&parity("checkpoint.pth"), None).expect("file"),
        &Given { image_size: Some((30, 30)), ..Given::default() },
    );
    let error = error.expect_err("30 pixels").to_string();
    assert!(error.contains("images of 30x30 pixels"), "{error}");
}
