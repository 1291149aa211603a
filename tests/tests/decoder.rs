//! `--decoder cross` and `--predict-ratio`: what is cheaper trains, resumes and is used as the paper's decoder is.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::{fs, path::Path};
use tests::{
    run,
    runs::{SMALL_MODEL, checkpoints, copy, ensure_same},
    succeed, write_images,
};

/// Three steps an epoch.
const RECIPE: &str = "[train]
epochs = 2
batch_size = 8
warmup_epochs = 0.5
blr = 4.8e-2
synthetic_images = 24
";

/// The options, and what `run.toml` and the files of presets say.
const CHEAPER: [&str; 4] = ["--decoder", "cross", "--predict-ratio", "0.5"];

fn pretrain(root: &Path, name: &str, options: &[&str]) -> anyhow::Result<String> {
    let (config, out) = (root.join("small.toml").display().to_string(), root.join(name).display().to_string());
    fs::write(&config, [SMALL_MODEL, RECIPE].concat())?;
    let args = ["pretrain", "--config", &config, "--out", &out, "--device", "cpu", "--seed", "3"];
    let saving = ["--checkpoint-steps", "2", "--keep-checkpoints", "9"];
    succeed("host", &[&args, &saving[..], options].concat());
    Ok(out)
}

/// The losses of the epochs.
fn losses(run: &str) -> anyhow::Result<Vec<f64>> {
    let text = fs::read_to_string(Path::new(run).join("metrics.csv"))?;
    let loss = |line: &str| line.split(',').nth(2).and_then(|loss| loss.parse().ok()).context("a loss");
    text.lines().skip(1).map(loss).collect()
}

#[test]
fn a_cheaper_decoder_trains_resumes_and_draws() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    let cheap = pretrain(root.path(), "cheap", &CHEAPER)?;
    let recorded = fs::read_to_string(Path::new(&cheap).join("run.toml"))?;
    ensure!(recorded.contains("decoder = \"cross\"") && recorded.contains("predict_ratio = 0.5"), "{recorded}");
    let found = losses(&cheap)?;
    ensure!(found.len() == 2 && found[1] < found[0] && found[0] < 2.0, "{found:?}");

    // From the checkpoint after every second step on it ends with the same bytes.
    for steps in [2, 4] {
        let again = root.path().join(format!("again-{steps}"));
        copy(Path::new(&cheap), &again)?;
        for later in checkpoints(&again)?.0.into_iter().skip(steps / 2) {
            fs::remove_dir_all(later)?;
        }
        let shown = again.display().to_string();
        let text = succeed("host", &["pretrain", "--resume", &shown, "--device", "cpu"]);
        ensure!(
            text.contains("cross-attention decoder") && text.contains(", 50 % of the others predicted"),
            "{text}"
        );
        ensure_same(&again, Path::new(&cheap)).with_context(|| format!("from step {steps}"))?;
    }

    // The same from a file, with each of the two alone, and without.
    let text = fs::read_to_string(root.path().join("small.toml"))?;
    let text = text.replace("[train]", "decoder = \"cross\"\n[train]\npredict_ratio = 0.5");
    fs::write(root.path().join("cheap.toml"), text)?;
    let file = path("file");
    let args = ["pretrain", "--config", &path("cheap.toml"), "--out", &file, "--device", "cpu", "--seed", "3"];
    succeed("host", &args);
    ensure!(losses(&file)? == found, "{:?} {found:?}", losses(&file)?);
    let paper = pretrain(root.path(), "paper", &[])?;
    let recorded = fs::read_to_string(Path::new(&paper).join("run.toml"))?;
    ensure!(!recorded.contains("decoder =") && !recorded.contains("predict_ratio"), "{recorded}");
    let all = pretrain(root.path(), "all", &["--decoder", "self", "--predict-ratio", "1"])?;
    ensure_same(Path::new(&all), Path::new(&paper)).context("the defaults are the paper's")?;
    let half = pretrain(root.path(), "half", &CHEAPER[2..])?;
    let cross = pretrain(root.path(), "cross", &CHEAPER[..2])?;
    let mut ends = [&cheap, &paper, &half, &cross].map(|run| losses(run).unwrap_or_default());
    ends.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    ensure!(ends.windows(2).all(|pair| pair[0] != pair[1]), "two of the four are the same training: {ends:?}");

    write_images(&root.path().join("images"), 12)?;
    let images = path("images");
    for (run, name) in [(&cheap, "cheap.png"), (&half, "half.png")] {
        let picture = path(name);
        succeed("host", &["reconstruct", "--run", run, "--images", &images, "--out", &picture]);
        ensure!(fs::metadata(&picture)?.len() > 1000);
        let args = ["evaluate", "seam", "--model", run, "--test", &images, "--limit", "6", "--json"];
        let figures: Value = serde_json::from_str(&succeed("host", &args))?;
        ensure!(figures["images"] == 6, "{figures}");
    }
    ensure!(fs::read(path("cheap.png"))? != fs::read(path("half.png"))?);

    // Other programs know the encoder; boards need no more.
    succeed("host", &["export", "--run", &cheap, "--out", &path("model"), "--forms", "f32"]);
    for (format, out) in [("official", "out.safetensors"), ("huggingface", "hf"), ("timm", "timm")] {
        let text = succeed("host", &["export", "--run", &cheap, "--format", format, "--out", &path(out)]);
        ensure!(text.contains("left out") == (format != "timm"), "{format}: {text}");
        let args = ["import", "--checkpoint", &path(out), "--out", &path(&format!("{out}-run")), "--json"];
        let json: Value = serde_json::from_str(&succeed("host", &args))?;
        ensure!(json["decoder"] == false, "{format}: {json}");
    }
    let newest = checkpoints(Path::new(&cheap))?.0.pop().context("a checkpoint")?.join("model.safetensors");
    let output = run("host", &["import", "--checkpoint", &newest.display().to_string(), "--out", &path("no")]);
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("cross-attention"), "{text}");
    Ok(())
}

