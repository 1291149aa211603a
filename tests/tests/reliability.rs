//! A training that is killed, damaged or short of disk ends as if nothing had happened.

use anyhow::{Context as _, ensure};
use host::tensors::{Tensors, safetensors};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{
    program,
    runs::{self, DAMAGES, FILES, SMALL_MODEL, checkpoints, copy, ensure_same, finish, interrupt, newest, step},
};

/// 32 steps an epoch.
const RECIPE: &str = "[train]
epochs = 6
batch_size = 8
warmup_epochs = 1
blr = 4.8e-2
synthetic_images = 256
";

/// `host pretrain` on the CPU with two threads.
fn pretrain(args: &[&str]) -> Command {
    let mut command = Command::new(program("host"));
    command.args(["pretrain", "--device", "cpu"]).args(args).env("RAYON_NUM_THREADS", "2");
    command
}

/// A whole training of [`SMALL_MODEL`] in `root`/`name`.
fn train(root: &Path, name: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    let (config, run) = (root.join("small.toml"), root.join(name));
    fs::write(&config, [SMALL_MODEL, RECIPE].concat())?;
    let (config, out) = (config.display().to_string(), run.display().to_string());
    finish(&mut pretrain(&[&["--config", &config, "--out", &out], more].concat()))?;
    Ok(run)
}

/// A whole training of [`SMALL_MODEL`] in `root`, and one with the same options that was killed again and again.
fn killed(root: &Path, more: &[&str]) -> anyhow::Result<(PathBuf, PathBuf)> {
    let whole = train(root, "whole", more)?;
    let (config, run) = (root.join("small.toml").display().to_string(), root.join("killed"));
    let shown = run.display().to_string();
    let saving = ["--checkpoint-steps", "3", "--keep-checkpoints", "3"];
    let start = [&["--config", &config, "--out", &shown], more, &saving[..]].concat();
    let resume = ["--resume", shown.as_str()];
    // What was recorded in run.toml is not given again.
    let command = || pretrain(if run.join("run.toml").exists() { &resume } else { &start });
    let stops = interrupt(&run, 192, 12_345, command, |_, before| step(&run) >= before + 12)?;
    ensure!(stops[0] >= 4 && stops[1] >= 2, "too few interruptions to show anything: {stops:?}");
    ensure_same(&run, &whole)?;
    Ok((whole, run))
}

#[test]
fn killed_at_any_moment_a_training_ends_as_if_it_had_not_been() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let (_, run) = killed(root.path(), &["--accumulate", "2", "--batch-size", "4", "--seed", "5"])?;
    // What the killed processes left is gone, and as many are kept as was asked for at the start.
    let (kept, others) = checkpoints(&run)?;
    assert_eq!((kept.len(), others.len()), (3, 0), "{kept:?} {others:?}");
    Ok(())
}

