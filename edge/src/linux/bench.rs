//! `edge bench`.

use super::{check_keep, load_encoder, open_model};
use crate::{
    exit::misuse,
    model_folder::Precision,
    select::{Select, choose},
};
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
    /// Form of the model [default: every form of the folder].
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Timed rounds; each runs every share once, so that all see the same machine.
    #[arg(long, value_name = "N", default_value_t = 50)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Times the encoder, one image at a time, on one thread.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    args.keep.iter().try_for_each(|keep| check_keep(*keep))?;
    if args.rounds == 0 {
        return Err(misuse("--rounds must be at least 1"));
    }
    let folder = open_model(&args.model)?;
    let grid = folder.spec().grid()?;
    let forms = args.precision.map_or_else(|| folder.forms(), |form| vec![form]);
    let mut rows = Vec::new();
    for form in forms {
        let mut encoder = load_encoder(&folder, Some(form))?;
        let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
        let mut times = vec![Vec::with_capacity(args.rounds); args.keep.len()];
        let mut visible = vec![0; args.keep.len()];
        // The first round builds the plans and warms the caches.
        for round in 0..=args.rounds {
            for (i, keep) in args.keep.iter().enumerate() {
                visible[i] = choose(Select::Grid, &grid, *keep, (0, 0), &mut noise, &mut ids);
                let patches: Vec<f32> =
                    (0..visible[i] * grid.patch_dim()).map(|j| (j % 13) as f32 / 6.0 - 1.0).collect();
                let begun = Instant::now();
                encoder.encode(&patches, &ids[..visible[i]])?;
                if round > 0 {
                    times[i].push(begun.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        for (i, mut times) in times.into_iter().enumerate() {
            times.sort_by(f64::total_cmp);
            rows.push((form, args.keep[i], visible[i], times[times.len() / 2], times[0], times[times.len() - 1]));
        }
    }
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(form, keep, visible, median, min, max)| {
                serde_json::json!({
                    "precision": form, "keep": keep, "visible": visible, "patches": grid.patches(),
                    "median_ms": median, "min_ms": min, "max_ms": max, "rounds": args.rounds,
                })
            })
            .collect();
        crate::say!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    crate::say!(
        "form   keep  patches   median       min       max   (ms an image, one thread, {} rounds)",
        args.rounds
    );
    for (form, keep, visible, median, min, max) in rows {
        crate::say!("{:<5}  {keep:<4}  {visible:>7}  {median:>7.3}  {min:>8.3}  {max:>8.3}", form.to_string());
    }
    Ok(())
}
