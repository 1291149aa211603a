//! What tests look at in the folders of trainings, and how they damage them.

use anyhow::{Context as _, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The files of a checkpoint.
pub const FILES: [&str; 3] = ["model.safetensors", "optimizer.safetensors", "position.toml"];

/// A way to damage a file: its new content, or nothing if it is to be removed.
pub type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

/// Ways in which files get damaged, by name.
pub const DAMAGES: [(&str, Damage); 5] = [
    ("truncated", |bytes| Some(bytes[..bytes.len() * 2 / 3].to_vec())),
    ("emptied", |_| Some(Vec::new())),
    ("missing", |_| None),
    ("a flipped bit in the header", |bytes| Some(flip(bytes, |_| 12))),
    ("a flipped bit in the data", |bytes| Some(flip(bytes, |length| length - 5))),
];

fn flip(mut bytes: Vec<u8>, place: fn(usize) -> usize) -> Vec<u8> {
    let place = place(bytes.len());
    bytes[place] ^= 4;
    bytes
}

/// Does `damage` to a file.
///
/// # Errors
/// Those of the file system.
pub fn damage(file: &Path, damage: Damage) -> anyhow::Result<()> {
    match damage(fs::read(file)?) {
        Some(bytes) => fs::write(file, bytes)?,
        None => fs::remove_file(file)?,
    }
    Ok(())
}

/// Runs a command to its end.
///
/// # Errors
/// If it fails.
pub fn finish(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{text}");
    Ok(output)
}

/// Checkpoint folders, oldest first; all other names in their folder.
///
/// # Errors
/// If an entry cannot be read; a folder that is not there has none.
pub fn checkpoints(run: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut checkpoints, mut others) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(run.join("checkpoints")) {
        Err(_) => return Ok((checkpoints, others)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("step-") { checkpoints.push(entry.path()) } else { others.push(name) }
    }
    checkpoints.sort();
    Ok((checkpoints, others))
}

/// The newest checkpoint.
///
/// # Errors
/// If there is none.
pub fn newest(run: &Path) -> anyhow::Result<PathBuf> {
    checkpoints(run)?.0.pop().with_context(|| format!("{} has no checkpoint", run.display()))
}

/// The step of the newest checkpoint, 0 without one.
#[must_use]
pub fn step(run: &Path) -> usize {
    let name = newest(run).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.and_then(|name| name.strip_prefix("step-")?.parse().ok()).unwrap_or(0)
}

/// Checks that two runs ended with the same bytes, and wrote the same metrics but for the column of the speed, if there
/// is one.
///
/// # Errors
/// Names what differs.
pub fn ensure_same(run: &Path, other: &Path) -> anyhow::Result<()> {
    for file in FILES {
        let read = |run: &Path| -> anyhow::Result<Vec<u8>> { Ok(fs::read(newest(run)?.join(file))?) };
        ensure!(read(run)? == read(other)?, "{file} differs");
    }
    let metrics = |run: &Path| -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(run.join("metrics.csv"))?;
        let timed = text.lines().next().is_some_and(|header| header.ends_with(",images_per_second"));
        let untimed = |line: &str| match line.rsplit_once(',') {
            Some((line, _)) if timed => line.to_owned(),
            _ => line.to_owned(),
        };
        Ok(text.lines().map(untimed).collect())
    };
    let (found, expected) = (metrics(run)?, metrics(other)?);
    ensure!(found == expected, "metrics differ: {found:?}, {expected:?}");
    Ok(())
}

/// Copies a folder.
///
/// # Errors
/// Those of the file system.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}