#[test]
fn coloured_views_a_range_of_masks_and_muon_go_on_as_they_would_have() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let colours = ["--jitter", "1", "--grey", "0.2", "--blur", "0.5", "--solarise", "0.2", "--crop-area", "0.1"];
    let others = ["--keep-range", "0.15..1", "--optimizer", "muon", "--blr", "9.6e-3", "--accumulate", "2"];
    let (whole, run) = killed(root.path(), &[&colours[..], &others, &["--batch-size", "4"]].concat())?;
    let recorded = fs::read_to_string(run.join("run.toml"))?;
    for line in ["[train.colour]", "crop_area = 0.1", "keep_range = [0.15, 1.0]", "optimizer = \"muon\""] {
        ensure!(recorded.lines().any(|found| found == line), "no {line} in {recorded}");
    }
    // Matrices of blocks have a momentum, all else the two moments of AdamW.
    let (state, _) = safetensors::read(&newest(&whole)?.join("optimizer.safetensors"))?;
    let (mut muon, mut adamw) = (0, 0);
    for name in state.keys().filter_map(|key| key.strip_suffix(".momentum")) {
        ensure!(name.contains("blocks.") && !state.contains_key(&format!("{name}.exp_avg")), "{name}");
        muon += 1;
    }
    for name in state.keys().filter_map(|key| key.strip_suffix(".exp_avg")) {
        ensure!(!name.contains(".attn.qkv.weight"), "{name}");
        adamw += 1;
    }
    // Two blocks and one, of four matrices each.
    ensure!((muon, adamw > 20) == (12, true), "{muon} {adamw}");
    // Each option has an effect.
    let last = |run: &Path| -> anyhow::Result<String> {
        let text = fs::read_to_string(run.join("metrics.csv"))?;
        text.lines().last().and_then(|line| line.split(',').nth(2)).map(str::to_owned).context("no loss")
    };
    let without = |name: &str, left: &[&str]| train(root.path(), name, &[left, &["--epochs", "1"]].concat());
    let plain = last(&without("plain", &[])?)?;
    for (name, options) in [
        ("coloured", &colours[..2]),
        ("grey", &colours[2..4]),
        ("blurred", &colours[4..6]),
        ("solarised", &colours[6..8]),
        ("cropped", &colours[8..]),
        ("ranged", &others[..2]),
        ("muon", &others[2..4]),
    ] {
        ensure!(last(&without(name, options)?)? != plain, "{name} changes nothing");
    }
    Ok(())
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    // The last two checkpoints are those after steps 190 and 192.
    let whole = train(root.path(), "whole", &["--checkpoint-steps", "5"])?;
    for file in FILES {
        for (damage, make) in DAMAGES {
            let run = root.path().join("damaged");
            copy(&whole, &run)?;
            let (path, shown) = (newest(&run)?.join(file), run.display().to_string());
            runs::damage(&path, make)?;
            let output = finish(&mut pretrain(&["--resume", &shown, "--keep-checkpoints", "1"]))?;
            let text = String::from_utf8_lossy(&output.stderr);
            let warning = text.lines().find(|line| line.starts_with("warning: ") && line.contains("step-00000190"));
            let warning = warning.with_context(|| format!("{file} {damage}: {text}"))?;
            ensure!(
                warning.contains("step-00000192 is damaged") && warning.contains(file),
                "{file} {damage}: {text}"
            );
            ensure_same(&run, &whole).with_context(|| format!("{file} {damage}"))?;
            let (kept, others) = checkpoints(&run)?;
            ensure!(kept.len() == 1 && others == ["damaged-step-00000192"], "{kept:?} {others:?}");
            fs::remove_dir_all(&run)?;
        }
    }
    // A run that was killed before its first checkpoint, in the middle of a line of metrics.csv.
    let run = root.path().join("early");
    copy(&whole, &run)?;
    fs::remove_dir_all(run.join("checkpoints"))?;
    fs::create_dir(run.join("checkpoints"))?;
    fs::write(run.join("metrics.csv"), "epoch,step,loss,lr,images_per_second\n1,32,0.98")?;
    let output = finish(&mut pretrain(&["--resume", &run.display().to_string()]))?;
    ensure!(String::from_utf8_lossy(&output.stderr).contains("no checkpoint yet: it begins anew"));
    ensure_same(&run, &whole)?;
    // With no whole one left, the reason is said.
    for path in checkpoints(&whole)?.0 {
        fs::write(path.join("position.toml"), "")?;
    }
    let output = pretrain(&["--resume", &whole.display().to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("no whole checkpoint"), "{text}");
    Ok(())
}

