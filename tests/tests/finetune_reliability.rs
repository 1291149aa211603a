//! A fine-tuning that is killed, or whose newest checkpoint is damaged, ends as if nothing had happened.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tests::{
    parity_model, program,
    runs::{self, DAMAGES, FILES, checkpoints, copy, ensure_same, finish, newest, step},
    tinted,
};

/// Six steps an epoch.
const STEPS: usize = 60;

/// `host evaluate HOW` on the CPU with two threads.
fn evaluate(how: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program("host"));
    command.args(["evaluate", how, "--device", "cpu"]).args(args).env("RAYON_NUM_THREADS", "2");
    command
}

/// Images, an encoder, and the options of a fine-tuning with every source of randomness on.
fn start(root: &Path, out: &Path, more: &[&str]) -> anyhow::Result<Vec<String>> {
    if !root.join("model").exists() {
        tinted::write(&root.join("train"), 100)?;
        tinted::write(&root.join("test"), 20)?;
        parity_model(&root.join("model"))?;
    }
    let mut args = Vec::new();
    for option in ["model", "train", "test"] {
        args.extend([format!("--{option}"), root.join(option).display().to_string()]);
    }
    args.extend(["--out".into(), out.display().to_string()]);
    let recipe = ["--epochs", "10", "--batch-size", "16", "--blr", "1e-2", "--keep", "0.5", "--seed", "3"];
    args.extend(recipe.iter().chain(more).map(|arg| (*arg).to_owned()));
    Ok(args)
}

fn train(root: &Path, name: &str, more: &[&str]) -> anyhow::Result<PathBuf> {
    let (out, mut command) = (root.join(name), evaluate("finetune", &[]));
    finish(command.args(start(root, &out, more)?))?;
    ensure!(step(&out) == STEPS);
    Ok(out)
}

#[test]
fn killed_at_any_moment_a_finetuning_ends_as_if_it_had_not_been() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let whole = train(root.path(), "whole", &[])?;
    let run = root.path().join("killed");
    let shown = run.display().to_string();
    let first = start(root.path(), &run, &["--checkpoint-steps", "2", "--keep-checkpoints", "3"])?;
    let (mut stops, mut random) = ([0; 2], 54_321_u32);
    loop {
        let before = step(&run);
        let mut command = evaluate("finetune", &[]);
        // What was recorded in finetune.toml is not given again, also if it was killed before its first checkpoint.
        if run.join("finetune.toml").exists() {
            command.args(["--resume", &shown])
        } else {
            command.args(&first)
        };
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        // The first time, right after the start.
        let enough = if stops == [0; 2] { 0 } else { 6 };
        while child.try_wait()?.is_none() && (step(&run) < before + enough || !run.join("finetune.toml").exists()) {
            sleep(Duration::from_millis(1));
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        sleep(Duration::from_micros(u64::from(random >> 17)));
        // Two times in three by surprise, else as Ctrl-C does.
        let polite = (stops[0] + stops[1]) % 3 == 2;
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&child), if polite { Signal::INT } else { Signal::KILL })?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(!text.contains("damaged") && !text.contains("panicked"), "{text}");
        ensure!(step(&run) >= before, "checkpoints were lost");
        if output.status.success() && step(&run) == STEPS {
            break;
        }
        ensure!(output.status.success() == polite, "{}: {text}", output.status);
        stops[usize::from(polite)] += 1;
    }
    assert!(stops[0] >= 3 && stops[1] >= 1, "too few interruptions to show anything: {stops:?}");
    ensure_same(&run, &whole)?;
    // What the killed processes left is gone, and as many are kept as was asked for at the start.
    let (kept, others) = checkpoints(&run)?;
    assert_eq!((kept.len(), others.len()), (3, 0), "{kept:?} {others:?}");
    Ok(())
}

