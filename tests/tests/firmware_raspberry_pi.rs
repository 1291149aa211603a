//! `kernel8.img` in QEMU's Raspberry Pi 3, against the native runtime on this machine.

use anyhow::{Context as _, bail, ensure};
use common::{
    model::Pooling,
    wire::{
        Assembler, Choice, Decoder, ErrorCode, Feature, Hello, ImagePart, LogLevel, MAX_FRAME, MAX_PIXELS, Message,
        Sender, Settings, Statistics,
    },
};
use edge::{
    native::{Encoder, Kernels, Model, Patches},
    select::{Select, choose},
    serve::built_in_image,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tests::skip;

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

/// A board in QEMU and the host's end of its serial line.
struct Board {
    machine: Child,
    line: File,
    received: Receiver<Vec<u8>>,
    sender: Sender,
    decoder: Decoder,
    assembler: Assembler,
    waiting: std::collections::VecDeque<Answer>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Message(Message),
    Feature(Feature),
}

impl Board {
    fn start(kernel: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut machine = Command::new(QEMU)
            .args(["-M", "raspi3b", "-display", "none", "-monitor", "none", "-serial", "pty", "-kernel"])
            .arg(kernel)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()?;
        // "char device redirected to /dev/pts/3 (label serial0)"
        let mut said = String::new();
        BufReader::new(machine.stdout.take().context("piped")?).read_line(&mut said)?;
        let terminal = said.split_whitespace().find(|word| word.starts_with("/dev/")).context(said.clone())?;
        let line = OpenOptions::new().read(true).write(true).open(terminal)?;
        let (mut reader, (give, received)) = (line.try_clone()?, channel());
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if give.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (sender, decoder, assembler) = (Sender::new(), Decoder::new(), Assembler::default());
        Ok(Self { machine, line, received, sender, decoder, assembler, waiting: [].into() })
    }

    fn order(&mut self, order: &Message) -> anyhow::Result<()> {
        let mut buffer = [0; MAX_FRAME];
        let frame = self.sender.encode(order, &mut buffer)?;
        Ok(self.line.write_all(frame)?)
    }

    /// The next answer, but for logs of less than an error; `None` after `patience`.
    fn answer(&mut self, patience: Duration) -> Option<Answer> {
        let end = Instant::now() + patience;
        while self.waiting.is_empty() {
            let bytes = self.received.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            for received in bytes.into_iter().filter_map(|byte| self.decoder.push(byte)) {
                // Before the terminal was open, bytes were lost.
                let Ok(received) = received else { continue };
                self.waiting.extend(self.assembler.push(&received).map(Answer::Feature));
                match received.message {
                    Message::Features(_) => {}
                    Message::Log(log) if log.level != LogLevel::Error => {}
                    message => self.waiting.push_back(Answer::Message(message)),
                }
            }
        }
        self.waiting.pop_front()
    }

    /// Asks until the board answers: it may be starting, or the terminal may not be open yet.
    fn greeting(&mut self) -> anyhow::Result<Hello> {
        self.line.write_all(&[0])?;
        for _ in 0..60 {
            self.order(&Message::Ask)?;
            if let Some(Answer::Message(Message::Hello(hello))) = self.answer(Duration::from_millis(500)) {
                while self.answer(Duration::from_millis(1000)).is_some() {}
                return Ok(hello);
            }
        }
        bail!("the board does not answer")
    }

    fn statistics(&mut self) -> anyhow::Result<Statistics> {
        self.order(&Message::Ask)?;
        loop {
            match self.answer(Duration::from_secs(10)).context("no figures")? {
                Answer::Message(Message::Statistics(statistics)) => return Ok(statistics),
                Answer::Message(Message::Hello(_)) => {}
                other => bail!("{other:?}"),
            }
        }
    }

    fn feature(&mut self) -> anyhow::Result<Feature> {
        match self.answer(Duration::from_secs(60)).context("no feature")? {
            Answer::Feature(feature) => Ok(feature),
            Answer::Message(message) => bail!("{message:?} instead of a feature"),
        }
    }

    fn image(&mut self, frame: u32, pixels: &[u8]) -> anyhow::Result<()> {
        parts(frame, pixels).try_for_each(|part| self.order(&part))
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
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
        let select = match settings.choice {
            Choice::Random => Select::Random,
            Choice::Grid => Select::Grid,
            Choice::Block => Select::Block,
            Choice::All => Select::All,
        };
        let visible = choose(select, &grid, settings.keep, (settings.seed, u64::from(frame)), &mut noise, &mut ids);
        let mut patches = vec![0; visible * grid.patch_dim()];
        for (id, patch) in ids[..visible].iter().zip(patches.chunks_exact_mut(grid.patch_dim())) {
            grid.extract(pixels, *id as usize, patch)?;
        }
        let features = self.0.encode(Patches::Pixels(&patches), &ids[..visible])?;
        Ok(features.pooled(settings.pooling).to_vec())
    }
}

/// An image of smooth colours and noise.
fn picture(grid: &common::patch::PatchGrid, number: u32) -> Vec<u8> {
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
    let mut board = Board::start(&kernel, &[])?;
    let hello = board.greeting()?;
    assert_eq!(hello, Hello::new(&spec, spec.pooling, &hello.runtime, &hello.program));
    assert!(hello.runtime.starts_with("native int8 ") && hello.program.starts_with("raspberry-pi "), "{hello:?}");

    // Orders wait in the board while it encodes: nobody waits for answers here.
    let mut expected = Vec::new();
    for (number, keep, choice, pooling) in [
        (10, 0.25, Choice::Random, Pooling::Cls),
        (11, 0.1, Choice::Grid, Pooling::Mean),
        (12, 0.3, Choice::Block, Pooling::Mean),
        (u32::MAX, 1.0, Choice::All, spec.pooling),
    ] {
        let settings = Settings { keep, choice, seed: 1 << 40, pooling };
        let pixels = picture(&grid, number);
        board.order(&Message::Settings(settings))?;
        board.image(number, &pixels)?;
        expected.push((number, reference.feature(&pixels, number, &settings)?));
    }
    let settings = Settings { keep: 0.25, choice: Choice::Random, seed: 9, pooling: Pooling::Mean };
    board.order(&Message::Settings(settings))?;
    board.order(&Message::BuiltIn(13))?;
    let mut pixels = vec![0; grid.image_len()];
    built_in_image(&grid, &mut pixels);
    expected.push((13, reference.feature(&pixels, 13, &settings)?));
    for (number, values) in expected {
        let found = board.feature()?;
        ensure!(found.frame == number && bits(&found.values) == bits(&values), "image {number} differs: {found:?}");
    }

    // Noise, zeros in it, an over-long frame; then an image in whose second part a bit is flipped.
    let before = board.statistics()?;
    assert_eq!((before.frames, before.skipped), (5, 0));
    let mut noise = vec![1; 1500];
    noise.extend((0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
    noise.push(0);
    board.line.write_all(&noise)?;
    let mut errors = 0;
    while let Some(answer) = board.answer(Duration::from_millis(1500)) {
        assert_eq!(answer, Answer::Message(Message::Error(ErrorCode::Damaged)));
        errors += 1;
    }
    let zeros = noise.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()).count() as u32;
    assert_eq!(errors, zeros);
    let pixels = picture(&grid, 14);
    for (index, part) in parts(14, &pixels).enumerate() {
        let mut buffer = [0; MAX_FRAME];
        let mut frame = board.sender.encode(&part, &mut buffer)?.to_vec();
        if index == 1 {
            frame[500] ^= if frame[500] == 4 { 8 } else { 4 };
        }
        board.line.write_all(&frame)?;
    }
    // One for the damaged frame and for the image that lacks it.
    assert_eq!(board.answer(Duration::from_secs(10)), Some(Answer::Message(Message::Error(ErrorCode::Damaged))));
    let after = board.statistics()?;
    assert_eq!((after.frames, after.skipped), (5, zeros + 1));
    board.image(14, &pixels)?;
    let found = board.feature()?;
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
        let mut board = Board::start(&kernel, &["-gdb", &listen])?;
        board.greeting()?;
        let mut debugger = Debugger::connect(&socket)?;
        debugger.set(register, 0x8bad_0000)?;
        debugger.detach()?;
        // It sleeps until something comes.
        board.order(&Message::Ask)?;
        let first = board.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Hello(_))) = first else { bail!("{first:?}") };
        let second = board.answer(Duration::from_secs(10));
        let Some(Answer::Message(Message::Log(log))) = second else { bail!("{second:?}") };
        assert_eq!(log.level, LogLevel::Error);
        assert!(log.text.starts_with(said) && log.text.contains("0x8bad0"), "{}", log.text);
        // The greeting of the restarted board, which works.
        let third = board.answer(Duration::from_secs(20));
        let Some(Answer::Message(Message::Hello(_))) = third else { bail!("{third:?}") };
        assert_eq!(board.statistics()?.frames, 0);
    }
    Ok(())
}

