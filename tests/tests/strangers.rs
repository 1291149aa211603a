//! Checkpoints as other people's programs write them, through `host import`: read right, or refused for the true
//! reason.

use host::tensors::{NamedTensor, Tensors, is_encoder, safetensors};
use std::path::{Path, PathBuf};
use tests::{run, succeed};

/// Width of the encoder in `tests/parity/mae-32`.
const D: usize = 48;
/// Its hash.
const MODEL: &str = "f3a430a4dcef4ad4";
/// What no file here states.
const HEADS: [&str; 4] = ["--num-heads", "3", "--decoder-num-heads", "4"];

fn parity() -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32/checkpoint.safetensors");
    safetensors::read(&path).expect("parity").0
}

fn encoder() -> Tensors {
    parity().into_iter().filter(|(name, _)| is_encoder(name) || name == "pos_embed").collect()
}

fn renamed(tensors: Tensors, rename: impl Fn(String) -> String) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect()
}

fn tensor(shape: &[usize], value: f32) -> NamedTensor {
    NamedTensor { shape: shape.to_vec(), data: vec![value; shape.iter().product()] }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes `tensors` and imports them: exit code, what is printed, and what is said on standard error.
    fn import(&self, tensors: &Tensors, more: &[&str]) -> (i32, String, String) {
        let (file, out) = (self.path("model.safetensors"), self.path("run"));
        safetensors::write(&file, tensors, Default::default()).expect("file");
        let _ = std::fs::remove_dir_all(&out);
        let (file, out) = (file.display().to_string(), out.display().to_string());
        let args = [&["import", "--checkpoint", &file, "--out", &out], more].concat();
        let output = run("host", &args);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// As [`Self::import`], of a model that must be that of `tests/parity/mae-32`.
    fn same(&self, tensors: &Tensors, more: &[&str]) -> (String, String) {
        let (code, text, error) = self.import(tensors, &[&HEADS, more].concat());
        assert!(code == 0 && text.contains(&format!("(model {MODEL})")), "{text}{error}");
        (text, error)
    }

    /// As [`Self::import`], of a model that must be refused.
    fn refused(&self, tensors: &Tensors, more: &[&str]) -> String {
        let (code, text, error) = self.import(tensors, &[&HEADS, more].concat());
        assert_eq!(code, 1, "{text}{error}");
        assert!(!self.path("run").exists(), "nothing is made");
        error
    }
}

#[test]
fn a_shared_prefix_is_taken_off_and_said() {
    let folder = Folder::new();
    for prefix in ["backbone.", "encoder.", "mae.", "model.encoder.", "teacher.backbone.", "module.visual."] {
        let (text, _) = folder.same(&renamed(encoder(), |name| format!("{prefix}{name}")), &[]);
        let shown = prefix.trim_start_matches("module.");
        assert!(text.contains("names         official") && text.contains(&format!("`{shown}`")), "{text}");
    }
    // Within names, where sharded training and activation checkpointing put it.
    let inner = |name: String| name.replace("blocks.1.", "blocks.1._fsdp_wrapped_module._checkpoint_wrapped_module.");
    let (text, _) = folder.same(&renamed(parity(), |name| format!("_orig_mod.{}", inner(name))), &[]);
    assert!(text.contains("encoder and decoder") && text.contains("_checkpoint_wrapped_module"), "{text}");
}

#[test]
fn lightlys_autoencoder_is_read_with_its_decoder() {
    let place = |name: String| {
        let own = is_encoder(&name) || name == "pos_embed";
        format!("{}{name}", if own { "backbone.vit." } else { "decoder." })
    };
    let mut file = renamed(parity(), place);
    file.insert("backbone.mask_token".into(), tensor(&[1, 1, D], 0.5));
    let (text, _) = Folder::new().same(&file, &[]);
    assert!(text.contains("encoder and decoder") && text.contains("`backbone.vit.`"), "{text}");
    assert!(text.contains("left out, of no use to the encoder: backbone.mask_token"), "{text}");
}

#[test]
fn openmmlabs_and_torchvisions_names_are_read() {
    let folder = Folder::new();
    let replaced = |name: &str, pairs: &[(&str, &str)]| {
        pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
    };
    let mm = renamed(encoder(), |name| {
        let pairs = [("proj.", "projection."), ("norm1", "ln1"), ("norm2", "ln2"), ("mlp.fc1", "ffn.layers.0.0")];
        let name = replaced(&name, &pairs).replace("attn.projection", "attn.proj");
        let name = replaced(&name, &[("mlp.fc2", "ffn.layers.1"), ("blocks.", "layers.")]);
        format!("backbone.{}", if name.starts_with("norm.") { name.replace("norm.", "ln1.") } else { name })
    });
    assert!(folder.same(&mm, &[]).0.contains("names         openmmlab"));
    for (first, second) in [("mlp.0", "mlp.3"), ("mlp.linear_1", "mlp.linear_2")] {
        let tv = renamed(encoder(), |name| {
            let name = if name.starts_with("norm.") { name.replace("norm.", "encoder.ln.") } else { name };
            let pairs = [("cls_token", "class_token"), ("pos_embed", "encoder.pos_embedding")];
            let name = replaced(&name, &pairs).replace("patch_embed.proj", "conv_proj");
            let pairs = [
                ("blocks.", "encoder.layers.encoder_layer_"),
                ("norm", "ln_"),
                ("attn.proj", "self_attention.out_proj"),
            ];
            let name = replaced(&name, &pairs).replace("attn.qkv.", "self_attention.in_proj_");
            replaced(&name, &[("mlp.fc1", first), ("mlp.fc2", second)])
        });
        assert!(folder.same(&tv, &[]).0.contains("names         torchvision"));
    }
}

#[test]
fn what_is_not_computed_is_refused_by_its_name() {
    let folder = Folder::new();
    let with = |name: &str, shape: &[usize]| {
        let mut file = encoder();
        file.insert(name.into(), tensor(shape, 1.0));
        file
    };
    for (file, what) in [
        (with("blocks.0.ls1.gamma", &[D]), "layer scale (`blocks.0.ls1.gamma`)"),
        (with("blocks.1.attn.q_norm.weight", &[16]), "norms of queries and keys (`blocks.1.attn.q_norm.weight`)"),
        (with("reg_token", &[1, 4, D]), "register tokens (`reg_token`)"),
        (with("dist_token", &[1, 1, D]), "a distillation token (`dist_token`)"),
        (with("rope.freqs", &[16]), "rotary positions (`rope.freqs`)"),
        (with("blocks.0.mlp.w12.weight", &[8, D]), "SwiGLU (`blocks.0.mlp.w12.weight`)"),
        (with("norm_pre.weight", &[D]), "a norm before the blocks (`norm_pre.weight`)"),
    ] {
        let error = folder.refused(&file, &[]);
        assert!(error.contains(&format!("the model has {what}, which this program does not compute")), "{error}");
    }
    // All of it at once, as DINOv2's with registers.
    let mut file = with("reg_token", &[1, 4, D]);
    file.insert("blocks.0.ls1.gamma".into(), tensor(&[D], 1.0));
    let error = folder.refused(&file, &[]);
    assert!(error.contains("layer scale (`blocks.0.ls1.gamma`) and register tokens (`reg_token`)"), "{error}");
    let mut file = encoder();
    file.remove("cls_token");
    assert!(folder.refused(&file, &[]).contains("no class token (`cls_token`)"));
    // A file beside it that calls the model by its type.
    std::fs::write(folder.path("config.json"), r#"{"model_type": "clip_vision_model"}"#).expect("file");
    let clip = Tensors::from([
        ("vision_model.embeddings.class_embedding".into(), tensor(&[D], 0.0)),
        ("vision_model.pre_layrnorm.weight".into(), tensor(&[D], 1.0)),
    ]);
    let error = folder.refused(&clip, &[]);
    assert!(
        error.contains("a norm before the blocks")
            && error.contains("model_type in config.json is `clip_vision_model`"),
        "{error}"
    );
}

#[test]
fn a_class_token_without_a_row_gets_one_of_zeros() {
    // The parity model's row is of zeros, as in every fixed table.
    let mut file = encoder();
    let table = file.get_mut("pos_embed").expect("a table");
    table.data.drain(..D);
    table.shape[1] -= 1;
    let (text, _) = Folder::new().same(&file, &[]);
    assert!(text.contains("`pos_embed` has no row for the class token"), "{text}");
}

#[test]
fn a_tensor_of_whole_numbers_is_no_parameter() {
    let folder = Folder::new();
    for (name, kind, values, code) in [
        ("step", "I32", &[1, 0, 0, 0][..], 0),
        ("embeddings.position_ids", "I64", &[0; 8], 0),
        ("blocks.0.seen", "BOOL", &[1], 0),
        ("blocks.0.scale", "F16", &[0, 0], 1),
        ("blocks.0.packed", "U8", &[3], 1),
    ] {
        // A safetensors file: the length of its header, the header, the data.
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        let mut add = |name: &str, kind: &str, shape: &[usize], bytes: &[u8]| {
            let begin = data.len();
            data.extend_from_slice(bytes);
            let entry = serde_json::json!({ "dtype": kind, "shape": shape, "data_offsets": [begin, data.len()] });
            header.insert(name.into(), entry);
        };
        for (name, tensor) in encoder() {
            let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            add(&name, "F32", &tensor.shape, &bytes);
        }
        add(name, kind, &[1], values);
        let header = serde_json::Value::Object(header).to_string();
        let all = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        let (file, out) = (folder.path("whole.safetensors"), folder.path("run"));
        std::fs::write(&file, all).expect("written");
        let _ = std::fs::remove_dir_all(&out);
        let (file, out) = (file.display().to_string(), out.display().to_string());
        let output = run("host", &[&["import", "--checkpoint", &file, "--out", &out], &HEADS[..]].concat());
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(name) && (code == 1 || text.contains(MODEL)), "{text}");
    }
}

#[test]
fn a_file_of_no_use_lists_what_it_holds() {
    let file = Tensors::from([
        ("features.0.weight".into(), tensor(&[4, 3, 3, 3], 0.0)),
        ("features.0.bias".into(), tensor(&[4], 0.0)),
        ("classifier.weight".into(), tensor(&[2, 4], 0.0)),
    ]);
    let error = Folder::new().refused(&file, &[]);
    assert!(
        error.contains("3 tensors: 2 of `features.*` (`features.0.bias` [4]), `classifier.weight` [2, 4]"),
        "{error}"
    );
}

#[test]
fn of_two_encoders_one_is_taken_and_the_other_can_be_asked_for() {
    let folder = Folder::new();
    let mut student = encoder();
    student.get_mut("norm.bias").expect("a bias").data.fill(3.0);
    let mut file = renamed(student, |name| format!("student.{name}"));
    file.extend(renamed(encoder(), |name| format!("teacher.{name}")));
    let (text, _) = folder.same(&file, &[]);
    assert!(text.contains("other encoders are in the file, too: `student` (--key NAME"), "{text}");
    let (code, text, _) = folder.import(&file, &[&HEADS[..], &["--key", "student"]].concat());
    assert!(code == 0 && !text.contains(MODEL) && text.contains("`student.`"), "{text}");
    let (code, _, error) = folder.import(&file, &[&HEADS[..], &["--key", "momentum"]].concat());
    assert!(code == 2 && error.contains("`teacher.`, `student.`"), "{error}");
}

#[test]
fn what_nothing_states_is_warned_about_with_the_option_that_sets_it() {
    let folder = Folder::new();
    let (_, error) = folder.same(&encoder(), &[]);
    let line = |error: &str, what: &str| error.lines().find(|line| line.contains(what)).map(str::to_owned);
    let image = line(&error, "the image size").expect("a warning");
    assert!(image.contains("32x32") && image.contains("square") && image.contains("--trained-size"), "{image}");
    let pixels = line(&error, "mean and deviation").expect("a warning");
    assert!(
        pixels.contains("ImageNet's") && pixels.contains("0.5") && pixels.contains("--mean and --std"),
        "{pixels}"
    );
    let given = ["--trained-size", "32x32", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"];
    let (text, error) = folder.same(&encoder(), &given);
    assert!(
        error.is_empty() && text.contains("mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5] (--mean and --std)"),
        "{text}"
    );
    // Other numbers of the same positions: 8x8 patches of 4 are 16x64 pixels, too.
    let (text, _) =
        folder.same(&renamed(encoder(), |name| name), &["--trained-size", "16x64", "--positions", "fixed"]);
    assert!(text.contains("image         16x64 (--trained-size)"), "{text}");
    // As wide as ViT-Tiny, TinyMIM and MAE-Lite: no width tells the heads.
    let wide = host::formats::official::parameters(
        &host::model::MaeConfig {
            depth: 1,
            ..host::preset::Preset::named("tiny-224").expect("preset").with_recipe(host::preset::Recipe::Paper).model
        },
        false,
    );
    let wide: Tensors = wide.into_iter().map(|(name, shape)| (name, tensor(&shape, 0.25))).collect();
    let (code, text, error) = folder.import(&wide, &[]);
    let heads = line(&error, "the number of heads").expect("a warning");
    assert!(code == 0 && text.contains("heads         3 (assumed"), "{text}{error}");
    for wanted in ["3 (ViT-Tiny", "6 (TinyMIM)", "12 (MAE-Lite", "--num-heads"] {
        assert!(heads.contains(wanted), "{heads}");
    }
    for (options, code) in [
        (&["--mean", "0.5,0.5,0.5"][..], 2),
        (&["--mean", "0.5", "--std", "0.5"], 2),
        (&["--mean", "0,0,0", "--std", "1,0,1"], 2),
        (&["--trained-size", "20x20"], 1),
        (&["--trained-size", "x"], 2),
        (&["--classes", "/none"], 2),
    ] {
        let (found, text, error) = folder.import(&encoder(), &[&HEADS[..], options].concat());
        assert_eq!(found, code, "{options:?}: {text}{error}");
    }
}

#[test]
fn a_table_of_zeros_is_warned_about_and_replaced_if_asked() {
    let folder = Folder::new();
    let mut file = parity();
    for name in ["pos_embed", "decoder_pos_embed"] {
        file.get_mut(name).expect("a table").data.fill(0.0);
    }
    let (code, text, error) = folder.import(&file, &HEADS);
    assert!(code == 0 && text.contains("stored table") && !text.contains(MODEL), "{text}");
    assert!(error.contains("hold zeros alone") && error.contains("--positions fixed"), "{error}");
    let [run, next] = ["run", "next"].map(|name| folder.path(name).display().to_string());
    let small = ["--synthetic-images", "8", "--batch-size", "8", "--epochs", "1", "--device", "cpu"];
    let output = tests::run("host", &[&["pretrain", "--init", &run, "--out", &next], &small[..]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.contains("hold zeros alone, and are not trained"), "{error}");
    let (text, error) = folder.same(&file, &["--positions", "fixed"]);
    assert!(text.contains("fixed sine-cosine (--positions)") && !error.contains("zeros"), "{text}{error}");
}

#[test]
fn a_sizes_round_trip_keeps_it_and_the_features() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    // 16 patches, of which a square could be made.
    let model = "[model]\nimage_height = 16\nimage_width = 64\npatch_size = 8\ndim = 64\ndepth = 1\nheads = 4\n\
                 decoder_dim = 32\ndecoder_depth = 1\ndecoder_heads = 2\n";
    let train = "[train]\nepochs = 1\nbatch_size = 8\nwarmup_epochs = 0\nsynthetic_images = 8\n";
    std::fs::write(folder.path("wide.toml"), format!("description = \"wide\"\n{model}{train}")).expect("file");
    succeed("host", &["pretrain", "--config", &path("wide.toml"), "--out", &path("wide"), "--device", "cpu"]);
    tests::write_images(&folder.path("images"), 3).expect("images");
    let features = |run: &str| {
        let out = path(&format!("{run}.npy"));
        succeed("host", &["features", "--model", &path(run), "--images", &path("images"), "--out", &out]);
        tests::read_features(out.as_ref()).expect("features")
    };
    let expected = features("wide");
    for (format, file) in [("official", "wide.pth"), ("official", "wide.safetensors"), ("timm", "wide-timm")] {
        succeed("host", &["export", "--run", &path("wide"), "--format", format, "--out", &path(file)]);
        let back = format!("{file}-back");
        let text = succeed("host", &["import", "--checkpoint", &path(file), "--out", &path(&back)]);
        assert!(text.contains("image         16x64"), "{text}");
        assert_eq!(features(&back), expected, "{file}");
    }
}
