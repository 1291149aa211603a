//! The firmware of Cortex-M boards in QEMU, reached by `host listen --images`, against the native runtime on this
//! machine.

use anyhow::{Context as _, bail};
use common::{
    model::Pooling,
    wire::{LogLevel, MAX_FRAME, Message},
};
use edge::{
    native::{Encoder, Kernels, Model, Patches},
    select::{Select, choose},
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tests::{
    qemu::{Answer, Debugger, Line, Machine},
    read_features, skip, succeed, write_images,
};

const QEMU: &str = "qemu-system-arm";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The firmware for `board`, in the folder that `CORTEX_M_FIRMWARE` names or that `.ci/run cortex_m` fills; `None`,
/// with a word, without it or QEMU.
fn firmware(board: &str) -> Option<String> {
    let built = root().join("edge/firmware/cortex-m/target");
    let folder = std::env::var_os("CORTEX_M_FIRMWARE").map_or(built, PathBuf::from);
    let file = folder.join(format!("{board}.elf"));
    if Command::new(QEMU).arg("--version").output().is_err() {
        skip(&format!("no {QEMU} on this machine (Debian: apt-get install qemu-system-arm)"));
        return None;
    }
    if !file.exists() {
        skip(&format!("{} is not built (docs/firmware.md says how)", file.display()));
        return None;
    }
    Some(file.display().to_string())
}

/// Features of the images below `folder` by the shipped model on this machine.
fn expected(folder: &Path, keep: f64, select: Select, seed: u64, pooling: Pooling) -> anyhow::Result<Vec<Vec<f32>>> {
    let bytes = fs::read(root().join("models/cifar-pico-32/encoder.native"))?;
    let model = Model::parse(&bytes)?;
    let (spec, grid) = (*model.spec(), model.spec().grid()?);
    let mut encoder = Encoder::allocate(model, Kernels::best(), grid.patches(), 1)?;
    let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
    let features = imaging::find(folder)?.files.into_iter().enumerate().map(|(frame, path)| {
        let pixels = imaging::prepare(imaging::open(&path, spec.channels as usize)?, &spec)?;
        let visible = choose(select, &grid, keep, (seed, frame as u64), &mut noise, &mut ids);
        let mut patches = vec![0; visible * grid.patch_dim()];
        for (id, patch) in ids[..visible].iter().zip(patches.chunks_exact_mut(grid.patch_dim())) {
            grid.extract(&pixels, *id as usize, patch)?;
        }
        let features = encoder.encode(Patches::Pixels(&patches), &ids[..visible])?;
        Ok(features.pooled(pooling).to_vec())
    });
    features.collect()
}

fn bits(values: impl IntoIterator<Item = f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// Images over the line, noise on it, images again.
fn features_equal_those_of_this_machine(board: &str) -> anyhow::Result<()> {
    let Some(firmware) = firmware(board) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (images, out) = (folder.path().join("images"), folder.path().join("features.npy"));
    write_images(&images, 3)?;
    let logs = folder.path().join("defmt.bin");
    let log_port = format!("file:{}", logs.display());
    let machine = Machine::start(QEMU, &["-M", board, "-kernel", &firmware, "-serial", &log_port])?;
    let listen = |options: &[&str]| -> anyhow::Result<serde_json::Value> {
        let (images, out) = (images.display().to_string(), out.display().to_string());
        let all = ["listen", "--port", &machine.port, "--images", &images, "--out", &out, "--json"];
        let text = succeed("host", &[&all[..], options].concat());
        serde_json::from_str(&text).context(text)
    };
    let check = |keep, select, seed, pooling| -> anyhow::Result<()> {
        let found = read_features(&out)?;
        let expected = expected(&images, keep, select, seed, pooling)?;
        assert_eq!(found.nrows(), 3);
        for (row, (found, expected)) in found.rows().into_iter().zip(expected).enumerate() {
            assert_eq!(bits(found.iter().copied()), bits(expected), "image {row} on {board}");
        }
        let names = fs::read_to_string(out.with_extension("names.txt"))?;
        assert_eq!(names.lines().next(), Some("class-0/0000.png"));
        Ok(())
    };
    let summary = listen(&["--keep", "0.25", "--seed", "7"])?;
    assert_eq!((&summary["features"], &summary["damaged_frames"]), (&3.into(), &0.into()), "{summary}");
    check(0.25, Select::Random, 7, Pooling::Mean)?;

    // Noise with zeros in it, a frame that is too long, and a frame in which a bit is flipped.
    let mut line = Line::open(&machine.port)?;
    line.greeting()?;
    let before = line.statistics()?;
    assert_eq!((before.frames, before.skipped), (3, 0));
    let mut noise = vec![1; 1500];
    noise.extend((0..3000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
    let mut buffer = [0; MAX_FRAME];
    let mut frame = common::wire::Sender::new().encode(&Message::BuiltIn(1), &mut buffer)?.to_vec();
    frame[5] ^= 4;
    noise.push(0);
    noise.extend(frame);
    line.port.write_all(&noise)?;
    while line.answer(Duration::from_millis(800)).is_some() {}
    let damaged = noise.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()).count() as u32;
    let after = line.statistics()?;
    assert_eq!((after.frames, after.skipped), (3, damaged));
    drop(line);

    listen(&["--keep", "0.5", "--select", "grid", "--pool", "cls"])?;
    check(0.5, Select::Grid, 0, Pooling::Cls)?;
    if board == "mps2-an386" {
        listen(&[])?;
        check(1.0, Select::All, 0, Pooling::Mean)?;
    }
    // defmt's frames, each with a zero behind it: who starts, and with which model.
    let logged = fs::read(&logs)?;
    assert_eq!(logged.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()).count(), 2, "{logged:02x?}");
    Ok(())
}

#[test]
fn features_of_a_cortex_m4_equal_those_of_this_machine() -> anyhow::Result<()> {
    features_equal_those_of_this_machine("mps2-an386")
}

#[test]
fn features_of_a_cortex_m7_equal_those_of_this_machine() -> anyhow::Result<()> {
    features_equal_those_of_this_machine("mps2-an500")
}

#[test]
fn a_fault_is_reported_and_the_board_starts_anew() -> anyhow::Result<()> {
    let board = "mps2-an386";
    let Some(firmware) = firmware(board) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("debugger");
    let listen = format!("unix:{},server=on,wait=off", socket.display());
    let machine = Machine::start(QEMU, &["-M", board, "-kernel", &firmware, "-gdb", &listen])?;
    let mut line = Line::open(&machine.port)?;
    line.greeting()?;
    // A jump to nowhere; and a stack that ends where the memory does.
    for (register, value, said) in
        [(15, 0x8bad_0000_u32, "hard fault: PC 0x8bad0000 "), (13, 0x2000_0010, "stack overflow: ")]
    {
        let mut debugger = Debugger::connect(&socket)?;
        debugger.set(register, &value.to_le_bytes())?;
        debugger.detach()?;
        // It sleeps until something comes.
        line.command(&Message::Ask)?;
        let first = line.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Hello(_))) = first else { bail!("{first:?}") };
        let second = line.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Log(log))) = second else { bail!("{second:?}") };
        assert_eq!(log.level, LogLevel::Error);
        assert!(log.text.starts_with(said), "{}", log.text);
        // The greeting of the restarted board, which works.
        let third = line.answer(Duration::from_secs(20));
        let Some(Answer::Message(Message::Hello(_))) = third else { bail!("{third:?}") };
        // What was left of the command on the line is no whole frame.
        while line.answer(Duration::from_secs(1)).is_some() {}
        assert_eq!(line.statistics()?.frames, 0);
    }
    Ok(())
}
