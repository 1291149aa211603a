//! `host listen --images`: sends images to a board and writes the features that it answers.

use super::{Args, Display, discard_empty, statistics_line};
use crate::link::{
    Event, port,
    sink::Sink,
    upload::{UploadError, Uploader},
};
use anyhow::{Context as _, bail};
use common::{
    model::Pooling,
    wire::{Hello, Settings, name_of},
};
use console::misuse;
use edge::{options::strategy, select::Select};
use imaging::{Crop, ImageError};
use std::{
    cell::RefCell,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Options that belong to `--images`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// Send these images to a board that takes images, and write the features that it answers: a folder or a file.
    #[arg(long, value_name = "DIR|FILE")]
    pub images: Option<std::path::PathBuf>,
    /// Share of patches that the board encodes, above 0 and at most 1.
    #[arg(long, value_name = "R", default_value_t = 1.0, requires = "images")]
    keep: f64,
    /// How it chooses patches [default: all if --keep is 1, else random].
    #[arg(long, value_enum, requires = "images")]
    select: Option<Select>,
    /// Which feature it sends [default: the model's].
    #[arg(long, value_enum, requires = "images")]
    pool: Option<Pooling>,
    /// Its random choices come from this.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "images")]
    seed: u64,
}

/// What became of the images.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    features: u64,
    skipped: u64,
}

/// Sends every image and waits for its feature.
///
/// # Errors
/// If the board cannot be reached, refuses, or gives no answer to several attempts; what was received is kept.
pub(super) fn run(args: &Args, images: &Path) -> anyhow::Result<()> {
    let choice = strategy(args.images.select, args.images.keep)?;
    let mut paths = imaging::find(images).map_err(|error| misuse(format!("--images: {error}")))?;
    paths.truncate(args.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)));
    let line = port::open_both_ways(&args.port, args.baud)?;
    let mut sink = args.out.as_deref().map(Sink::create).transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;

    let display = Rc::new(RefCell::new(Display::new(args.json)));
    let shown = display.clone();
    let show = move |event: &Event| match event {
        Event::Hello(hello) => shown.borrow().hello(hello),
        Event::Statistics(board) => shown.borrow().line(&statistics_line(board)),
        Event::Log(log) => shown.borrow().line(&format!("board    {:?}: {}", log.level, log.text)),
        _ => {}
    };
    let patience = Duration::from_secs_f64(args.timeout.unwrap_or(10.0));
    let mut board = Uploader::new(line, args.baud, patience, move || stop.load(Ordering::Relaxed), show);

    let mut done = Done::default();
    let mut send_all = || -> anyhow::Result<()> {
        let hello = board.greet()?;
        let settings = Settings {
            keep: args.images.keep,
            choice,
            seed: args.images.seed,
            pooling: args.images.pool.unwrap_or(hello.pooling),
        };
        board.set(settings)?;
        for path in &paths {
            let pixels = match prepare(path, &hello) {
                Ok(pixels) => pixels,
                Err(error) => {
                    display.borrow().line(&format!("skipped  {error}"));
                    done.skipped += 1;
                    continue;
                }
            };
            let mut feature = board.image(&hello, settings, done.features as u32, &pixels)?;
            let name = path.strip_prefix(images).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(path);
            feature.name = name_of(&name.display().to_string()).as_str().into();
            let class = board.reader().class_of(&feature);
            if let Some(sink) = &mut sink {
                sink.push(&feature, class.as_ref())?;
            }
            done.features += 1;
            display.borrow_mut().feature(&feature, class.as_ref(), board.reader().counts());
        }
        board.figures()?;
        Ok(())
    };
    let result = send_all();
    display.borrow().finish();
    discard_empty(args, sink.as_ref());
    summary(args, done, &board, result)
}

/// The image as the board wants it, `[H, W, C]`.
fn prepare(path: &Path, hello: &Hello) -> Result<Vec<u8>, ImageError> {
    let pixels = imaging::pixels(imaging::open(path)?, hello.channels as usize);
    imaging::resize(&pixels, Crop::whole(&pixels), hello.image_height as usize, hello.image_width as usize)
}

fn summary<R: std::io::Read, W: std::io::Write>(
    args: &Args,
    done: Done,
    board: &Uploader<R, W>,
    result: anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (counts, Done { features, skipped }) = (board.reader().counts(), done);
    let stopped = matches!(&result, Err(error) if matches!(error.downcast_ref(), Some(UploadError::Stopped)));
    let ending = match &result {
        Ok(()) => "all answered".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    if args.json {
        let json = serde_json::json!({
            "features": features, "skipped_images": skipped, "repeated_orders": board.repeated(),
            "lost_frames": counts.lost, "damaged_frames": counts.damaged, "bytes": counts.bytes, "ending": ending,
            "out": args.out,
        });
        console::say!("{json}");
    } else {
        console::say!(
            "received {features} features, {} bytes; {} frames lost, {} damaged, {} orders repeated; {skipped} images \
             skipped",
            counts.bytes,
            counts.lost,
            counts.damaged,
            board.repeated()
        );
        if let (Some(out), true) = (&args.out, features > 0) {
            console::say!("written  {}", out.display());
        }
    }
    match result {
        Err(error) if !stopped => Err(error.context(format!("after {features} features over {}", args.port))),
        Ok(()) if features == 0 => bail!("none of the {skipped} images could be read; are they damaged?"),
        _ => Ok(()),
    }
}
