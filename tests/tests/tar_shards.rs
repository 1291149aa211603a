//! A training on tar shards: what is read and told, and that it goes on after any end as if it had not ended.

use anyhow::{Context as _, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tests::{
    program,
    runs::{SMALL_MODEL, ensure_same, finish, interrupt, step},
    shards,
};

/// 24 steps an epoch of 198 images.
const RECIPE: &str = "[train]
epochs = 4
batch_size = 8
warmup_epochs = 1
blr = 4.8e-2
";

fn pretrain(args: &[&str]) -> Command {
    let mut command = Command::new(program("host"));
    command.args(["pretrain", "--device", "cpu"]).args(args).env("RAYON_NUM_THREADS", "2");
    command
}

/// Three shards of 65 images and one with everything else that shards hold: `--data` and the folder of the shards.
fn written(root: &Path) -> anyhow::Result<(String, PathBuf)> {
    let folder = root.join("shards");
    fs::create_dir(&folder)?;
    shards::write_all(&folder, 3, 65)?;
    let (image, long) = (shards::png(999)?, "x".repeat(200));
    let members = [
        ("./000900.json".to_owned(), &b"{}"[..]),
        (format!("./{long}/000900.png"), &image[..]),
        ("./000901.jpg".to_owned(), &b"no image"[..]),
        ("./000902.png".to_owned(), &image[..]),
        ("./000902.mask.png".to_owned(), &image[..]),
        ("./._000903.png".to_owned(), &b"left by macOS"[..]),
    ];
    shards::write(&folder.join("train-003.tar"), members)?;
    Ok((folder.join("train-{000..003}.tar").display().to_string(), folder))
}

/// Starts a whole training in `root`/`name`.
fn start(root: &Path, name: &str, data: &[&str]) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let (config, run) = (root.join("small.toml"), root.join(name));
    fs::write(&config, [SMALL_MODEL, RECIPE].concat())?;
    let (config, out) = (config.display().to_string(), run.display().to_string());
    let args = [&["--config", &config, "--out", &out, "--data"], data].concat();
    Ok((run, args.into_iter().map(str::to_owned).collect()))
}

fn whole(root: &Path, name: &str, data: &[&str]) -> anyhow::Result<(PathBuf, Output)> {
    let (run, args) = start(root, name, data)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = finish(&mut pretrain(&args))?;
    Ok((run, output))
}

#[test]
fn a_training_on_shards_goes_on_as_it_would_have() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let (data, folder) = written(root.path())?;
    let (one, output) = whole(root.path(), "whole", &[&data])?;
    ensure!(step(&one) == 96, "{} steps", step(&one));
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains(&format!("198 images in 4 shards: {data}")), "{said}");
    let skipped = format!(
        "skipped  196 files of other kinds (.cls 195, .json 1), 1 hidden, 1 image beside that of a sample in {data}"
    );
    ensure!(noted.lines().any(|line| line == skipped), "{noted}");
    let broken = noted.lines().find(|line| line.starts_with("warning: skipped cannot decode"));
    let broken = broken.with_context(|| noted.clone().into_owned())?;
    ensure!(broken.contains("train-003.tar: 000901.jpg: it begins as no image does"), "{broken}");
    let recorded = fs::read_to_string(one.join("run.toml"))?;
    ensure!(recorded.contains("shards = [") && recorded.contains("{000..003}.tar"), "{recorded}");
    ensure!(fs::read_to_string(one.join("report.html"))?.contains("{000..003}.tar"));

    // Killed and stopped at any moment.
    let (run, args) = start(root.path(), "killed", &[&data])?;
    let shown = run.display().to_string();
    let mut begin: Vec<&str> = args.iter().map(String::as_str).collect();
    begin.extend(["--checkpoint-steps", "3"]);
    let resume = ["--resume", shown.as_str()];
    let command = || pretrain(if run.join("run.toml").exists() { &resume } else { &begin });
    let stops = interrupt(&run, 96, 4321, command, |_, before| step(&run) >= before + 9)?;
    ensure!(stops[0] >= 3 && stops[1] >= 1, "too few interruptions to show anything: {stops:?}");
    ensure_same(&run, &one)?;

    // As a shell hands them over, one by one; and after a move of all.
    let moved = root.path().join("moved");
    fs::rename(&folder, &moved)?;
    let each: Vec<String> =
        (0..4).map(|shard| moved.join(format!("train-{shard:03}.tar")).display().to_string()).collect();
    let each: Vec<&str> = each.iter().map(String::as_str).collect();
    let (other, _) = whole(root.path(), "other", &each)?;
    ensure_same(&other, &one)?;
    let gone = pretrain(&["--resume", &shown, "--epochs", "5"]).output()?;
    let text = String::from_utf8_lossy(&gone.stderr);
    ensure!(gone.status.code() == Some(2) && text.contains("4 of the 4 named ones are missing"), "{text}");
    let longer = [&["--resume", shown.as_str(), "--epochs", "5", "--data"], &each[..]].concat();
    finish(&mut pretrain(&longer))?;
    ensure!(step(&run) == 120, "{} steps", step(&run));
    Ok(())
}
