//! `kernel8.img` in QEMU's Raspberry Pi 3, against the native runtime on this machine.

use anyhow::{Context as _, bail, ensure};
use common::{
    model::Pooling,
    patch::PatchGrid,
    wire::{
        Choice, ErrorCode, Feature, Hello, ImagePart, LogLevel, MAX_FRAME, MAX_PIXELS, Message, Sender, Settings,
    },
};
use edge::{
    native::{Encoder, Kernels, Model, Patches},
    select::choose,
    serve::built_in_image,
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
    skip,
};

const QEMU: &str = "qemu-system-aarch64";

/// The image that `PI_KERNEL` names or docs/firmware-raspberry-pi.md builds; `None`, with a word, without it or QEMU.
fn kernel() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = root.join("edge/firmware/raspberry-pi/target/kernel8.img");
    let kernel = std::env::var_os("PI_KERNEL").map_or(built, PathBuf::from);
    if Command::new(QEMU).arg("--version").output().is_err() {
        skip(&format!("no {QEMU} on this machine (Debian: apt-get install qemu-system-arm)"));
        return None;
    }
    if !kernel.exists() {
        skip(&format!("{} is not built (docs/firmware-raspberry-pi.md says how)", kernel.display()));
        return None;
    }
    Some(kernel)
}

/// A board with `more` arguments of QEMU, and the host's end of its serial line.
fn start(kernel: &Path, more: &[&str]) -> anyhow::Result<(Machine, Line)> {
    let kernel = kernel.display().to_string();
    let machine = Machine::start(QEMU, &[&["-M", "raspi3b", "-kernel", &kernel], more].concat())?;
    let line = Line::open(&machine.port)?;
    Ok((machine, line))
}

fn feature(line: &mut Line) -> anyhow::Result<Feature> {
    match line.answer(Duration::from_secs(60)).context("no feature")? {
        Answer::Feature(feature) => Ok(feature),
        Answer::Message(message) => bail!("{message:?} instead of a feature"),
    }
}

fn send_image(line: &mut Line, frame: u32, pixels: &[u8]) -> anyhow::Result<()> {
    parts(frame, pixels).try_for_each(|part| line.command(&part))
}

fn parts(frame: u32, pixels: &[u8]) -> impl Iterator<Item = Message> {
    let total = pixels.len() as u32;
    pixels.chunks(MAX_PIXELS).enumerate().map(move |(index, pixels)| {
        let pixels = heapless::Vec::from_slice(pixels).expect("short");
        Message::Image(ImagePart { frame, total, offset: (index * MAX_PIXELS) as u32, pixels })
    })
}

/// The shipped model on this machine.
struct Reference<'a>(Encoder<'a>);

impl<'a> Reference<'a> {
    fn new(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let model = Model::parse(bytes)?;
        Ok(Self(Encoder::allocate(model, Kernels::best(), model.spec().grid()?.patches(), 1)?))
    }

    fn feature(&mut self, pixels: &[u8], frame: u32, settings: &Settings) -> anyhow::Result<Vec<f32>> {
        let grid = self.0.spec().grid()?;
        let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
        let seed = (settings.seed, u64::from(frame));
        let visible = choose(settings.choice, &grid, settings.keep, seed, &mut noise, &mut ids);
        let mut patches = vec![0; visible * grid.patch_dim()];
        for (id, patch) in ids[..visible].iter().zip(patches.chunks_exact_mut(grid.patch_dim())) {
            grid.extract(pixels, *id as usize, patch)?;
        }
        let features = self.0.encode(Patches::Pixels(&patches), &ids[..visible])?;
        Ok(features.pooled(settings.pooling).to_vec())
    }
}

/// An image of smooth colours and noise.
fn picture(grid: &PatchGrid, number: u32) -> Vec<u8> {
    let mut pixels = vec![0; grid.image_len()];
    built_in_image(grid, &mut pixels);
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    for pixel in &mut pixels {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *pixel = pixel.wrapping_mul(number as u8 | 1).wrapping_add((state >> 27) as u8);
    }
    pixels
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn shipped() -> anyhow::Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cifar-pico-32/encoder.native");
    fs::read(&path).with_context(|| format!("{}", path.display()))
}

