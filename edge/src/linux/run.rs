//! `edge run`.

use super::{port, source::Source};
use crate::{
    head_file::{HeadFile, HeadFileError},
    options::{RuntimeArgs, open_model, strategy},
    pipeline::{FeatureInfo, Link, SendError},
    runtime::ImageEncoder,
    select::{Select, choose},
};
use anyhow::{Context as _, bail};
use common::{
    model::{EncoderSpec, Pooling},
    wire::{Hello, Statistics},
};
use console::misuse;
use embedded_io_adapters::std::FromStd;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Options of `edge run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model folder (made by `host export`).
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Images: a folder, a file, or - for one image on standard input.
    #[arg(long, value_name = "DIR|FILE|-", default_value = "-")]
    source: String,
    /// Standard input holds frames of raw pixels of the model's size (height x width x channels bytes each).
    #[arg(long)]
    raw: bool,
    /// Serial port to send to, or - for standard output.
    #[arg(long, value_name = "PORT|-", default_value = "-")]
    port: String,
    /// Speed of the serial port.
    #[arg(long, value_name = "N", default_value_t = 115_200)]
    baud: u32,
    /// Share of patches to encode, above 0 and at most 1.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    keep: f64,
    /// How patches are chosen [default: all if --keep is 1, else random].
    #[arg(long, value_enum)]
    select: Option<Select>,
    /// Which feature to send [default: the model's].
    #[arg(long, value_enum)]
    pool: Option<Pooling>,
    /// Send each image's class and score too, by a trained head: a file, or a folder with head.safetensors [default:
    /// the one in the model folder].
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    head: Option<Option<PathBuf>>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Times to go through the source; 0 is forever.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u64,
    /// Random choices come from this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Encodes every image of the source and sends its feature.
///
/// # Errors
/// With a message that says what to do, and how many features were sent before.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.baud == 0 {
        return Err(misuse("--baud must be at least 1"));
    }
    let select = strategy(args.select, args.keep)?;
    let folder = open_model(&args.model)?;
    let spec = *folder.spec();
    let pooling = spec.pooling_for(args.pool);
    let head_file = head_file(&args, &spec)?;
    let head = head_file.as_ref().map(HeadFile::head).transpose()?;
    let file = args.runtime.open(&folder)?;
    let mut source = Source::open(&args.source, args.raw)?;
    let mut encoder = ImageEncoder::new(&folder, &args.runtime, file.as_ref())?;
    let grid = spec.grid()?;
    let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
    encoder.prepare(choose(select, &grid, args.keep, (args.seed, 0), &mut noise, &mut ids))?;

    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
    let hello = Hello::new(&spec, pooling, &encoder.name(), concat!("edge ", env!("CARGO_PKG_VERSION")));
    let port = FromStd::new(port::open(&args.port, args.baud)?);
    let mut link = Link::open(port, hello).map_err(|error| failed(&args.port, 0, error))?;
    if let Some(file) = &head_file {
        link.classes(&file.description().classes).map_err(|error| failed(&args.port, 0, error))?;
    }
    let mut done = Statistics::default();
    let (mut round, begun) = (1, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let Some(frame) = source.next(&spec) else {
            let again = args.repeat == 0 || round < args.repeat;
            // A source of which nothing can be read would spin for ever.
            if again && done.frames > 0 && source.rewind() {
                round += 1;
                continue;
            }
            break;
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                console::note!("skipped  {error}");
                done.skipped += 1;
                continue;
            }
        };
        let begun = Instant::now();
        let seed = (args.seed, u64::from(done.frames));
        let visible = choose(select, &grid, args.keep, seed, &mut noise, &mut ids);
        let features = encoder.encode(&frame.pixels, &ids[..visible])?;
        let pooled = |pooling| match pooling {
            Pooling::Cls => features.cls,
            Pooling::Mean | Pooling::MeanNorm => features.mean,
        };
        let class = match (&head, &head_file) {
            (Some(head), Some(file)) => Some(head.classify(pooled(file.description().pooling))?),
            _ => None,
        };
        let micros = begun.elapsed().as_micros();
        let info = FeatureInfo {
            frame: done.frames,
            name: &frame.name,
            kept: visible as u32,
            patches: grid.patches() as u32,
            pooling,
            micros: u32::try_from(micros).unwrap_or(u32::MAX),
        };
        let sent = class.map_or(Ok(()), |class| link.class(done.frames, class));
        let sent = sent.and_then(|()| link.feature(info, pooled(pooling)));
        sent.map_err(|error| failed(&args.port, done.frames, error))?;
        done.frames = done.frames.wrapping_add(1);
        done.encode_micros += u64::try_from(micros).unwrap_or(u64::MAX);
    }
    link.statistics(done).map_err(|error| failed(&args.port, done.frames, error))?;
    if done.frames == 0 && done.skipped > 0 {
        let source = if args.source == "-" { "standard input" } else { &args.source };
        bail!("none of the {} images in {source} could be read; are they damaged?", done.skipped);
    }
    console::note!(
        "sent     {} features, {} bytes in {:.1} s; {:.2} ms an image; {} skipped",
        done.frames,
        link.bytes(),
        begun.elapsed().as_secs_f64(),
        done.encode_micros as f64 / 1e3 / f64::from(done.frames.max(1)),
        done.skipped
    );
    Ok(())
}

/// The head that is asked for; one that is not there or of another encoder is misuse.
fn head_file(args: &Args, spec: &EncoderSpec) -> anyhow::Result<Option<HeadFile>> {
    let Some(path) = &args.head else { return Ok(None) };
    let file = match HeadFile::open(path.as_deref().unwrap_or(&args.model), spec) {
        Err(error @ (HeadFileError::Missing(_) | HeadFileError::Encoder { .. })) => {
            return Err(misuse(error.to_string()));
        }
        other => other?,
    };
    let trained = file.description().keep;
    if trained != args.keep {
        console::note!(
            "note     the head was trained on {trained} of the patches, and sees {} of them here",
            args.keep
        );
    }
    Ok(Some(file))
}

fn failed(port: &str, sent: u32, error: SendError<io::Error>) -> anyhow::Error {
    let port = if port == "-" { "standard output" } else { port };
    let advice = "is it still connected, and does anybody read it?";
    anyhow::anyhow!("{port} failed after {sent} features ({error}): {advice}")
}
