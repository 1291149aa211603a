//! `host listen`.

mod display;
mod images;

use crate::cli::switch::Switch;
use crate::link::{
    Counts, Ending, Event, Reader,
    port::{self, Setup},
    receive::{End, Limits, receive},
    sink::Sink,
};
use anyhow::{Context as _, bail};
use display::Display;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
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
    /// What to do with the line DTR of a serial port, by which many boards are reset [default: as the system does].
    #[arg(long, value_enum)]
    dtr: Option<Switch>,
    /// The same for the line RTS.
    #[arg(long, value_enum)]
    rts: Option<Switch>,
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

impl Args {
    fn setup(&self) -> Setup {
        let level = |switch: Option<Switch>| switch.map(|switch| switch == Switch::On);
        Setup { baud: self.baud, dtr: level(self.dtr), rts: level(self.rts) }
    }
}

/// Reads until the count is reached, the line ends, or Ctrl-C; keeps everything received.
///
/// # Errors
/// If the port cannot be opened or vanishes, the board speaks another version, or fewer features than were asked for,
/// or none, came before the end.
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
    let source = port::open(&args.port, args.setup())?;
    let mut sink = args.out.as_deref().map(Sink::create).transpose()?;
    let (stop, mut reader) = (stop_at_once()?, Reader::new(source));
    let mut display = Display::new(args.json);
    let limits = Limits { count: args.count, patience: args.timeout.map(Duration::from_secs_f64) };
    let end = receive(&mut reader, sink.as_mut(), limits, &stop, |event, class, counts| match event {
        Event::Feature(feature) => display.feature(feature, class, counts),
        Event::Error(code) => display.line(&format!("board    it could not do something: {code:?}")),
        Event::Idle => display.tick(counts),
        other => display.event(other),
    });
    display.finish();
    if let Some(sink) = sink {
        sink.discard_if_empty();
    }
    summary(&args, &end?, reader.counts())
}

/// Set by Ctrl-C, after which what was received is kept.
fn stop_at_once() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
    Ok(stop)
}

fn summary(args: &Args, end: &End, counts: Counts) -> anyhow::Result<()> {
    let Counts { features, lost, damaged, incomplete, bytes } = counts;
    let ending = end.to_string();
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
    let (kept, port) = (args.out.as_ref().map(|out| format!("; {} holds them", out.display())), &args.port);
    match (end, args.count) {
        (End::Stopped, _) => Ok(()),
        _ if features == 0 => {
            bail!("no feature came over {port}: {ending}; is `edge run --port` at the other end, at the same --baud?")
        }
        (End::Line(Ending::Vanished(_)), _) => {
            bail!("{ending} after {features} features over {port}{}", kept.unwrap_or_default())
        }
        (_, Some(count)) if features < count => {
            bail!("only {features} of {count} features came over {port}: {ending}{}", kept.unwrap_or_default())
        }
        _ => Ok(()),
    }
}