#[test]
fn where_nothing_can_be_written_the_checkpoints_stay_and_the_training_goes_on_later() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let whole = train(root.path(), "whole", &[])?;
    // Ends in the middle, with a schedule for all epochs.
    let run = train(root.path(), "short", &["--epochs", "3", "--warmup-epochs", "1"])?;
    let shown = run.display().to_string();
    let (before, _) = checkpoints(&run)?;
    // A limit on the size of files stands for the full disk: writing fails, whoever the user is.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(program("host"))
        .args(["pretrain", "--device", "cpu", "--resume", &shown, "--epochs", "6", "--checkpoint-steps", "5"])
        .env("RAYON_NUM_THREADS", "2")
        .output()?;
    let text = String::from_utf8_lossy(&limited.stderr);
    let last = text.lines().last().unwrap_or_default();
    ensure!(limited.status.code() == Some(1) && !text.contains("panicked"), "{text}");
    ensure!(text.contains("warning: no more curves, pictures and reports of this training"), "{text}");
    for wanted in ["host: cannot write the checkpoint", "those before it are kept", "--resume", "too large"] {
        ensure!(last.contains(wanted), "{last:?} lacks {wanted:?}");
    }
    ensure!(checkpoints(&run)? == (before, vec![]), "a checkpoint was lost, or something half-written is left");

    // Another process that trains there is in the way of a second.
    let lock = fs::File::options().append(true).open(run.join("run.lock"))?;
    lock.lock()?;
    let refused = pretrain(&["--resume", &shown]).output()?;
    let text = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && text.contains("another process trains in"), "{text}");
    drop(lock);

    // The six epochs were recorded, so that they need not be given again; the first three had a schedule of their
    // own.
    finish(&mut pretrain(&["--resume", &shown]))?;
    ensure!(step(&run) == step(&whole), "{} steps", step(&run));
    // Other threads round otherwise: that is said.
    let output = finish(pretrain(&["--resume", &shown, "--epochs", "7"]).env("RAYON_NUM_THREADS", "1"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(text.contains("on 2 threads of the CPU, it goes on on one thread"), "{text}");
    Ok(())
}

/// The largest difference between two tensors, over the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().map(|v| v.abs()).fold(f32::MIN_POSITIVE, f32::max);
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn four_batches_of_16_make_the_steps_of_one_of_64() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    // 14 images are too few for a fifth step of either.
    let more = ["--epochs", "3", "--warmup-epochs", "0", "--blr", "4e-3", "--synthetic-images", "270"];
    let read =
        |run: &Path, file: &str| -> anyhow::Result<Tensors> { Ok(safetensors::read(&newest(run)?.join(file))?.0) };
    let batches = |name: &str, batch: &str, accumulate: &str| {
        train(root.path(), name, &[&more[..], &["--batch-size", batch, "--accumulate", accumulate]].concat())
    };
    let (large, small) = (batches("large", "64", "1")?, batches("small", "16", "4")?);
    // Not the same training by chance: a smaller effective batch ends elsewhere.
    let alone = batches("alone", "16", "1")?;
    ensure!((step(&large), step(&small), step(&alone)) == (12, 12, 48));
    ensure!(fs::read(newest(&large)?.join(FILES[0]))? != fs::read(newest(&alone)?.join(FILES[0]))?);
    let metrics = |run: &Path| -> anyhow::Result<Vec<f64>> {
        let text = fs::read_to_string(run.join("metrics.csv"))?;
        let fields = text.lines().skip(1).flat_map(|line| line.split(',').take(4).map(str::parse));
        Ok(fields.collect::<Result<_, _>>()?)
    };
    for (a, b) in metrics(&large)?.iter().zip(metrics(&small)?) {
        ensure!((a - b).abs() <= 2e-6, "epoch, step, loss or learning rate: {a}, {b}");
    }
    // Sums of 64 and of 4 times 16 round differently; measured: 5.1e-7 of the largest value for parameters, 7.6e-7
    // for moments. Moments, because AdamW's update would not notice gradients that are four times too large. The loss
    // does not depend on the bias of the keys (softmax), so its gradient is rounding alone: it is left out.
    let keys = |name: &str, place: usize, length: usize| name.contains("qkv.bias") && place * 3 / length == 1;
    for file in &FILES[..2] {
        let (large, small) = (read(&large, file)?, read(&small, file)?);
        ensure!(large.len() == small.len());
        for (name, tensor) in &large {
            let length = tensor.data.len();
            let without_keys = |data: &[f32]| -> Vec<f32> {
                (0..length).filter(|place| !keys(name, *place, length)).map(|place| data[place]).collect()
            };
            let found = difference(&without_keys(&tensor.data), &without_keys(&small[name].data));
            ensure!(found <= 2e-5, "{name} of {file}: {found}");
        }
    }
    Ok(())
}
