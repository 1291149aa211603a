//! The comparison with the official implementation, bf16, and trainings that diverge, through the programs.

use kernels::Engine;
use serde_json::Value;
use std::{fs, path::Path};
use tests::{run, succeed};

const PARITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/parity/mae-32");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bench_check_proves_both_precisions_in_both_spellings() {
    for (spelling, more, precision, mode) in [
        (&["bench", "check"][..], &[][..], "fp32", "fused"),
        (&["bench", "--check"], &["--plain-ops"], "fp32", "plain"),
        (&["bench", "check"], &["--precision", "bf16", "--plain-ops"], "bf16", "plain"),
        (
            &["bench", "check"],
            &["--precision", "bf16"],
            "bf16",
            if Engine::bf16().is_some() { "fused" } else { "plain" },
        ),
    ] {
        let args = [spelling, &["--device", "cpu", "--parity", PARITY, "--json"], more].concat();
        let report: Value = serde_json::from_str(&succeed("host", &args)).expect("JSON");
        assert_eq!((&report["precision"], &report["mode"]), (&precision.into(), &mode.into()), "{report}");
        assert_eq!(report["failed"], 0, "{report}");
        let checks = report["checks"].as_array().expect("checks");
        for wanted in ["masks", "latent", "gradients (relative)", "AdamW, losses of 5 steps", "position tables"] {
            assert!(
                checks.iter().any(|check| check["name"] == wanted && check["passed"] == true),
                "{wanted}: {report}"
            );
        }
        // bf16 computes in bf16: it differs by more than f32 could, and within bounds.
        let latent = checks.iter().find(|check| check["name"] == "latent").expect("latent");
        let difference = latent["difference"].as_f64().expect("a number");
        assert_eq!(difference > 1e-4, precision == "bf16", "{report}");
    }
}

#[test]
fn bench_check_fails_on_a_wrong_number_and_refuses_missing_files() {
    let root = tempfile::tempdir().expect("folder");
    let check = |folder: &Path| {
        let output = run("host", &["bench", "check", "--device", "cpu", "--parity", &folder.display().to_string()]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, error) = check(root.path());
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("no parity files in") && error.contains("--parity"), "{error}");

    for entry in fs::read_dir(PARITY).expect("parity files") {
        let path = entry.expect("entry").path();
        if path.is_file() {
            fs::copy(&path, root.path().join(path.file_name().expect("name"))).expect("copy");
        }
    }
    let schedule = root.path().join("lr_schedule.json");
    let numbers = fs::read_to_string(&schedule).expect("file");
    let wrong = numbers.replacen("0.0023999993592276106", "0.0023999993592376106", 1);
    assert_ne!(wrong, numbers);
    fs::write(&schedule, wrong).expect("file");
    let (code, table, error) = check(root.path());
    assert_eq!(code, Some(1), "{table}{error}");
    let failed: Vec<&str> = table.lines().filter(|line| line.contains("FAILED")).collect();
    assert!(failed.len() == 1 && failed[0].starts_with("learning-rate schedule"), "{table}");
    assert!(error.contains("differ too much"), "{error}");

    fs::write(root.path().join("gradients.safetensors"), "no tensors").expect("file");
    let (code, _, error) = check(root.path());
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("gradients.safetensors") && !error.contains("panicked"), "{error}");
}

/// A model that trains in no time, and 16 generated images.
fn tiny(root: &Path) -> Vec<String> {
    let config = root.join("tiny.toml");
    let model = "image_height = 16\nimage_width = 16\npatch_size = 4\ndim = 16\ndepth = 1\nheads = 2\n\
                 decoder_dim = 8\ndecoder_depth = 1\ndecoder_heads = 1\n";
    let train = "epochs = 1\nbatch_size = 8\nwarmup_epochs = 0\nsynthetic_images = 16\n";
    fs::write(&config, format!("description = \"A test\"\n[model]\n{model}[train]\n{train}")).expect("file");
    ["pretrain", "--device", "cpu", "--config"]
        .map(str::to_owned)
        .into_iter()
        .chain([config.display().to_string()])
        .collect()
}