#[test]
fn a_damaged_newest_checkpoint_of_a_finetuning_falls_back_to_the_one_before() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    // The last two checkpoints are those after steps 58 and 60.
    let whole = train(root.path(), "whole", &["--checkpoint-steps", "2"])?;
    let cases = FILES.iter().enumerate().flat_map(|(i, file)| {
        // Each file once truncated, and once in another way.
        [DAMAGES[0], DAMAGES[1 + i % 4]].map(|damage| (*file, damage))
    });
    for (file, (damage, make)) in cases {
        let run = root.path().join("damaged");
        copy(&whole, &run)?;
        let shown = run.display().to_string();
        runs::damage(&newest(&run)?.join(file), make)?;
        let output = finish(&mut evaluate("finetune", &["--resume", &shown, "--keep-checkpoints", "1"]))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let warning = text.lines().find(|line| line.starts_with("warning: ") && line.contains("step-00000058"));
        let warning = warning.with_context(|| format!("{file} {damage}: {text}"))?;
        ensure!(warning.contains("step-00000060 is damaged") && warning.contains(file), "{file} {damage}: {text}");
        ensure_same(&run, &whole).with_context(|| format!("{file} {damage}"))?;
        let (kept, others) = checkpoints(&run)?;
        ensure!(kept.len() == 1 && others == ["damaged-step-00000060"], "{kept:?} {others:?}");
        fs::remove_dir_all(&run)?;
    }
    // Another process that trains there is in the way of a second.
    let shown = whole.display().to_string();
    let lock = fs::File::options().append(true).open(whole.join("run.lock"))?;
    lock.lock()?;
    let refused = evaluate("finetune", &["--resume", &shown]).output()?;
    let text = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && text.contains("another process trains in"), "{text}");
    drop(lock);
    // With no whole one left, the reason is said.
    for path in checkpoints(&whole)?.0 {
        fs::write(path.join("position.toml"), "")?;
    }
    let output = evaluate("finetune", &["--resume", &shown]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("no whole checkpoint"), "{text}");
    Ok(())
}

/// Folders of the first version have neither checksums nor the later options; they go on with what they had.
#[test]
fn a_finetuning_of_an_earlier_version_is_continued() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let whole = train(root.path(), "whole", &["--train-positions", "off", "--checkpoint-steps", "2"])?;
    let run = root.path().join("old");
    copy(&whole, &run)?;
    fs::remove_file(run.join("run.lock"))?;
    fs::remove_dir_all(newest(&run)?)?;
    let last = newest(&run)?;
    ensure!(step(&run) == 58);
    fs::write(last.join("position.toml"), "epoch = 9\niteration = 4\nstep = 58\n")?;
    let text = fs::read_to_string(run.join("finetune.toml"))?;
    let (before, after) = text.split_once("[checkpoints]").context("a table of checkpoints")?;
    let (_, after) = after.split_once("\n[").context("a table after it")?;
    fs::write(run.join("finetune.toml"), format!("{before}[{after}").replace("train_positions = false\n", ""))?;
    finish(&mut evaluate("finetune", &["--resume", &run.display().to_string()]))?;
    for file in &FILES[..2] {
        ensure!(fs::read(newest(&run)?.join(file))? == fs::read(newest(&whole)?.join(file))?, "{file} differs");
    }
    Ok(())
}

#[test]
fn partial_trainings_keep_their_checkpoints_alike() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("partial");
    let picture = root.path().join("confusion.png").display().to_string();
    let more = ["--blocks", "0", "--limit", "32", "--checkpoint-steps", "1", "--keep-checkpoints", "4"];
    let args = start(root.path(), &out, &[&more[..], &["--confusion", &picture, "--json"]].concat())?;
    let output = finish(evaluate("partial", &[]).args(&args))?;
    let (kept, others) = checkpoints(&out.join("blocks-0"))?;
    ensure!((kept.len(), others.len(), step(&out.join("blocks-0"))) == (4, 0, 20), "{kept:?} {others:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(json["classes"].as_array().is_some_and(|classes| classes.len() == 4), "{json}");
    ensure!(image::open(&picture)?.width() > 200);
    Ok(())
}
