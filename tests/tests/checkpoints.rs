//! `host import` and `host export --format`: from a checkpoint of another program to a run that every command takes.

use host::run::RunFolder;
use std::{fs, path::Path};
use tests::{close, read_features, run, succeed, write_images};

fn parity(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32").join(name).display().to_string()
}

#[test]
fn an_imported_checkpoint_is_a_run_like_any_other() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    let text = succeed("host", &["import", "--checkpoint", &parity("checkpoint.pth"), "--out", &path("run")]);
    for wanted in ["62 tensors", "encoder and decoder", "num_heads in config.json", "fixed sine-cosine"] {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
    write_images(&root.path().join("images"), 6)?;
    let features = |model: &str, more: &[&str]| -> anyhow::Result<_> {
        let out = path("features.npy");
        let args = ["features", "--model", model, "--images", &path("images"), "--out", &out];
        succeed("host", &[&args, more].concat());
        read_features(Path::new(&out))
    };
    let expected = features(&path("run"), &[])?;
    succeed("host", &["export", "--run", &path("run"), "--out", &path("model"), "--forms", "f32"]);
    close(&features(&path("model"), &["--runtime", "tract"])?, &expected, 1e-4)?;
    let picture = path("picture.png");
    succeed("host", &["reconstruct", "--run", &path("run"), "--images", &path("images"), "--out", &picture]);
    assert!(fs::metadata(&picture)?.len() > 1000);

    // A training goes on from it, but it has none of its own to resume.
    let output = run("host", &["pretrain", "--resume", &path("run"), "--device", "cpu"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("pretrain --init"), "{error}");
    let small =
        ["--synthetic-images", "16", "--batch-size", "16", "--epochs", "1", "--device", "cpu", "--blr", "1e-9"];
    let init = ["pretrain", "--init", &path("run"), "--out", &path("next")];
    succeed("host", &[&init, &small[..]].concat());
    close(&features(&path("next"), &[])?, &expected, 1e-3)?;

    // Out as Hugging Face's, in again, and in timm's form without the decoder.
    for (format, out, names) in [("huggingface", "hf", "huggingface"), ("timm", "timm", "official")] {
        succeed("host", &["export", "--run", &path("run"), "--format", format, "--out", &path(out)]);
        let again = format!("{out}-run");
        let text = succeed("host", &["import", "--checkpoint", &path(out), "--out", &path(&again), "--json"]);
        let json: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!((json["names"].as_str(), json["decoder"].as_bool()), (Some(names), Some(out == "hf")));
        assert_eq!(features(&path(&again), &[])?, expected, "{format}");
    }
    let output = run("host", &["reconstruct", "--run", &path("timm-run"), "--out", &picture]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for wanted in ["`decoder_embed.weight` is missing", "model.safetensors", "an encoder only"] {
        assert!(error.contains(wanted), "{wanted:?} in {error}");
    }
    // The missing decoder starts anew.
    succeed("host", &[&["pretrain", "--init", &path("timm-run"), "--out", &path("anew")], &small[..]].concat());
    Ok(())
}

#[test]
fn a_stored_table_is_used_and_stays_as_it_is_in_training() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    let larger = ["--checkpoint", &parity("checkpoint.pth"), "--image-size", "48"];
    let text = succeed("host", &[&["import", "--out", &path("run")], &larger[..]].concat());
    assert!(text.contains("interpolated (bicubic) from 8x8 patches"), "{text}");
    // Without a projector, which no export has.
    let recipe = ["--recipe", "paper", "--device", "cpu", "--blr", "0.1"];
    let small = [&["--synthetic-images", "16", "--batch-size", "16", "--epochs", "2"], &recipe[..]].concat();
    succeed("host", &[&["pretrain", "--init", &path("run"), "--out", &path("next")], &small[..]].concat());
    let tensors = |run: &str| -> anyhow::Result<_> { Ok(RunFolder::open(&root.path().join(run))?.0.load()?.model) };
    let (before, after) = (tensors("run")?, tensors("next")?);
    for table in ["pos_embed", "decoder_pos_embed"] {
        assert_eq!(before[table], after[table]);
    }
    assert_ne!(before["cls_token"], after["cls_token"]);
    // Out again with the table, and on to a board's runtime.
    succeed("host", &["export", "--run", &path("next"), "--format", "official", "--out", &path("next.pth")]);
    succeed("host", &["import", "--checkpoint", &path("next.pth"), "--out", &path("again")]);
    assert_eq!(tensors("again")?, after);
    succeed("host", &["export", "--run", &path("next"), "--out", &path("model")]);
    write_images(&root.path().join("images"), 4)?;
    let verify = ["verify", "--model", &path("model"), "--run", &path("next"), "--images", &path("images"), "--json"];
    let json: serde_json::Value = serde_json::from_str(&succeed("host", &verify))?;
    let float = json["forms"].as_array().into_iter().flatten().find(|form| form["form"] == "f32");
    assert!(float.and_then(|form| form["max_error"].as_f64()).is_some_and(|error| error < 1e-4), "{json}");
    Ok(())
}
