//! `host listen --images`: sends images to a board and writes the features that it answers.

use super::{Args, display::Display, stop_at_once};
use crate::{
    cli::told::told,
    data::folder::find,
    link::{
        port,
        send::{Done, News, Request, send, stopped},
        sink::Sink,
        upload::Uploader,
    },
};
use anyhow::bail;
use common::model::Pooling;
use console::misuse;
use edge::{options::strategy, select::Select};
use std::{cell::RefCell, path::Path, rc::Rc, sync::atomic::Ordering, time::Duration};

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

/// Sends every image and waits for its feature.
///
/// # Errors
/// If the board cannot be reached, refuses, or gives no answer to several attempts; what was received is kept.
pub(super) fn run(args: &Args, images: &Path) -> anyhow::Result<()> {
    let choice = strategy(args.images.select, args.images.keep)?;
    let mut files = find(images).map_err(|error| misuse(format!("--images: {error}")))?;
    files.truncate(args.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)));
    let line = port::open_both_ways(&args.port, args.setup())?;
    let mut sink = args.out.as_deref().map(Sink::create).transpose()?;
    let stop = stop_at_once()?;
    let display = Rc::new(RefCell::new(Display::new(args.json)));
    let shown = display.clone();
    let patience = Duration::from_secs_f64(args.timeout.unwrap_or(10.0));
    let stopping = move || stop.load(Ordering::Relaxed);
    let mut board = Uploader::new(line, args.baud, patience, stopping, move |event| shown.borrow().event(event));
    let ImageArgs { keep, seed, pool: pooling, .. } = args.images;
    let request = Request { files, root: images.into(), keep, choice, seed, pooling };
    let mut done = Done::default();
    let result = send(&mut board, &request, sink.as_mut(), &mut done, |news| match news {
        News::Skipped(error) => display.borrow().line(&format!("skipped  {error}")),
        News::Feature(feature, class, counts) => display.borrow_mut().feature(feature, class, counts),
    });
    board.close();
    display.borrow().finish();
    if let Some(sink) = sink {
        sink.discard_if_empty();
    }
    summary(args, done, &board, result.map_err(told))
}

fn summary<R: std::io::Read, W: std::io::Write>(
    args: &Args,
    done: Done,
    board: &Uploader<R, W>,
    result: anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (counts, Done { features, skipped }) = (board.reader().counts(), done);
    let stopped = result.as_ref().is_err_and(stopped);
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
