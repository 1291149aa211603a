//! The figures of a sweep: what was measured over the settings, and reconstructions side by side.

use super::{
    experiment::Experiment,
    row::Row,
    sweep::{Run, Sweep},
    table::{metrics, point},
};
use crate::{
    bench::flops,
    figure::{
        Figure, Panel, Point, Settings, png,
        scene::{COLOURS, Rgb},
        svg,
    },
    files,
    pictures::side_by_side::{self, Shown},
};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// A metric in a figure.
struct Look {
    metric: &'static str,
    title: &'static str,
    colour: Rgb,
    /// What its values are multiplied by.
    factor: f64,
    decimals: usize,
}

/// The metrics that a figure shows, from above.
const LOOKS: [Look; 5] = [
    accuracy("finetune", "fine-tuning, accuracy (%)", COLOURS[0]),
    accuracy("linear", "linear probing, accuracy (%)", COLOURS[1]),
    accuracy("knn", "kNN, accuracy (%)", COLOURS[2]),
    Look { metric: "seam", title: "seam (1: as the image)", colour: COLOURS[3], factor: 1.0, decimals: 2 },
    Look {
        metric: "rmse-near",
        title: "error near visible patches (of 255)",
        colour: COLOURS[4],
        factor: 1.0,
        decimals: 1,
    },
];

const fn accuracy(metric: &'static str, title: &'static str, colour: Rgb) -> Look {
    Look { metric, title, colour, factor: 100.0, decimals: 1 }
}

/// The figure of what is there.
#[must_use]
pub fn figure(sweep: &Sweep, rows: &[Row]) -> Figure {
    let found = metrics(rows);
    let panel = |Look { metric, title, colour, factor, decimals }: &Look| {
        let scaled = |p: Point| Point { mean: p.mean * factor, spread: p.spread * factor, ..p };
        let points = (0..sweep.settings.len()).map(|place| point(rows, place, metric).map(scaled)).collect();
        Panel { title: (*title).into(), colour: *colour, points, decimals: *decimals }
    };
    let mut panels: Vec<Panel> = LOOKS.iter().filter(|look| found.contains(&look.metric)).map(panel).collect();
    if sweep.experiment == Experiment::MaskToken {
        panels.extend(costs(sweep, rows));
    }
    let settings = match sweep.experiment.axis() {
        None => Settings::Names(sweep.settings.iter().map(|setting| setting.label.clone()).collect()),
        Some(label) => {
            let place = |(order, setting): (usize, &super::experiment::Setting)| {
                // Ratios have their places; the others are about doubled from one to the next.
                let place = match sweep.experiment {
                    Experiment::MaskRatio => setting.preset.train.mask_ratio * 100.0,
                    _ => order as f64,
                };
                (place, setting.label.clone())
            };
            let places = sweep.settings.iter().enumerate().map(place).collect();
            Settings::Numbers { label: label.into(), places }
        }
    };
    let note = match seeds(rows, sweep.settings.len()) {
        (_, 0 | 1) => "One seed.".to_owned(),
        (least, most) if least == most => format!("Mean and standard deviation of {most} seeds."),
        (least, most) => format!("Mean and standard deviation of {} to {most} seeds.", least.max(1)),
    };
    let base = sweep.jobs[0].run.config.preset();
    let (model, epochs) = (&base.model, base.train.epochs);
    let of_epochs =
        if sweep.experiment == Experiment::Schedule { String::new() } else { format!(", {epochs} epochs") };
    let title = format!(
        "{}: encoder {}x{}, {}x{} pixels{of_epochs}",
        sweep.experiment.name().replace('-', " "),
        model.dim,
        model.depth,
        model.image_height,
        model.image_width
    );
    Figure { title, note, settings, panels }
}

/// Seeds of the setting that has the fewest, and of the one that has the most.
fn seeds(rows: &[Row], settings: usize) -> (usize, usize) {
    let counts = (0..settings).map(|place| {
        let mut seeds: Vec<u64> = rows.iter().filter(|row| row.place == place).map(|row| row.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    });
    counts.fold((usize::MAX, 0), |(least, most), count| (least.min(count), most.max(count)))
}

/// What pre-training costs, where that is the point of an experiment.
fn costs(sweep: &Sweep, rows: &[Row]) -> [Panel; 2] {
    let settings = || 0..sweep.settings.len();
    let operations = |place: usize| {
        let operations = flops::training(&sweep.settings[place].preset).ok()?;
        Some(Point { mean: operations as f64 / 1e6, spread: 0.0, count: 1 })
    };
    // Joined runs are as a rule another machine's, whose seconds cannot be compared.
    let seconds = |place: usize| {
        let mut seeds: Vec<&Row> = rows.iter().filter(|row| row.place == place && sweep.runs(row)).collect();
        seeds.dedup_by_key(|row| row.seed);
        Point::of(&seeds.iter().filter_map(|row| row.pretrain_seconds).collect::<Vec<_>>())
    };
    let panel = |title: &str, points| Panel { title: title.into(), colour: COLOURS[4], points, decimals: 1 };
    [
        panel("training step, MFLOP an image", settings().map(operations).collect()),
        panel("pre-training, s", settings().map(seconds).collect()),
    ]
}

/// Writes `figure.svg` and `figure.png` into `out`.
///
/// # Errors
/// Those of the file system.
pub fn write(sweep: &Sweep, rows: &[Row], out: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let scene = figure(sweep, rows).scene();
    let paths = ["figure.svg", "figure.png"].map(|name| out.join(name));
    let save = |path: &Path, bytes: &[u8]| {
        files::write_file(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    save(&paths[0], svg::text(&scene).as_bytes())?;
    save(&paths[1], &png::encode(&scene)?)?;
    Ok(paths)
}

/// Draws `reconstructions.png` of the first seed's runs where settings are told apart by it. `images`: of the data.
///
/// # Errors
/// If a checkpoint cannot be read, or the picture cannot be written.
pub fn reconstructions(
    sweep: &Sweep,
    trained: &[&Run],
    images: &[std::sync::Arc<imaging::Pixels>],
    out: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let shows = matches!(
        sweep.experiment,
        Experiment::MaskRatio
            | Experiment::MaskKind
            | Experiment::Decoder
            | Experiment::MaskToken
            | Experiment::Target
            | Experiment::Seam
    );
    if !shows || trained.len() != sweep.settings.len() {
        return Ok(None);
    }
    let shown = trained
        .iter()
        .zip(&sweep.settings)
        .map(|(run, setting)| Shown { caption: setting.label.clone(), run: run.path.clone() });
    let path = out.join("reconstructions.png");
    side_by_side::draw(&shown.collect::<Vec<_>>(), images, &path)?;
    Ok(Some(path))
}
