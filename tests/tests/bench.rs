//! The bench of training, and its rival in PyTorch. No time is judged here.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};
use tests::{program, run, skip, succeed};

/// Small, and with every number different from the others.
const TINY: &str = r#"
description = "A test"

[model]
image_height = 24
image_width = 16
patch_size = 4
dim = 32
depth = 2
heads = 4
decoder_dim = 24
decoder_depth = 1
decoder_heads = 3
norm_pix_loss = true

[train]
epochs = 1
batch_size = 6
warmup_epochs = 0
mask_ratio = 0.75
blr = 2e-2
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder with `tiny.toml`, and the path of that.
fn tiny() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("tiny.toml");
    fs::write(&path, TINY).expect("file");
    let path = path.display().to_string();
    (folder, path)
}

fn bench(config: &str, more: &[&str]) -> Value {
    let common = ["bench", "pretrain", "--config", config, "--device", "cpu", "--threads", "1", "--seed", "3"];
    let text = succeed("host", &[&common, more].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).unwrap_or_else(|| panic!("{path} is missing from {report}"));
    value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
}

#[test]
fn the_report_is_whole_and_consistent() {
    let (_folder, config) = tiny();
    let timing = ["--json", "--rounds", "3", "--seconds", "0"];
    let reports = [bench(&config, &timing), bench(&config, &[&timing[..], &["--plain-ops"]].concat())];
    for (report, mode) in reports.iter().zip(["fused", "plain"]) {
        for (key, value) in [("program", "host"), ("mode", mode), ("preset", "tiny"), ("precision", "fp32")] {
            assert_eq!(report[key], value, "{report}");
        }
        for (key, value) in [("batch_size", 6.0), ("threads", 1.0), ("seed", 3.0), ("steps", 3.0)] {
            assert_eq!(number(report, &format!("/{key}")), value, "{key}");
        }
        for speed in ["", "/with_loading"] {
            let of = |figure: &str, which: &str| number(report, &format!("{speed}/{figure}/{which}"));
            for figure in ["images_per_second", "ms"] {
                let [min, median, max] = ["min", "median", "max"].map(|which| of(figure, which));
                assert!(0.0 < min && min <= median && median <= max, "{speed} {figure}: {report}");
            }
            // Three steps: the middle one is the middle of both.
            let images = of("images_per_second", "median") * of("ms", "median") / 1e3;
            assert!((images - 6.0).abs() < 1e-6, "{images} images a step");
        }
        let parts = report["parts_ms"].as_object().expect("parts");
        let wanted =
            ["load", "augment", "masks", "forward_encoder", "forward_decoder", "loss", "backward", "optimizer"];
        assert_eq!(parts.len(), wanted.len(), "{parts:?}");
        wanted.iter().for_each(|part| assert!(number(report, &format!("/parts_ms/{part}")) > 0.0, "{part}"));
        // L = 24, V = 6, P = 48: counted by hand, product by product, as multiply-adds.
        let encoder = 6 * 48 * 32 + 2 * (7 * 32 * 96 + 2 * 7 * 7 * 32 + 7 * 32 * 32 + 2 * 7 * 32 * 128);
        let decoder = 7 * 32 * 24 + 25 * 24 * 72 + 2 * 25 * 25 * 24 + 25 * 24 * 24 + 2 * 25 * 24 * 96 + 25 * 24 * 48;
        let gflop = f64::from(3 * 2 * 6 * (encoder + decoder)) / 1e9;
        assert!((number(report, "/gflops/gflop_per_step") / gflop - 1.0).abs() < 1e-9, "{report}");
        let achieved = gflop / (number(report, "/ms/median") / 1e3);
        assert!((number(report, "/gflops/achieved") / achieved - 1.0).abs() < 1e-6, "{report}");
        let share = number(report, "/gflops/share");
        // Below 1, if nothing else runs while the peak is measured.
        assert!((share - achieved / number(report, "/gflops/matrix_peak")).abs() < 1e-6 && share > 0.0, "{report}");
        if cfg!(target_os = "linux") {
            let (peak, base) = (number(report, "/peak_memory_bytes"), number(report, "/base_memory_bytes"));
            assert!(peak > base && base > 1e6, "{peak} {base}");
        }
    }
    let [fused, plain] = reports.map(|report| number(&report, "/loss"));
    assert!(fused > 0.0 && (fused - plain).abs() < 1e-4, "{fused} {plain}");
}

