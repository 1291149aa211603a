//! `edge bench`.

use crate::{
    model_folder::ModelFolder,
    options::{Runtime, RuntimeArgs, check_keep, open_model},
    runtime::ImageEncoder,
    select::{Select, choose},
};
use console::{memory, misuse};
use std::{path::PathBuf, time::Instant};

/// Options of `edge bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Shares of patches to encode.
    #[arg(long, value_name = "R", value_delimiter = ',', num_args = 1.., default_values_t = [0.25, 0.5, 0.75, 1.0])]
    keep: Vec<f64>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Timed rounds; each runs every share once, so that all see the same machine.
    #[arg(long, value_name = "N", default_value_t = 50)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Times of one encoder at one share of patches.
struct Row {
    name: String,
    args: RuntimeArgs,
    keep: f64,
    visible: usize,
    /// Ascending, ms.
    times: Vec<f64>,
    /// From opening the model folder to the first feature, ms.
    startup: f64,
}

/// Times the encoders, one image at a time: patches are cut out, normalised where the runtime needs it, and encoded.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    args.keep.iter().try_for_each(|keep| check_keep(*keep))?;
    if args.rounds == 0 {
        return Err(misuse("--rounds must be at least 1"));
    }
    let mut rows = Vec::new();
    for runtime in encoders(&args.runtime, &open_model(&args.model)?)? {
        measure(&args, runtime, &mut rows)?;
    }
    if args.json {
        let peak = memory::peak();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "runtime": row.name, "precision": row.args.precision, "threads": row.args.threads.unwrap_or(1),
                    "keep": row.keep, "visible": row.visible, "median_ms": row.times[row.times.len() / 2],
                    "min_ms": row.times[0], "max_ms": row.times[row.times.len() - 1], "rounds": args.rounds,
                    "startup_ms": row.startup, "peak_memory_bytes": peak,
                })
            })
            .collect();
        console::say!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    console::say!(
        "{:<18}  threads  keep  patches   median       min       max   (ms an image, {} rounds)",
        "runtime",
        args.rounds
    );
    for Row { name, args, keep, visible, times, .. } in rows {
        let (threads, median, max) = (args.threads.unwrap_or(1), times[times.len() / 2], times[times.len() - 1]);
        let min = times[0];
        console::say!("{name:<18}  {threads:>7}  {keep:<4}  {visible:>7}  {median:>7.3}  {min:>8.3}  {max:>8.3}");
    }
    Ok(())
}

/// What was asked for; without a wish every form in tract, then the native encoder.
fn encoders(asked: &RuntimeArgs, folder: &ModelFolder) -> anyhow::Result<Vec<RuntimeArgs>> {
    let only_native = asked.kernels.is_some() || asked.threads.is_some();
    let (tract, native) = match asked.runtime {
        Some(runtime) => (runtime == Runtime::Tract, runtime == Runtime::Native),
        None if asked.precision.is_some() => (true, false),
        None => (cfg!(feature = "tract") && !only_native, only_native || folder.has_native()),
    };
    let with = |runtime, precision| RuntimeArgs { runtime: Some(runtime), precision, ..asked.clone() };
    let mut all = Vec::new();
    if tract {
        let forms = asked.precision.map_or_else(|| folder.precisions(), |form| vec![form]);
        all.extend(forms.into_iter().map(|form| with(Runtime::Tract, Some(form))));
    }
    if native {
        all.push(with(Runtime::Native, asked.precision));
    }
    all.iter().try_for_each(|args| args.choose(folder).map(drop))?;
    Ok(all)
}

fn measure(args: &Args, runtime: RuntimeArgs, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let folder = open_model(&args.model)?;
    let grid = folder.spec().grid()?;
    let image: Vec<u8> = (0..grid.image_len()).map(|i| (i * 37 % 251) as u8).collect();
    let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
    let mut visible = vec![0; args.keep.len()];
    let file = runtime.open(&folder)?;
    let mut encoder = ImageEncoder::new(&folder, &runtime, file.as_ref())?;
    let (mut times, mut startup) = (vec![Vec::with_capacity(args.rounds); args.keep.len()], None);
    // The first round builds tract's plans and warms the caches.
    for round in 0..=args.rounds {
        for (i, keep) in args.keep.iter().enumerate() {
            visible[i] = choose(Select::Grid, &grid, *keep, (0, 0), &mut noise, &mut ids);
            let encoding = Instant::now();
            encoder.encode(&image, &ids[..visible[i]])?;
            startup.get_or_insert_with(|| begun.elapsed().as_secs_f64() * 1e3);
            if round > 0 {
                times[i].push(encoding.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    for (i, mut times) in times.into_iter().enumerate() {
        times.sort_by(f64::total_cmp);
        let (name, keep, visible) = (encoder.name(), args.keep[i], visible[i]);
        let startup = startup.unwrap_or(f64::NAN);
        rows.push(Row { name, args: runtime.clone(), keep, visible, times, startup });
    }
    Ok(())
}
