//! What tests look at in the folders of trainings, and how they damage them.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

/// A model so small that a step takes a millisecond; the recipe of a preset has to follow.
pub const SMALL_MODEL: &str = r#"
description = "small"
[model]
image_height = 16
image_width = 16
patch_size = 4
dim = 32
depth = 2
heads = 2
decoder_dim = 16
decoder_depth = 1
decoder_heads = 2
"#;

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

/// Stops a training in `run` again and again until it has done all `steps`: two times in three by SIGKILL, else as
/// Ctrl-C does. `command` starts it or goes on, by what is in `run`; `soon`, told the stops so far and the step
/// before, says whether it shall be stopped in a moment. Returns how often it was killed, and stopped politely.
///
/// # Errors
/// If it loses a checkpoint, complains of damage, panics, or ends otherwise than it was made to.
pub fn interrupt(
    run: &Path,
    steps: usize,
    mut random: u32,
    command: impl Fn() -> Command,
    soon: impl Fn([usize; 2], usize) -> bool,
) -> anyhow::Result<[usize; 2]> {
    let mut stops = [0; 2];
    loop {
        let before = step(run);
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        while child.try_wait()?.is_none() && !soon(stops, before) {
            sleep(Duration::from_millis(1));
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sleep(Duration::from_micros(u64::from(random >> 17)));
        let polite = (stops[0] + stops[1]) % 3 == 2;
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&child), if polite { Signal::INT } else { Signal::KILL })?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(!text.contains("damaged") && !text.contains("panicked"), "{text}");
        ensure!(step(run) >= before, "checkpoints were lost");
        if output.status.success() && step(run) == steps {
            return Ok(stops);
        }
        ensure!(output.status.success() == polite, "{}: {text}", output.status);
        stops[usize::from(polite)] += 1;
    }
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

/// Checks that two runs ended with the same bytes, and wrote the same metrics but for the column of the speed, if
/// there is one.
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
        let header = text.lines().next().unwrap_or_default();
        let timed = header.split(',').position(|column| column == "images_per_second");
        let untimed = |line: &str| {
            let columns = line.split(',').enumerate().filter(|(place, _)| Some(*place) != timed);
            columns.map(|(_, value)| value).collect::<Vec<_>>().join(",")
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