#[test]
fn features_over_the_serial_line_equal_those_of_this_machine_and_noise_does_not_stop_the_board() -> anyhow::Result<()>
{
    let Some(kernel) = kernel() else { return Ok(()) };
    let bytes = shipped()?;
    let mut reference = Reference::new(&bytes)?;
    let (spec, grid) = (*reference.0.spec(), reference.0.spec().grid()?);
    let (_machine, mut board) = start(&kernel, &[])?;
    let hello = board.greeting()?;
    assert_eq!(hello, Hello::new(&spec, spec.pooling, &hello.runtime, &hello.program));
    assert!(hello.runtime.starts_with("native int8 ") && hello.program.starts_with("raspberry-pi "), "{hello:?}");

    // Commands wait in the board while it encodes: nobody waits for answers here.
    let mut expected = Vec::new();
    for (number, keep, choice, pooling) in [
        (10, 0.25, Choice::Random, Pooling::Cls),
        (11, 0.1, Choice::Grid, Pooling::Mean),
        (12, 0.3, Choice::Block, Pooling::Mean),
        (u32::MAX, 1.0, Choice::All, spec.pooling),
    ] {
        let settings = Settings { keep, choice, seed: 1 << 40, pooling };
        let pixels = picture(&grid, number);
        board.command(&Message::Settings(settings))?;
        send_image(&mut board, number, &pixels)?;
        expected.push((number, reference.feature(&pixels, number, &settings)?));
    }
    let settings = Settings { keep: 0.25, choice: Choice::Random, seed: 9, pooling: Pooling::Mean };
    board.command(&Message::Settings(settings))?;
    board.command(&Message::BuiltIn(13))?;
    let mut pixels = vec![0; grid.image_len()];
    built_in_image(&grid, &mut pixels);
    expected.push((13, reference.feature(&pixels, 13, &settings)?));
    for (number, values) in expected {
        let found = feature(&mut board)?;
        ensure!(found.frame == number && bits(&found.values) == bits(&values), "image {number} differs: {found:?}");
    }

    // Noise, zeros in it, an over-long frame; then an image in whose second part a bit is flipped.
    let before = board.statistics()?;
    assert_eq!((before.frames, before.skipped), (5, 0));
    let mut noise = vec![1; 1500];
    noise.extend((0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
    noise.push(0);
    board.port.write_all(&noise)?;
    let mut errors = 0;
    while let Some(answer) = board.answer(Duration::from_millis(1500)) {
        assert_eq!(answer, Answer::Message(Message::Error(ErrorCode::Damaged)));
        errors += 1;
    }
    let zeros = noise.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()).count() as u32;
    assert_eq!(errors, zeros);
    let pixels = picture(&grid, 14);
    let mut sender = Sender::new();
    for (index, part) in parts(14, &pixels).enumerate() {
        let mut buffer = [0; MAX_FRAME];
        let mut frame = sender.encode(&part, &mut buffer)?.to_vec();
        if index == 1 {
            frame[500] ^= if frame[500] == 4 { 8 } else { 4 };
        }
        board.port.write_all(&frame)?;
    }
    // One for the damaged frame and for the image that lacks it.
    assert_eq!(board.answer(Duration::from_secs(10)), Some(Answer::Message(Message::Error(ErrorCode::Damaged))));
    let after = board.statistics()?;
    assert_eq!((after.frames, after.skipped), (5, zeros + 1));
    send_image(&mut board, 14, &pixels)?;
    let found = feature(&mut board)?;
    let values = reference.feature(&pixels, 14, &settings)?;
    ensure!(found.frame == 14 && bits(&found.values) == bits(&values), "after the noise: {found:?}");
    Ok(())
}

#[test]
fn an_exception_is_reported_and_the_board_starts_anew() -> anyhow::Result<()> {
    let Some(kernel) = kernel() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    // A jump to nowhere; and a stack pointer at nowhere, as after an overflow.
    for (register, said) in [(32, "instruction abort, not mapped: ESR "), (31, "data abort, not mapped: ESR ")] {
        let socket = folder.path().join(format!("debugger-{register}"));
        let listen = format!("unix:{},server=on,wait=off", socket.display());
        let (_machine, mut board) = start(&kernel, &["-gdb", &listen])?;
        board.greeting()?;
        let mut debugger = Debugger::connect(&socket)?;
        debugger.set(register, &0x8bad_0000_u64.to_le_bytes())?;
        debugger.detach()?;
        // It sleeps until something comes.
        board.command(&Message::Ask)?;
        let first = board.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Hello(_))) = first else { bail!("{first:?}") };
        let second = board.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Log(log))) = second else { bail!("{second:?}") };
        assert_eq!(log.level, LogLevel::Error);
        assert!(log.text.starts_with(said) && log.text.contains("0x8bad0"), "{}", log.text);
        // The greeting of the restarted board, which works.
        let third = board.answer(Duration::from_secs(20));
        let Some(Answer::Message(Message::Hello(_))) = third else { bail!("{third:?}") };
        // What was left of the command on the line is no whole frame.
        while board.answer(Duration::from_secs(1)).is_some() {}
        assert_eq!(board.statistics()?.frames, 0);
    }
    Ok(())
}
