//! `host explore`.

use crate::{
    cli::{described::described, runtime, told::told},
    data::dataset::{Dataset, DatasetError},
    device::precision::Precision,
    explore::{
        api::{self, Explorer},
        images::Images,
        look::Explored,
    },
    run::{RunConfig, RunFolder},
    serve::Server,
};
use anyhow::Context as _;
use common::model::Pooling;
use console::misuse;
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

/// Options of `host explore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder of a training.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Images to pick from and to search for neighbours [default: the run's own].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8417)]
    port: u16,
    /// Open the page in the browser.
    #[arg(long)]
    open: bool,
    /// Which feature neighbours are found by [default: the model's].
    #[arg(long, value_enum)]
    pool: Option<Pooling>,
    /// The arithmetic of the model.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// Search at most this many images for neighbours, spread over all.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    limit: usize,
}

/// `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionArg {
    /// 32-bit floating point.
    F32,
    /// Products in bf16, sums in f32.
    Bf16,
}

/// Serves the page until Ctrl-C.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (run, config) = RunFolder::open(&args.run)?;
    if args.limit == 0 {
        return Err(misuse("--limit must be at least 1"));
    }
    let precision = match args.precision {
        PrecisionArg::F32 => Precision::Fp32,
        PrecisionArg::Bf16 => runtime::PrecisionArg::Bf16.arithmetic()?,
    };
    let server = Server::bind(args.port).map_err(|error| port_refused(args.port, &error))?;
    let gallery = gallery(&args, &config)?;
    let names = (name(&args.run), gallery.as_ref().map(described));
    let images = Images::new(gallery, &config.model);
    let explored = Explored::load(&run, config, args.pool, precision)?;
    let explorer = Arc::new(Explorer::new(names, explored, images, args.limit));
    let stop = server.stopper();
    ctrlc::set_handler(move || stop.stop()).context("cannot watch for Ctrl-C")?;

    let indexing = explorer.clone();
    let index = move || {
        if let Err(error) = indexing.build_index() {
            console::note!("warning: the search for neighbours ended early: {error:#}");
        }
    };
    thread::Builder::new().name("index".into()).spawn(index).context("cannot start a thread")?;
    console::say!("{}", server.address());
    console::note!("The page above is for this machine alone. Ctrl-C ends it.");
    if args.open {
        open(&server.address());
    }
    server.run(api::pages(explorer)).context("cannot serve the page")
}

/// The images to pick from; none if the run's own are not here any more.
fn gallery(args: &Args, config: &RunConfig) -> anyhow::Result<Option<Dataset>> {
    if let Some(folder) = &args.images {
        return match Dataset::folder(folder, config.model.channels) {
            // Told here, so that the message does not speak of training's option.
            Err(DatasetError::Folder(error)) => Err(misuse(error.to_string())),
            dataset => Ok(Some(dataset?)),
        };
    }
    match config.open_data() {
        Ok(dataset) => Ok(Some(dataset)),
        Err(error) => {
            let error = told(error.into());
            console::note!("warning: the run's own images cannot be shown ({error:#}); name others with --images");
            Ok(None)
        }
    }
}

/// The run folder's own name, also for `.`.
fn name(run: &Path) -> String {
    let full = run.canonicalize().unwrap_or_else(|_| run.into());
    full.file_name().map_or_else(|| full.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn port_refused(port: u16, error: &io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "is in use".to_owned(),
        io::ErrorKind::PermissionDenied => "is not for this user".to_owned(),
        _ => return anyhow::anyhow!("cannot listen on 127.0.0.1:{port}: {error}"),
    };
    misuse(format!("port {port} {why}: name another with --port (0 takes a free one)"))
}

/// Asks the desktop to open the page; without one, the address was printed.
fn open(address: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started =
        Command::new(opener).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match started {
        // Waited for elsewhere: it may live as long as the browser.
        Ok(mut child) => drop(thread::spawn(move || child.wait())),
        Err(error) => console::note!("warning: {opener} cannot be started ({error}): open the address yourself"),
    }
}
