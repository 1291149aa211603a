//! Boards in QEMU: a serial line to their firmware, and a debugger.

use anyhow::{Context as _, bail, ensure};
use common::wire::{Assembler, Decoder, Feature, Hello, LogLevel, MAX_FRAME, Message, Sender, Statistics};
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// A running machine whose first serial port is the terminal `port`.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    /// Path of the terminal.
    pub port: String,
}

impl Machine {
    /// Starts `qemu` with `arguments`.
    ///
    /// # Errors
    /// If QEMU does not start.
    pub fn start(qemu: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(qemu)
            .args(["-display", "none", "-monitor", "none", "-serial", "pty"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| qemu.to_owned())?;
        // "char device redirected to /dev/pts/3 (label serial0)"
        let mut said = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut said)?;
        let port = said.split_whitespace().find(|word| word.starts_with("/dev/")).context(said.clone())?.to_owned();
        Ok(Self { process, port })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a board says.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a handful of them, in tests")]
pub enum Answer {
    /// All but features.
    Message(Message),
    /// A whole feature.
    Feature(Feature),
}

/// The host's end of a board's serial line, of which a test sees everything.
#[derive(Debug)]
pub struct Line {
    /// What is written here arrives at the board.
    pub port: File,
    received: Receiver<Vec<u8>>,
    sender: Sender,
    decoder: Decoder,
    assembler: Assembler,
    waiting: VecDeque<Answer>,
}

impl Line {
    /// Opens the terminal of a machine.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &str) -> anyhow::Result<Self> {
        let port = OpenOptions::new().read(true).write(true).open(path)?;
        let (mut reader, (give, received)) = (port.try_clone()?, channel());
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if give.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (sender, decoder, assembler) = (Sender::new(), Decoder::new(), Assembler::default());
        Ok(Self { port, received, sender, decoder, assembler, waiting: [].into() })
    }

    /// Sends a command.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn command(&mut self, command: &Message) -> anyhow::Result<()> {
        let mut buffer = [0; MAX_FRAME];
        let frame = self.sender.encode(command, &mut buffer)?;
        Ok(self.port.write_all(frame)?)
    }

    /// The next answer, but for logs of less than an error; `None` after `patience`.
    pub fn answer(&mut self, patience: Duration) -> Option<Answer> {
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
    ///
    /// # Errors
    /// If it does not within half a minute.
    pub fn greeting(&mut self) -> anyhow::Result<Hello> {
        self.port.write_all(&[0])?;
        for asked in 1..=60 {
            self.command(&Message::Ask)?;
            if let Some(Answer::Message(Message::Hello(hello))) = self.answer(Duration::from_millis(500)) {
                // What was asked before it could answer will be answered, too.
                let mut answered = 0;
                while answered < asked
                    && let Some(answer) = self.answer(Duration::from_secs(3))
                {
                    answered += u32::from(matches!(answer, Answer::Message(Message::Statistics(_))));
                }
                return Ok(hello);
            }
        }
        bail!("the board does not answer")
    }

    /// The board's figures.
    ///
    /// # Errors
    /// If something else comes.
    pub fn statistics(&mut self) -> anyhow::Result<Statistics> {
        self.command(&Message::Ask)?;
        loop {
            match self.answer(Duration::from_secs(10)).context("no figures")? {
                Answer::Message(Message::Statistics(statistics)) => return Ok(statistics),
                Answer::Message(Message::Hello(_)) => {}
                other => bail!("{other:?}"),
            }
        }
    }
}

/// A debugger on the emulator's own socket (`-gdb unix:PATH,server=on,wait=off`): sets registers of the first core.
#[derive(Debug)]
pub struct Debugger(UnixStream);

impl Debugger {
    /// Connects; the machine stops.
    ///
    /// # Errors
    /// If there is none.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut debugger = Self(stream);
        // Registers are written by number only after their description was asked for.
        debugger.ask("qXfer:features:read:target.xml:0,ffb")?;
        ensure!(debugger.ask("Hg1")? == "OK", "no first core");
        Ok(debugger)
    }

    /// Sets a register to a value of as many bytes as it has, little-endian.
    ///
    /// # Errors
    /// If it cannot be set.
    pub fn set(&mut self, register: u8, value: &[u8]) -> anyhow::Result<()> {
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask(&format!("P{register:x}={value}"))?;
        ensure!(answer == "OK", "the register was not set: {answer}");
        Ok(())
    }

    /// Lets the machine go on.
    ///
    /// # Errors
    /// If it does not.
    pub fn detach(mut self) -> anyhow::Result<()> {
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