#[test]
fn a_training_starts_from_a_run_with_another_decoder() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let runs = [pretrain(root.path(), "self", &[])?, pretrain(root.path(), "cross", &CHEAPER[..2])?];
    for (from, run) in ["self", "cross"].into_iter().zip(&runs) {
        for to in [None, Some("self"), Some("cross")] {
            let out = root.path().join(format!("{from}-{to:?}")).display().to_string();
            let mut args = vec!["pretrain", "--init", run, "--out", &out, "--device", "cpu", "--epochs", "1"];
            args.extend(["--synthetic-images", "8", "--batch-size", "8"]);
            args.extend(to.into_iter().flat_map(|to| ["--decoder", to]));
            let text = succeed("host", &args);
            let other = to.is_some_and(|to| to != from);
            ensure!(text.contains("the encoder alone") == other, "{from} {to:?}: {text}");
            let recorded = fs::read_to_string(Path::new(&out).join("run.toml"))?;
            let cross = to.unwrap_or(from) == "cross";
            ensure!(recorded.contains("decoder = \"cross\"") == cross, "{from} {to:?}: {recorded}");
        }
    }
    Ok(())
}

#[test]
fn the_bench_measures_it() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let config = root.path().join("cheap.toml");
    let model = SMALL_MODEL.trim_end();
    fs::write(&config, format!("{model}\ndecoder = \"cross\"\n{RECIPE}predict_ratio = 0.5\n"))?;
    let config = config.display().to_string();
    let bench = |more: &[&str]| -> anyhow::Result<Value> {
        let common = ["bench", "pretrain", "--config", &config, "--device", "cpu", "--threads", "1", "--json"];
        let text = succeed("host", &[&common, &["--rounds", "2", "--seconds", "0"][..], more].concat());
        Ok(serde_json::from_str(&text)?)
    };
    let (fused, plain) = (bench(&[])?, bench(&["--plain-ops"])?);
    for report in [&fused, &plain] {
        ensure!(report["parts_ms"]["forward_decoder"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
        // L = 16, V = 4, K = 6, P = 48: counted by hand, product by product, as multiply-adds.
        let encoder = 4 * 48 * 32 + 2 * (5 * 32 * 96 + 2 * 5 * 5 * 32 + 5 * 32 * 32 + 2 * 5 * 32 * 128);
        let block = 6 * 16 * 16 + 5 * 16 * 32 + 2 * 6 * 5 * 16 + 6 * 16 * 16 + 2 * 6 * 16 * 64;
        let decoder = 5 * 32 * 16 + block + 6 * 16 * 48;
        let gflop = f64::from(3 * 2 * 8 * (encoder + decoder)) / 1e9;
        let found = report["gflops"]["gflop_per_step"].as_f64().context("operations")?;
        ensure!((found / gflop - 1.0).abs() < 1e-9, "{found} {gflop}");
    }
    let (one, other) = (fused["loss"].as_f64().context("a loss")?, plain["loss"].as_f64().context("a loss")?);
    ensure!((one - other).abs() < 1e-4 * other, "{one} {other}");
    // What other programs are given to compare is the paper's.
    let folder = root.path().join("exchange").display().to_string();
    let output = run("host", &["bench", "pretrain", "--config", &config, "--exchange", &folder, "--device", "cpu"]);
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(())
}

#[test]
fn what_does_not_go_together_is_misuse() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("run").display().to_string();
    let preset = |name: &str, model: &str, train: &str| -> anyhow::Result<String> {
        let path = root.path().join(name);
        fs::write(&path, format!("{}\n{model}\n{RECIPE}{train}\n", SMALL_MODEL.trim_end()))?;
        Ok(path.display().to_string())
    };
    let small = preset("small.toml", "", "")?;
    let wrong = [
        (vec!["--predict-ratio", "0"], "--predict-ratio 0 is not above 0 and at most 1"),
        (vec!["--predict-ratio", "1.5"], "--predict-ratio 1.5"),
        (vec!["--predict-ratio", "nan"], "--predict-ratio NaN"),
        (vec!["--predict-ratio", "half"], "invalid value 'half'"),
        (vec!["--decoder", "none"], "self, cross"),
        (vec!["--predict-ratio", "0.5", "--seam-weight", "1"], "use --predict-ratio 1"),
        (vec!["--predict-ratio", "0.5", "--seam-gradient", "1"], "use --predict-ratio 1"),
        (vec!["--decoder", "cross", "--encoder-mask-tokens", "true"], "--decoder self"),
        (vec!["--predict-ratio", "0.5", "--encoder-mask-tokens", "true"], "--predict-ratio 1"),
    ];
    for (options, expected) in wrong {
        let common = ["pretrain", "--config", &small, "--out", &out, "--device", "cpu"];
        let output = run("host", &[&common, &options[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && text.contains(expected), "{options:?}: {text}");
        ensure!(!Path::new(&out).exists(), "{options:?}");
    }
    for (config, expected) in [
        (preset("kind.toml", "decoder = \"crossed\"", "")?, "crossed"),
        (preset("ratio.toml", "", "predict_ratio = 0")?, "--predict-ratio 0"),
        (preset("both.toml", "decoder = \"cross\"", "encoder_mask_tokens = true")?, "--decoder self"),
    ] {
        let output = run("host", &["pretrain", "--config", &config, "--out", &out, "--device", "cpu"]);
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && text.contains(expected), "{config}: {text}");
    }
    Ok(())
}
