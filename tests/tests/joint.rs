//! Pre-training with a joint term, as a user runs it.

use anyhow::{Context as _, ensure};
use host::tensors::{is_encoder, safetensors};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::{
    program,
    runs::{SMALL_MODEL, ensure_same, finish, interrupt, newest, step},
};

/// 16 steps an epoch.
const RECIPE: &str = "[train]
epochs = 4
batch_size = 16
warmup_epochs = 1
blr = 1e-2
synthetic_images = 256
[train.colour]
jitter = 1.0
grey = 0.2
[train.joint]
projector_hidden = 32
projector_dim = 16
slices = 32
";

fn host(args: &[&str]) -> Command {
    let mut command = Command::new(program("host"));
    command.args(args).env("RAYON_NUM_THREADS", "2");
    command
}

fn config(root: &Path, recipe: &str) -> anyhow::Result<String> {
    let path = root.join("small.toml");
    fs::write(&path, [SMALL_MODEL, recipe].concat())?;
    Ok(path.display().to_string())
}

/// A whole training in `root`/`name`.
fn train(root: &Path, name: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    let (config, run) = (config(root, RECIPE)?, root.join(name));
    let out = run.display().to_string();
    let start = ["pretrain", "--device", "cpu", "--config", &config, "--out", &out];
    finish(&mut host(&[&start, more].concat()))?;
    Ok(run)
}

fn metrics(run: &Path) -> anyhow::Result<Vec<Vec<f64>>> {
    let text = fs::read_to_string(run.join("metrics.csv"))?;
    let mut lines = text.lines();
    let header = "epoch,step,loss,lr,images_per_second,reconstruction,joint,feature_std,feature_rank";
    ensure!(lines.next() == Some(header), "{text}");
    lines.map(|line| Ok(line.split(',').map(str::parse).collect::<Result<_, _>>()?)).collect()
}

#[test]
fn both_terms_learn_and_a_killed_training_ends_as_if_it_had_not_been() -> anyhow::Result<()> {
    for (term, views, keep) in [("infonce", "2", "0.25"), ("sigreg", "3", "0.1")] {
        let root = tempfile::tempdir()?;
        let shares = ["--view-keep", keep, "--joint-weight", "0.5"];
        let more = [&["--joint", term, "--views", views, "--seed", "5"][..], &shares].concat();
        let whole = train(root.path(), "whole", &more)?;
        let lines = metrics(&whole)?;
        ensure!(lines.len() == 4 && lines.iter().flatten().all(|value| value.is_finite()), "{lines:?}");
        for line in &lines {
            let (loss, reconstruction, joint, std, rank) = (line[2], line[5], line[6], line[7], line[8]);
            ensure!((loss - (reconstruction + 0.5 * joint)).abs() < 1e-4, "{term}: {line:?}");
            ensure!(std > 0.0 && std <= 1.0 && rank > 1.0 && rank <= 32.0, "{term}: {line:?}");
        }
        ensure!(lines[3][6] < lines[0][6] && lines[3][5] < lines[0][5], "{term} learns both: {lines:?}");
        let page = fs::read_to_string(whole.join("report.html"))?;
        for shown in ["Parts of the loss", "Spread of the features", &format!("on {views} views of each image")] {
            ensure!(page.contains(shown), "{term}: the report lacks {shown}");
        }
        let (config, run) = (config(root.path(), RECIPE)?, root.path().join("killed"));
        let shown = run.display().to_string();
        let start = ["pretrain", "--device", "cpu", "--config", &config, "--out", &shown, "--checkpoint-steps", "2"];
        let resume = ["pretrain", "--device", "cpu", "--resume", &shown];
        let start = [&start[..], &more[..]].concat();
        let command = || host(if run.join("run.toml").exists() { &resume } else { &start });
        let stops = interrupt(&run, 64, 12_345, command, |_, before| step(&run) >= before + 9)?;
        ensure!(stops[0] + stops[1] >= 3, "too few interruptions to show anything: {stops:?}");
        ensure_same(&run, &whole).context(term)?;
    }
    Ok(())
}