fn with<'a>(args: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    args.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn a_run_in_bf16_stays_in_bf16() {
    let root = tempfile::tempdir().expect("folder");
    let (tiny, run_folder) = (tiny(root.path()), root.path().join("run").display().to_string());
    let output = run("host", &with(&tiny, &["--out", &run_folder, "--precision", "bf16"]));
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    let emulated = error.contains("has no bf16 instructions: they are emulated");
    assert_eq!(emulated, Engine::bf16().is_none(), "{error}");
    let described = fs::read_to_string(root.path().join("run/run.toml")).expect("run.toml");
    assert!(described.lines().any(|line| line == "precision = \"bf16\""), "{described}");
    let resume = ["pretrain", "--device", "cpu", "--resume", &run_folder, "--epochs", "2"];
    let output = run("host", &[&resume[..], &["--precision", "fp32"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("began in bf16"), "{}", text(&output.stderr));
    let output = run("host", &resume);
    let error = text(&output.stderr);
    assert!(output.status.success() && error.contains("they are emulated") == emulated, "{error}");
    // The loss of bf16 is that of fp32 within the rounding of its products, and not equal to it.
    let fp32 = root.path().join("fp32").display().to_string();
    succeed("host", &with(&tiny, &["--out", &fp32, "--epochs", "2"]));
    let losses = ["run", "fp32"].map(|run| {
        let text = fs::read_to_string(root.path().join(run).join("metrics.csv")).expect("metrics");
        let loss = |line: &str| line.split(',').nth(2).and_then(|loss| loss.parse().ok());
        text.lines().skip(1).map(|line| loss(line).expect("a loss")).collect::<Vec<f64>>()
    });
    let [bf16, fp32] = &losses;
    assert!(bf16.len() == 2 && fp32.len() == 2 && bf16 != fp32, "{losses:?}");
    bf16.iter().zip(fp32).for_each(|(a, b)| assert!((a - b).abs() < 1e-2, "{losses:?}"));
}

#[test]
fn a_training_that_diverges_names_the_last_good_checkpoint() {
    let root = tempfile::tempdir().expect("folder");
    let tiny = tiny(root.path());
    let path = |name: &str| root.path().join(name).display().to_string();
    let diverge = |args: &[&str]| {
        let output = run("host", args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let last = error.lines().rfind(|line| line.starts_with("host: ")).unwrap_or_else(|| panic!("{error}"));
        assert!(last.contains("no longer finite") && last.contains("smaller --blr"), "{error}");
        last.to_owned()
    };
    let message = diverge(&with(&tiny, &["--out", &path("lost"), "--epochs", "3", "--blr", "1e30"]));
    assert!(message.contains("has no checkpoint yet"), "{message}");

    succeed("host", &with(&tiny, &["--out", &path("run")]));
    let checkpoints = || {
        let entries = fs::read_dir(root.path().join("run/checkpoints")).expect("folder");
        entries.map(|entry| entry.expect("entry").path()).collect::<Vec<_>>()
    };
    let good = checkpoints();
    assert_eq!(good.len(), 1);
    let described = root.path().join("run/run.toml");
    let sane = fs::read_to_string(&described).expect("run.toml");
    let blr = sane.lines().find(|line| line.starts_with("blr = ")).expect("blr");
    fs::write(&described, sane.replace(blr, "blr = 1e30")).expect("run.toml");
    let resume = ["pretrain", "--device", "cpu", "--resume", &path("run"), "--epochs"];
    let message = diverge(&[&resume[..], &["5"]].concat());
    assert!(message.contains(&format!("the last good checkpoint is {}", good[0].display())), "{message}");
    assert_eq!(checkpoints(), good);

    // It is as good as the message says.
    fs::write(&described, sane).expect("run.toml");
    succeed("host", &["reconstruct", "--run", &path("run"), "--out", &path("picture.png")]);
    succeed("host", &[&resume[..], &["2"]].concat());
    let metrics = fs::read_to_string(root.path().join("run/metrics.csv")).expect("metrics");
    assert!(metrics.lines().count() == 3 && !metrics.contains("NaN") && !metrics.contains("inf"), "{metrics}");
}
