//! Every library's names of one model, with every prefix and wrapper, give the same parameters.

use super::*;
use crate::{
    formats::official::parameters,
    model::MaeConfig,
    preset::{Preset, Recipe},
    tensors::{NamedTensor, is_encoder},
};
use proptest::prelude::*;

/// Two small blocks; encoder and decoder are of different widths.
fn config() -> MaeConfig {
    let model = Preset::named("pico-32").expect("a preset").with_recipe(Recipe::Paper).model;
    MaeConfig {
        image_height: 8,
        image_width: 8,
        patch_size: 4,
        dim: 8,
        depth: 2,
        heads: 2,
        decoder_dim: 4,
        decoder_depth: 2,
        decoder_heads: 1,
        ..model
    }
}

/// No two tensors of the model hold the same values.
fn model(decoder: bool) -> Tensors {
    let numbered = parameters(&config(), decoder).into_iter().zip(1_u16..);
    numbered
        .map(|((name, shape), number)| {
            let count: usize = shape.iter().product();
            (name, NamedTensor { shape, data: (0..count).map(|i| f32::from(number) + i as f32 / 1024.0).collect() })
        })
        .collect()
}

fn renamed(tensors: Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
}

fn replaced(name: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

const MM: [(&str, &str); 5] = [
    ("patch_embed.proj.", "patch_embed.projection."),
    ("norm1", "ln1"),
    ("norm2", "ln2"),
    ("mlp.fc1", "ffn.layers.0.0"),
    ("mlp.fc2", "ffn.layers.1"),
];
const TORCHVISION: [(&str, &str); 9] = [
    ("cls_token", "class_token"),
    ("pos_embed", "encoder.pos_embedding"),
    ("patch_embed.proj", "conv_proj"),
    ("blocks.", "encoder.layers.encoder_layer_"),
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
    ("attn.qkv.", "self_attention.in_proj_"),
    ("attn.proj", "self_attention.out_proj"),
    ("mlp.fc", "mlp.linear_"),
];

/// `tensors` in another library's names, the encoder's after `encoder` and the decoder's after `decoder`.
fn written(tensors: Tensors, dialect: Dialect, encoder: &str, decoder: &str) -> Tensors {
    match dialect {
        Dialect::Official => renamed(tensors, |name| {
            let own = is_encoder(name) || name == "pos_embed";
            format!("{}{name}", if own { encoder } else { decoder })
        }),
        Dialect::HuggingFace => {
            renamed(huggingface::from_official(&tensors), |name| match name.strip_prefix("vit.") {
                Some(name) => format!("{encoder}{name}"),
                None => format!("{decoder}{}", &name["decoder.".len()..]),
            })
        }
        Dialect::OpenMmLab => renamed(tensors, |name| {
            let name = replaced(name, &MM);
            if name.starts_with("decoder_") || name == "mask_token" {
                return format!("{decoder}{}", name.replace("decoder_norm", "ln1"));
            }
            let name = name.replace("blocks.", "layers.");
            format!("{encoder}{}", if name.starts_with("norm.") { name.replace("norm.", "ln1.") } else { name })
        }),
        Dialect::Torchvision => renamed(tensors, |name| {
            let norm = name.strip_prefix("norm.").map(|part| format!("encoder.ln.{part}"));
            let name = norm.unwrap_or_else(|| name.to_owned());
            format!("{encoder}{}", replaced(&name, &TORCHVISION))
        }),
    }
}

fn bare(tensors: Tensors) -> Result<Named, ImportError> {
    find(tensors, &BTreeSet::new(), &Unreadable::new(), None)
}

fn found(tensors: Tensors) -> Named {
    bare(tensors).unwrap_or_else(|error| panic!("{error}"))
}

proptest! {
    #[test]
    fn any_prefix_and_wrapper_of_any_librarys_names_is_found(
        dialect in prop::sample::select(Dialect::ANCHORS.map(|(dialect, _)| dialect).to_vec()),
        prefix in "(([a-z][a-z_]{0,5}[0-9]?)\\.){0,3}",
        wrapper in prop::sample::select(vec!["", "module.", "_orig_mod.module."]),
        inner in prop::sample::select(vec!["", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module."]),
        decoder in any::<bool>(),
    ) {
        let decoder = decoder && dialect != Dialect::Torchvision;
        let before = if dialect == Dialect::Official && prefix.is_empty() { "" } else { "decoder." };
        let file = written(model(decoder), dialect, &prefix, before);
        let file = renamed(file, |name| {
            let wrapped = name.replace(".0.", &format!(".0.{inner}"));
            format!("{wrapper}{wrapped}")
        });
        let named = found(file);
        prop_assert_eq!((named.dialect, named.prefix.as_str()), (Some(dialect), prefix.as_str()));
        prop_assert_eq!(named.decoder, decoder);
        prop_assert!(named.left_out.is_empty(), "{:?}", named.left_out);
        prop_assert_eq!(named.tensors, model(decoder));
    }
}

/// As lightly 1.6 and solo-learn save it.
#[test]
fn a_decoder_beside_the_encoder_and_a_trainings_own_tensors() {
    let mut file = written(model(true), Dialect::Official, "backbone.vit.", "decoder.");
    let own = |shape: &[usize]| NamedTensor { shape: shape.to_vec(), data: vec![9.0; shape.iter().product()] };
    file.insert("backbone.mask_token".into(), own(&[1, 1, 8]));
    file.insert("projection_head.layers.0.weight".into(), own(&[3, 8]));
    file.insert("queue".into(), own(&[2]));
    let named = found(file);
    assert_eq!(named.tensors, model(true), "the decoder's mask token, not the encoder's own");
    assert_eq!(named.left_out, ["backbone.mask_token", "projection_head.layers.0.weight", "queue"]);
}

#[test]
fn of_several_encoders_the_evaluated_one_is_taken_and_the_others_are_said() {
    let with = |names: &[&str]| -> Tensors {
        let copies = names.iter().zip(1_u8..).flat_map(|(prefix, factor)| {
            let mut copy = model(false);
            copy.values_mut().for_each(|tensor| tensor.data.iter_mut().for_each(|v| *v *= f32::from(factor)));
            renamed(copy, |name| format!("{prefix}{name}"))
        });
        copies.collect()
    };
    for (prefixes, taken) in [
        (["student.backbone.", "teacher.backbone."], "teacher.backbone."),
        (["backbone.", "momentum_backbone."], "backbone."),
        (["base_encoder.", "momentum_encoder."], "base_encoder."),
        (["encoder_q.", "encoder_k."], "encoder_q."),
        (["", "ema."], ""),
        (["model.", "model_ema."], "model."),
    ] {
        let named = found(with(&prefixes));
        let other = *prefixes.iter().find(|prefix| **prefix != taken).expect("another");
        assert_eq!((named.prefix.as_str(), named.others), (taken, vec![other.to_owned()]));
        let chosen = find(
            with(&prefixes),
            &BTreeSet::new(),
            &Unreadable::new(),
            Some(other.split('.').next().expect("a segment")),
        )
        .expect("the other");
        assert_eq!(chosen.prefix, other);
        assert_ne!(chosen.tensors, named.tensors);
    }
}

#[test]
fn what_is_left_out_or_zero_elsewhere_is_exact_here() {
    // Queries and values with a bias, keys without: `attn.q_bias` and `attn.v_bias`, as BEiT's.
    let mut file = model(false);
    for block in 0..2 {
        let bias = file.remove(&format!("blocks.{block}.attn.qkv.bias")).expect("a bias").data;
        for (part, data) in [("q", &bias[..8]), ("v", &bias[16..])] {
            let tensor = NamedTensor { shape: vec![8], data: data.to_vec() };
            file.insert(format!("blocks.{block}.attn.{part}_bias"), tensor);
        }
    }
    let mut expected = model(false);
    for block in 0..2 {
        expected.get_mut(&format!("blocks.{block}.attn.qkv.bias")).expect("a bias").data[8..16].fill(0.0);
    }
    assert_eq!(found(file).tensors, expected);
    // No biases of one kind of layer at all; but one that is missing is missing.
    let mut file = model(false);
    file.retain(|name, _| !name.ends_with("mlp.fc1.bias"));
    let named = found(file);
    assert_eq!(named.without_bias, ["blocks.*.mlp.fc1"]);
    assert!(named.tensors["blocks.1.mlp.fc1.bias"].data.iter().all(|v| *v == 0.0));
    let mut file = model(false);
    file.remove("blocks.1.mlp.fc1.bias");
    assert!(!found(file).tensors.contains_key("blocks.1.mlp.fc1.bias"));
}

#[test]
fn what_is_not_computed_is_named() {
    for (name, what) in [
        ("blocks.0.ls1.gamma", "layer scale"),
        ("blocks.0.gamma_1", "layer scale"),
        ("layers.0.attn.gamma1.weight", "layer scale"),
        ("encoder.layer.0.layer_scale1.lambda1", "layer scale"),
        ("blocks.0.attn.q_norm.weight", "norms of queries and keys"),
        ("reg_token", "register tokens"),
        ("embeddings.register_tokens", "register tokens"),
        ("storage_tokens", "register tokens"),
        ("dist_token", "a distillation token"),
        ("embeddings.distillation_token", "a distillation token"),
        ("rope_embed.periods", "rotary positions"),
        ("blocks.0.attn.rope.freqs", "rotary positions"),
        ("blocks.0.mlp.w12.weight", "SwiGLU"),
        ("blocks.0.mlp.fc1_g.weight", "SwiGLU"),
        ("blocks.0.attn.relative_position_bias_table", "relative positions"),
        ("norm_pre.weight", "a norm before the blocks"),
        ("patch_embed.norm.weight", "a patch embedding of several layers"),
        ("blocks.0.attn.qkv.lora_A.default.weight", "LoRA adapters: merge them first"),
    ] {
        for prefix in ["", "backbone."] {
            let mut file = renamed(model(false), |name| format!("{prefix}{name}"));
            file.insert(format!("{prefix}{name}"), NamedTensor { shape: vec![1], data: vec![0.0] });
            let Err(ImportError::Foreign(told)) = bare(file) else { panic!("{name} is taken") };
            assert_eq!(told, [(what, format!("{prefix}{name}"))]);
        }
    }
    let mut swiglu = model(false);
    swiglu.get_mut("blocks.0.mlp.fc2.weight").expect("a layer").shape = vec![8, 16];
    assert!(matches!(bare(swiglu), Err(ImportError::Foreign(told)) if told[0].0 == "SwiGLU"));
    let mut video = model(false);
    video.get_mut("patch_embed.proj.weight").expect("a layer").shape = vec![8, 3, 2, 4, 4];
    assert!(matches!(bare(video), Err(ImportError::Foreign(told)) if told[0].0.contains("video")));
    let mut no_token = model(false);
    no_token.remove("cls_token");
    assert!(matches!(bare(no_token), Err(ImportError::NoClassToken(name)) if name == "cls_token"));
}

#[test]
fn a_parameter_that_cannot_be_read_is_no_bias_of_zeros() {
    let mut file = model(false);
    file.retain(|name, _| !name.ends_with("mlp.fc1.bias"));
    let reasons = |name: &str| Unreadable::from([(name.to_owned(), "is complex".to_owned())]);
    let error =
        find(file, &BTreeSet::new(), &reasons("module.blocks.0.mlp.fc1.bias"), None).expect_err("unread").to_string();
    assert_eq!(error, "the tensor `module.blocks.0.mlp.fc1.bias` is complex");
    assert!(find(model(false), &BTreeSet::new(), &reasons("criterion.table"), None).is_ok(), "of no use anyway");
}

#[test]
fn two_names_of_one_parameter_are_refused() {
    let mut file = model(false);
    let norm = file["norm.weight"].clone();
    file.insert("layernorm.weight".into(), norm);
    let error = bare(file).expect_err("two norms").to_string();
    assert!(error.contains("`norm.weight` and `layernorm.weight` would both"), "{error}");
}

#[test]
fn a_file_of_no_use_says_what_it_holds() {
    let tensor = |shape: &[usize]| NamedTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
    let file = Tensors::from([
        ("features.0.weight".into(), tensor(&[8, 3, 3, 3])),
        ("features.0.bias".into(), tensor(&[8])),
        ("scale".into(), tensor(&[1])),
    ]);
    let error = bare(file).expect_err("no encoder").to_string();
    assert!(error.contains("3 tensors: 2 of `features.*` (`features.0.bias` [8]), `scale` [1]"), "{error}");
}