/// A debugger on the emulator's own socket: sets registers of the first core.
struct Debugger(UnixStream);

impl Debugger {
    /// Connects; the machine stops.
    fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut debugger = Self(stream);
        // Registers are written by number only after their description was asked for.
        debugger.ask("qXfer:features:read:target.xml:0,ffb")?;
        ensure!(debugger.ask("Hg1")? == "OK", "no first core");
        Ok(debugger)
    }

    /// Sets a register (31 is SP, 32 PC).
    fn set(&mut self, register: u8, value: u64) -> anyhow::Result<()> {
        let answer = self.ask(&format!("P{register:x}={:016x}", value.swap_bytes()))?;
        ensure!(answer == "OK", "the register was not set: {answer}");
        Ok(())
    }

    /// Lets the machine go on.
    fn detach(mut self) -> anyhow::Result<()> {
        self.ask("D").map(drop)
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        let sum = command.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${command}#{sum:02x}")?;
        loop {
            let answer = self.packet()?;
            // That the machine stopped when the debugger came is no answer.
            if !answer.starts_with('T') {
                return Ok(answer);
            }
        }
    }

    /// Reads up to the end of `$answer#sum`.
    fn packet(&mut self) -> anyhow::Result<String> {
        let mut answer = Vec::new();
        while !(answer.len() > 2 && answer[answer.len() - 3] == b'#') {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        self.0.write_all(b"+")?;
        let text = String::from_utf8_lossy(&answer);
        let begin = text.find('$').context("no answer")? + 1;
        Ok(text[begin..text.len() - 3].to_owned())
    }
}
