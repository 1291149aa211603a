//! `host listen`.

mod images;

use crate::link::{
    Counts, Ending, Event, Reader, port,
    sink::{Sink, classes_path, names_path},
};
use anyhow::{Context as _, bail};
use common::wire::{Feature, Hello, Statistics};
use std::{
    fs,
    io::{IsTerminal as _, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Options of `host listen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serial port, pseudo-terminal, pipe, recorded file, or - for standard input.
    #[arg(long, value_name = "PORT")]
    port: String,
    /// Speed of a serial port.
    #[arg(long, value_name = "N", default_value_t = 115_200)]
    baud: u32,
    /// Stop after this many features.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop when nothing has come for this many seconds; with --images, send again what is not answered in this time
    /// [default with --images: 10].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Where to write the features: FILE.npy (with FILE.names.txt, and FILE.classes.csv from a board with a
    /// head), FILE.csv or FILE.jsonl.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    images: images::ImageArgs,
}

/// Reads until the count is reached, the line ends, or Ctrl-C; keeps everything received.
///
/// # Errors
/// If the port cannot be opened, the board speaks another version, or nothing came before the line ended.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.timeout.is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0)) {
        return Err(console::misuse("--timeout must be a positive number of seconds"));
    }
    if args.count == Some(0) {
        return Err(console::misuse("--count must be at least 1"));
    }
    if let Some(folder) = &args.images.images {
        return images::run(&args, folder);
    }
    let source = port::open(&args.port, args.baud)?;
    let mut sink = args.out.as_deref().map(Sink::create).transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;

    let mut reader = Reader::new(source);
    let mut display = Display::new(args.json);
    let ending = receive(&args, &mut reader, sink.as_mut(), &mut display, &stop);
    display.finish();
    discard_empty(&args, sink.as_ref());
    summary(&args, &ending?, reader.counts())
}

/// Removes files that hold nothing: they would pass for a result.
fn discard_empty(args: &Args, sink: Option<&Sink>) {
    if let (Some(out), Some(0)) = (&args.out, sink.map(Sink::count)) {
        drop(fs::remove_file(out));
        drop(fs::remove_file(names_path(out)));
        drop(fs::remove_file(classes_path(out)));
    }
}

fn statistics_line(board: &Statistics) -> String {
    format!(
        "board    {} images encoded, {} skipped, {} bytes sent, {:.2} ms an image",
        board.frames,
        board.skipped,
        board.bytes,
        board.encode_micros as f64 / 1e3 / f64::from(board.frames.max(1)),
    )
}

/// How a reading ends that the user stops.
const STOPPED: &str = "stopped";

/// Reads events until one of the ends, and says which.
fn receive(
    args: &Args,
    reader: &mut Reader<impl Read>,
    mut sink: Option<&mut Sink>,
    display: &mut Display,
    stop: &AtomicBool,
) -> anyhow::Result<String> {
    let mut last = Instant::now();
    let patience = args.timeout.map(Duration::from_secs_f64);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(STOPPED.into());
        }
        if args.count.is_some_and(|count| reader.counts().features >= count) {
            return Ok("all received".into());
        }
        match reader.next_event()? {
            Event::Hello(hello) => display.hello(&hello),
            Event::Feature(feature) => {
                last = Instant::now();
                let class = reader.class_of(&feature);
                if let Some(sink) = &mut sink {
                    sink.push(&feature, class.as_ref())?;
                }
                display.feature(&feature, class.as_ref(), reader.counts());
            }
            Event::Statistics(board) => display.line(&statistics_line(&board)),
            Event::Log(log) => display.line(&format!("board    {:?}: {}", log.level, log.text)),
            Event::Error(code) => display.line(&format!("board    it could not do something: {code:?}")),
            Event::Idle if patience.is_some_and(|patience| last.elapsed() > patience) => {
                return Ok(format!("nothing came for {} s", last.elapsed().as_secs()));
            }
            Event::Idle => display.tick(reader.counts()),
            Event::Ended(Ending::EndOfFile) => return Ok("end of input".into()),
            Event::Ended(Ending::Vanished(reason)) => return Ok(format!("the port ended ({reason})")),
        }
    }
}

fn summary(args: &Args, ending: &str, counts: Counts) -> anyhow::Result<()> {
    let Counts { features, lost, damaged, incomplete, bytes } = counts;
    if args.json {
        let json = serde_json::json!({
            "features": features, "lost_frames": lost, "damaged_frames": damaged,
            "incomplete_features": incomplete, "bytes": bytes, "ending": ending,
            "out": args.out,
        });
        console::say!("{json}");
    } else {
        console::say!(
            "received {features} features, {bytes} bytes; {lost} frames lost, {damaged} damaged, {incomplete} features \
             incomplete; {ending}"
        );
        if let (Some(out), true) = (&args.out, features > 0) {
            console::say!("written  {}", out.display());
        }
    }
    if features == 0 && ending != STOPPED {
        bail!(
            "no feature came over {}: {ending}; is `edge run --port` at the other end, at the same --baud?",
            args.port
        );
    }
    Ok(())
}

/// A live line on a terminal; a line every two seconds elsewhere.
struct Display {
    bar: Option<indicatif::ProgressBar>,
    begun: Instant,
    shown: Instant,
    name: String,
}

impl Display {
    fn new(quiet: bool) -> Self {
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.set_message("waiting for the board");
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, begun: Instant::now(), shown: Instant::now(), name: String::new() }
    }

    fn hello(&self, hello: &Hello) {
        self.line(&format!(
            "board    {} with {}, model {}: images {}x{}x{}, {} patches, {} values a feature",
            hello.program,
            hello.runtime,
            hello.model,
            hello.image_height,
            hello.image_width,
            hello.channels,
            hello.patches,
            hello.feature_dim,
        ));
    }

    fn feature(&mut self, feature: &Feature, class: Option<&(String, f32)>, counts: Counts) {
        if counts.features == 1 {
            self.begun = Instant::now();
        }
        let class = class.map(|(name, score)| format!("  {name} {score:.2}")).unwrap_or_default();
        self.name = format!("{} ({} of {} patches){class}", feature.name, feature.kept, feature.patches);
        self.tick(counts);
    }

    fn tick(&mut self, counts: Counts) {
        let due = Duration::from_millis(if self.bar.is_some() { 100 } else { 2000 });
        if counts.features == 0 || self.shown.elapsed() < due {
            return;
        }
        self.shown = Instant::now();
        let rate = (counts.features - 1) as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let text = format!(
            "{} features  {rate:.1}/s  lost {}  damaged {}  {}",
            counts.features, counts.lost, counts.damaged, self.name
        );
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => console::note!("{text}"),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => console::note!("{text}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
