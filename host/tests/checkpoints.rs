//! Checkpoints of other programs: every format gives the same model, and back the same bytes (`tests/parity/mae-32`).

use common::{model::PositionKind, position::sincos_2d_table};
use host::{
    export,
    formats::{
        export::Exported,
        finding::Provenance,
        import::{Imported, import},
        infer::{Given, infer},
        official, source,
    },
    model::{BurnEncoder, MaeConfig},
    tensors::{NamedTensor, Tensors, encoder_hash, encoder_hash_with, safetensors},
};
use std::path::{Path, PathBuf};

fn parity(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32")).join(name)
}

fn read(path: &Path, given: Given) -> Imported {
    let given = &given;
    let source = source::open(path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
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
    assert_eq!(origin(&pth, "norm_pix_loss"), "the paper's");
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
        assert_eq!(source::open(&file).expect("file").tensors, original);
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
        let config = host::preset::Preset::named(name).expect(name).model;
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
    assert_eq!(heads(&[], None), (12, "heads 64 wide, as in the paper".into()));
    // The official training names its model, not its heads.
    let official = facts("the file's arguments", "model", "mae_vit_base_patch16".into());
    assert_eq!(heads(&[official], None), (12, "model in the file's arguments".into()));
    let error = infer(&shapes(&config, true), &[], &Given { heads: Some(7), ..Given::default() });
    assert_eq!(error.expect_err("7 heads").to_string(), "7 heads (given) do not divide the width 768");
}

/// The error of importing the parity checkpoint after `change`.
fn refused(file: &str, change: impl FnOnce(&mut Tensors)) -> String {
    let mut source = source::open(&parity(file)).expect("file");
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
    assert!(error.starts_with("the tensor `blocks.0.ls1.gamma` has no place"), "{error}");
    assert_eq!(refused("checkpoint.pth", Tensors::clear), "the tensor `patch_embed.proj.weight` is missing");
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
    let mut source = source::open(&parity("checkpoint.pth")).expect("file");
    let encoder =
        source.tensors.into_iter().filter(|(name, _)| host::tensors::is_encoder(name) || name == "pos_embed");
    source.tensors = encoder.map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
    source.tensors.insert("module.head.bias".into(), NamedTensor { shape: vec![10], data: vec![0.0; 10] });
    let found = import(source, &Given::default()).expect("an encoder");
    assert!(!found.decoder);
    assert_eq!(found.notes, ["left out, a classifier's: head.bias"]);
    assert_eq!(encoder_hash(&found.tensors), encoder_hash(&original.tensors));
}

#[test]
fn a_norm_after_pooling_becomes_the_last_norm_with_a_note() {
    let mut source = source::open(&parity("checkpoint.pth")).expect("file");
    for part in ["weight", "bias"] {
        let tensor = source.tensors.remove(&format!("norm.{part}")).expect("a norm");
        source.tensors.insert(format!("fc_norm.{part}"), tensor);
    }
    let found = import(source, &Given::default()).expect("a model");
    assert_eq!(found.tensors, read(&parity("checkpoint.pth"), Given::default()).tensors);
    assert!(found.notes.len() == 1 && found.notes[0].contains("`fc_norm`"), "{:?}", found.notes);
}

#[test]
fn other_operations_are_refused_and_the_published_epsilon_is_told() {
    let with = |name: &str, value: serde_json::Value| {
        let mut source = source::open(&parity("huggingface")).expect("folder");
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
    let given = Given { image_size: Some(48), ..Given::default() };
    let larger = read(&parity("checkpoint.pth"), given);
    assert_eq!((larger.config.image_height, larger.config.position), (48, PositionKind::Stored));
    assert_eq!(origin(&larger, "position"), "interpolated (bicubic) from 8x8 patches");
    assert_eq!(larger.tensors["pos_embed"].shape, [1, 145, 48]);
    assert_eq!(larger.tensors["decoder_pos_embed"].shape, [1, 145, 32]);
    assert!(larger.tensors["pos_embed"].data[..48].iter().all(|value| *value == 0.0), "the class token's stays");
    let error = import(
        source::open(&parity("checkpoint.pth")).expect("file"),
        Given { image_size: Some(30), ..Given::default() },
    );
    let error = error.expect_err("30 pixels").to_string();
    assert!(error.contains("images of 30x30 pixels"), "{error}");
}