#[test]
fn the_bench_measures_on_a_folder_and_prints_a_table() {
    let (folder, config) = tiny();
    let images = folder.path().join("images");
    tests::write_images(&images, 13).expect("images");
    let images = images.display().to_string();
    let timing = ["--rounds", "2", "--seconds", "0", "--data", &images];
    let text =
        succeed("host", &[&["bench", "pretrain", "--config", &config, "--device", "cpu"], &timing[..]].concat());
    for line in ["bare step", "with loading", "load", "augment", "backward", "optimizer", "GFLOP/s", "MiB"] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
}

#[test]
fn the_bench_of_finetuning_has_a_row_for_each_part() {
    let (_folder, config) = tiny();
    let args = ["bench", "finetune", "--config", &config, "--device", "cpu", "--threads", "1", "--batch-size", "6"];
    let args = [&args[..], &["--rounds", "3", "--seconds", "0"]].concat();
    for more in [&["--json"][..], &["--json", "--plain-ops"]] {
        let report: Value = serde_json::from_str(&succeed("host", &[&args[..], more].concat())).expect("JSON");
        let rows = report["rows"].as_array().expect("rows");
        let names: Vec<&str> = rows.iter().filter_map(|row| row["trained"].as_str()).collect();
        assert_eq!(names, ["all", "all but positions", "last block", "last block's MLP", "head"]);
        for row in rows {
            let (rate, ms) = (number(row, "/images_per_second/median"), number(row, "/ms/median"));
            assert!(number(row, "/steps") == 3.0 && (rate * ms / 6000.0 - 1.0).abs() < 1e-6, "{row}");
        }
        assert_eq!(report["mode"], if more.len() == 1 { "fused" } else { "plain" });
    }
    let text = succeed("host", &args);
    assert!(text.contains("last block's MLP") && text.contains("images a second of the processor"), "{text}");
    for (option, value) in [("--batch-size", "0"), ("--rounds", "0"), ("--seconds", "-1"), ("--threads", "0")] {
        let output = run("host", &["bench", "finetune", "--device", "cpu", &format!("{option}={value}")]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(option), "{option}: {text}");
    }
}

#[test]
fn the_bench_refuses_what_cannot_be_measured() {
    let (folder, config) = tiny();
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).expect("folder");
    fs::write(kept.join("letter"), "dear").expect("file");
    let kept_shown = kept.display().to_string();
    let refuse = |args: &[&str], wanted: &str| {
        let output = run("host", &[&["bench", "pretrain", "--device", "cpu"], args].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(wanted) && !text.contains("panicked"), "{args:?}: {text}");
    };
    refuse(&["--preset", "nano"], "no preset `nano`");
    refuse(&["--config", "/nonexistent.toml"], "cannot read");
    refuse(&["--config", &config, "--batch-size", "0"], "--batch-size must be at least 1");
    refuse(&["--config", &config, "--rounds", "0"], "--rounds must be at least 1");
    refuse(&["--config", &config, "--threads", "0"], "--threads 0");
    refuse(&["--config", &config, "--threads", "99999"], "--threads 99999");
    for seconds in ["-1", "nan", "1e9"] {
        refuse(&["--config", &config, &format!("--seconds={seconds}")], "--seconds");
    }
    refuse(&["--config", &config, "--steps", "3"], "--exchange");
    refuse(&["--config", &config, "--exchange", &kept_shown, "--steps", "0"], "--steps must be at least 1");
    refuse(&["--config", &config, "--exchange", &kept_shown], "something else");
    refuse(&["--config", &config, "--exchange", &kept_shown, "--precision", "bf16"], "--exchange is fp32");
    assert_eq!(fs::read_to_string(kept.join("letter")).expect("file"), "dear");
    let few = folder.path().join("few");
    tests::write_images(&few, 2).expect("images");
    refuse(
        &["--config", &config, "--rounds", "1", "--data", &few.display().to_string()],
        "fewer than one batch of 6",
    );
}

