//! The figures of a sweep: what was measured over the settings, and reconstructions side by side.

use super::{
    experiment::Experiment,
    sweep::{Run, Sweep, preset_of},
    table::{Row, metrics, point},
};
use crate::{
    checkpoint::atomic,
    figure::{Figure, Panel, Point, Settings, png, svg},
    pictures::side_by_side::{self, Shown},
};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// The metrics that a figure shows, from above, with their titles, the factor of their numbers, and decimals.
const PANELS: [(&str, &str, f64, usize); 5] = [
    ("finetune", "fine-tuning, accuracy (%)", 100.0, 1),
    ("linear", "linear probing, accuracy (%)", 100.0, 1),
    ("knn", "kNN, accuracy (%)", 100.0, 1),
    ("seam", "seam (1: as the image)", 1.0, 2),
    ("rmse-near", "error near visible patches (of 255)", 1.0, 1),
];

/// The figure of what is there.
#[must_use]
pub fn figure(sweep: &Sweep, rows: &[Row]) -> Figure {
    let found = metrics(rows);
    let panel = |(metric, title, factor, decimals): &(&str, &str, f64, usize)| {
        let scaled = |p: Point| Point { mean: p.mean * factor, spread: p.spread * factor, ..p };
        let points = (0..sweep.settings.len()).map(|place| point(rows, place, metric).map(scaled)).collect();
        Panel { title: (*title).into(), points, decimals: *decimals }
    };
    let panels = PANELS.iter().filter(|(metric, ..)| found.contains(metric)).map(panel).collect();
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
    let seeds = sweep.jobs.iter().filter(|job| job.setting == 0).count();
    let note = match seeds {
        1 => "One seed.".to_owned(),
        _ => format!("Mean and standard deviation of {seeds} seeds."),
    };
    let base = preset_of(&sweep.jobs[0].run.config);
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

/// Writes `figure.svg` and `figure.png` into `out`.
///
/// # Errors
/// Those of the file system.
pub fn write(sweep: &Sweep, rows: &[Row], out: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let scene = figure(sweep, rows).scene();
    let paths = ["figure.svg", "figure.png"].map(|name| out.join(name));
    let save = |path: &Path, bytes: &[u8]| {
        atomic::write_file(path, bytes).with_context(|| format!("cannot write {}", path.display()))
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
    images: &[std::sync::Arc<edge::image_source::Pixels>],
    out: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let shows = matches!(
        sweep.experiment,
        Experiment::MaskRatio | Experiment::MaskKind | Experiment::MaskToken | Experiment::Target | Experiment::Seam
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
