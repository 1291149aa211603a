//! `host bench encode`.

use super::spinner;
use crate::{
    bench::{
        encode::{
            self, Setup,
            model::Model,
            report::{Board, Parts, Report},
        },
        threads,
    },
    preset::Preset,
};
use console::misuse;
use std::path::PathBuf;

/// Options of `host bench encode`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A model of random weights of this preset's size.
    #[arg(long, value_name = "NAME", default_value = "tiny-224", conflicts_with = "model")]
    preset: String,
    /// A model folder with the forms f32 and native.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Numbers of visible patches [default: those of 16, 49, 64, 196 that the model has].
    #[arg(long, value_name = "V,V...", value_delimiter = ',')]
    visible: Vec<usize>,
    /// Timed rounds; each runs every runtime at every number of patches.
    #[arg(long, value_name = "N", default_value_t = 15)]
    rounds: usize,
    /// Kernels of the native encoder [default: the best for this machine].
    #[arg(long, value_name = "NAME")]
    kernels: Option<String>,
    /// Only the native encoder.
    #[arg(long)]
    no_rivals: bool,
    /// Python with onnxruntime and onnx [default: $MAE_PYTHON, else python3].
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.rounds == 0 {
        return Err(misuse("--rounds must be at least 1"));
    }
    let model = match &args.model {
        Some(path) => Model::open(path)?,
        None => {
            let preset = Preset::named(&args.preset).map_err(|error| misuse(error.to_string()))?;
            Model::random(&args.preset, &preset)?
        }
    };
    let visible = model.visible(&args.visible)?;
    if let Some(kernels) = &args.kernels {
        edge::options::kernels(Some(kernels))?;
    }
    threads::bound(1)?;
    let python = args.python.or_else(|| std::env::var_os("MAE_PYTHON").map(Into::into));
    let python = python.unwrap_or_else(|| "python3".into());
    let (rounds, kernels, rivals) = (args.rounds, args.kernels, !args.no_rivals);
    let setup = Setup { model, visible, rounds, kernels, rivals, python };
    let spinner = spinner();
    let report = encode::run(&setup, &|what| spinner.set_message(what.to_owned()));
    spinner.finish_and_clear();
    let report = report?;
    if args.json {
        console::say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    let Report { model, kernels, rounds, patches, .. } = report;
    console::say!(
        "{model}, {patches} patches; one image at a time on one thread; {rounds} rounds; kernels {kernels}"
    );
    console::say!(
        "{:<28} {:>7}  {:>9}  {:>9}  {:>9}  {:>8}",
        "ms an image",
        "visible",
        "median",
        "min",
        "max",
        "cosine"
    );
    for row in &report.rows {
        let ms = row.ms;
        let figures = format!("{:>9.3}  {:>9.3}  {:>9.3}  {:>8.5}", ms.median, ms.min, ms.max, row.cosine);
        console::say!("{:<28} {:>7}  {figures}", row.contender, row.visible);
    }
    for visible in report.visible() {
        let here = report.ratios.iter().filter(|ratio| ratio.visible == visible);
        for ratio in here {
            let spread = ratio.ratio;
            console::say!(
                "native takes {:.2} of {} at {visible} ({:.2} to {:.2})",
                spread.median,
                ratio.rival,
                spread.min,
                spread.max
            );
        }
    }
    for share in &report.shares {
        let (patches, time) = (share.of_patches * 100.0, share.of_time * 100.0);
        console::say!("{:>7} patches are {patches:>5.1} % and take {time:>5.1} % of the time", share.visible);
    }
    report.parts.iter().for_each(print_parts);
    if let Some(Board { model_bytes, peak_memory_bytes, startup_ms }) = &report.board {
        console::say!(
            "edge: peak memory {:.1} MB ({:.1} MB of model), start-up {:.1} ms ({:.1} to {:.1})",
            peak_memory_bytes.median / 1e6,
            *model_bytes as f64 / 1e6,
            startup_ms.median,
            startup_ms.min,
            startup_ms.max
        );
    }
    for missing in &report.missing {
        console::note!("not measured: {} ({})", missing.name, missing.reason);
    }
}

fn print_parts(parts: &Parts) {
    let Parts { visible, total_ms, peak_gops, .. } = parts;
    console::say!("{visible} visible, {total_ms:.3} ms; peak of the 8-bit product {peak_gops:.0} Gop/s");
    for part in &parts.parts {
        let (ms, share) = (part.ms, part.share * 100.0);
        let work = match (part.gops, part.of_peak) {
            (Some(gops), Some(of_peak)) => format!("{gops:>7.0} Gop/s, {:>5.1} % of the peak", of_peak * 100.0),
            _ => String::new(),
        };
        console::say!("  {:<20} {ms:>8.3} ms  {share:>5.1} %  {work}", part.name);
    }
}