/// A Python that has PyTorch; looked for once, because to load it takes seconds.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| tests::python("MAE_TORCH_PYTHON", "import torch, safetensors")).as_deref()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn pytorch_does_the_same_steps_and_a_wrong_one_is_seen() {
    let Some(python) = python() else {
        return skip("no Python with PyTorch (pip install -r bench/requirements.txt)");
    };
    let (folder, config) = tiny();
    let exchange = folder.path().join("exchange");
    let shown = exchange.display().to_string();
    let losses = bench(&config, &["--exchange", &shown, "--steps", "6", "--json"]);
    let losses = losses["losses"].as_array().expect("losses").clone();
    assert_eq!(losses.len(), 6);
    let first = losses[0].as_f64().expect("loss");
    let moved = losses.iter().map(|loss| (loss.as_f64().expect("loss") - first).abs()).fold(0.0, f64::max);
    assert!(moved > 0.01, "the losses must move for the comparison to mean anything: {losses:?}");
    let rival = || {
        let script = root().join("bench/pytorch_mae.py");
        let args = ["--exchange", &shown, "--threads", "1", "--json"];
        Command::new(python).arg(script).args(args).output().expect("python starts")
    };
    let output = rival();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(number(&report, "/max_difference") <= 1e-4 && number(&report, "/weights_apart") < 0.01, "{report}");
    // One learning rate in six is 2 % too large: the losses after it must show that.
    let path = exchange.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("file")).expect("JSON");
    config["lr"][3] = (number(&config, "/lr/3") * 1.02).into();
    fs::write(&path, config.to_string()).expect("file");
    let output = rival();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    // Written over an older exchange without complaint.
    bench(&folder.path().join("tiny.toml").display().to_string(), &["--exchange", &shown, "--steps", "2", "--json"]);
    assert!(!exchange.join("step-002.safetensors").exists() && exchange.join("step-001.safetensors").exists());
}

#[test]
fn compare_prints_the_table() {
    let Some(python) = python() else {
        return skip("no Python with PyTorch (pip install -r bench/requirements.txt)");
    };
    let (_folder, config) = tiny();
    let output = Command::new(root().join("bench/compare.sh"))
        .args(["--config", &config, "--threads", "1", "--batch-size", "6", "--rounds", "1", "--steps", "2"])
        .args(["--seconds", "0", "--modes", "eager", "--tune", "plain", "--attention", "sdpa", "--plain-ops"])
        .arg("--host")
        .arg(program("host"))
        .arg("--python")
        .arg(python)
        .output()
        .expect("bash starts");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("losses agree").count(), 2, "{text}");
    let rows = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(rows("host   "), 1, "{text}");
    assert_eq!(rows("host plain ops"), 1, "{text}");
    assert_eq!(rows("PyTorch eager, plain"), 1, "{text}");
}

#[test]
fn compare_says_what_is_missing() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("no python3");
    }
    let compare = |args: &[&str]| Command::new(root().join("bench/compare.sh")).args(args).output().expect("starts");
    for (args, wanted) in [
        (&["--host", "/nonexistent/host"][..], "cargo build --release -p host"),
        (&["--host", "/bin/true", "--python", "/bin/false"], "pip install -r bench/requirements.txt"),
        (&["--host", "/bin/true", "--rounds", "0"], "at least 1"),
    ] {
        let output = compare(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(wanted), "{args:?}: {}", text(&output));
    }
}