#[test]
fn without_a_decoder_there_is_an_encoder_and_no_picture() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let run = train(root.path(), "run", &["--joint", "infonce", "--reconstruction-weight", "0", "--epochs", "1"])?;
    ensure!(metrics(&run)?[0][5] == 0.0);
    ensure!(!run.join("pictures/reconstruction.png").exists());
    let (shown, out) = (run.display().to_string(), root.path().join("out"));
    let picture = root.path().join("picture.png").display().to_string();
    let refused = host(&["reconstruct", "--run", &shown, "--out", &picture]).output()?;
    let text = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && text.contains("--reconstruction-weight 0"), "{text}");
    let file = root.path().join("model.safetensors").display().to_string();
    finish(&mut host(&["export", "--run", &shown, "--format", "official", "--out", &file]))?;
    let (tensors, _) = safetensors::read(Path::new(&file))?;
    ensure!(tensors.keys().all(|name| is_encoder(name) || name == "pos_embed"), "{:?}", tensors.keys());
    finish(&mut host(&["export", "--run", &shown, "--out", &out.display().to_string()]))?;
    // Another training can begin with it, and has a decoder from then on.
    let next = train(root.path(), "next", &["--init", &shown, "--epochs", "1"])?;
    ensure!(next.join("pictures/reconstruction.png").exists());
    Ok(())
}

#[test]
fn the_projector_is_no_part_of_the_model() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let run = train(root.path(), "run", &["--joint", "sigreg", "--epochs", "1"])?;
    let (mut tensors, metadata) = safetensors::read(&newest(&run)?.join("model.safetensors"))?;
    let hash = host::tensors::encoder_hash(&tensors);
    let before = tensors.len();
    tensors.retain(|name, _| !name.starts_with("projector."));
    ensure!(tensors.len() + 5 == before && host::tensors::encoder_hash(&tensors) == hash, "{metadata:?}");
    Ok(())
}

fn refused(root: &Path, recipe: &str, more: &[&str]) -> anyhow::Result<Output> {
    let (config, out) = (config(root, recipe)?, root.join("run").display().to_string());
    let start = ["pretrain", "--device", "cpu", "--config", &config, "--out", &out];
    Ok(host(&[&start, more].concat()).output()?)
}

#[test]
fn a_collapse_ends_the_training_and_says_so() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    // Hardly anything keeps the features apart.
    let recipe =
        RECIPE.replace("slices = 32", "slices = 32\nsigreg_share = 1e-12").replace("epochs = 4", "epochs = 60");
    let output = refused(root.path(), &recipe, &["--joint", "sigreg", "--reconstruction-weight", "0"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("the features have collapsed at step")).context("a line")?;
    ensure!(line.contains("sigreg_share") && !text.contains("panicked"), "{text}");
    Ok(())
}

#[test]
fn impossible_terms_are_misuse() -> anyhow::Result<()> {
    for (more, named) in [
        (&["--joint", "infonce", "--views", "1"][..], "--views"),
        (&["--joint", "infonce", "--view-keep", "1.5"], "--view-keep"),
        (&["--joint", "infonce", "--joint-weight", "0"], "--joint-weight"),
        (&["--reconstruction-weight", "0"], "--reconstruction-weight"),
        (&["--joint", "sigreg", "--batch-size", "1"], "--batch-size"),
        (&["--joint", "sigreg", "--encoder-mask-tokens", "true"], "--encoder-mask-tokens"),
        (&["--joint", "byol"], "byol"),
    ] {
        let root = tempfile::tempdir()?;
        let output = refused(root.path(), RECIPE, more)?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && text.contains(named), "{more:?}: {text}");
        ensure!(!root.path().join("run").exists(), "{more:?} leaves nothing");
    }
    let root = tempfile::tempdir()?;
    let output = refused(root.path(), &RECIPE.replace("slices", "slice"), &[])?;
    ensure!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("slice"));
    Ok(())
}
