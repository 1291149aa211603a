//! The results of a sweep: its rows, their means and spreads, and the files that hold them.

use super::{
    cache::{Cache, CachedResult},
    row::{Row, csv},
    sweep::{Job, Sweep},
};
use crate::{bench::flops, figure::Point, files, report::history};
use anyhow::Context as _;
use serde::Serialize;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Metrics that are shares of 1.
const ACCURACIES: [&str; 3] = ["knn", "linear", "finetune"];

/// Mean and spread of a metric at a setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Value of the setting: `0.75`.
    pub setting: String,
    /// What was measured: `knn`.
    pub metric: String,
    /// Mean over the seeds.
    pub mean: f64,
    /// Standard deviation over the seeds; 0 of one.
    pub std: f64,
    /// How many seeds there are results of.
    pub seeds: usize,
}

/// All results that are there, in the order of the settings and seeds, and those that were joined.
///
/// # Errors
/// If the folder of a run cannot be read.
pub fn collect(sweep: &Sweep) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (place, setting) in sweep.settings.iter().enumerate() {
        for job in sweep.jobs.iter().filter(|job| job.setting == place) {
            let store = Cache::open(&job.run.path)?;
            let results = job.evaluations.iter().filter_map(|evaluation| {
                let found = store.get(&evaluation.key(), &evaluation.settings(&sweep.judging));
                found.map(|judgement| (evaluation.metrics(), judgement))
            });
            let results: Vec<_> = results.collect();
            if !results.is_empty() {
                let about = About::of(job, sweep.images)?;
                for (metrics, judgement) in results {
                    rows.extend(about.rows(place, &setting.value, metrics, judgement));
                }
            }
        }
    }
    rows.extend(sweep.joined.iter().cloned());
    // Stable: metrics of a run keep their order.
    rows.sort_by_key(|row| (row.place, row.seed));
    Ok(rows)
}

/// Operations of a job's pre-training on `images` images.
///
/// # Errors
/// If the image cannot be cut into patches.
pub fn training_flops(job: &Job, images: usize) -> anyhow::Result<f64> {
    let (run, per_image) = (&job.run, flops::training(&job.run.config.preset())?);
    Ok(per_image as f64 * run.images(images) as f64)
}

/// A run's pre-training.
struct About {
    seed: u64,
    loss: Option<f64>,
    seconds: Option<f64>,
    flops: f64,
}

impl About {
    fn of(job: &Job, images: usize) -> anyhow::Result<Self> {
        let run = &job.run;
        Ok(Self {
            seed: run.config.train.seed,
            loss: history::read_epochs(&run.path)?.last().map(|epoch| epoch.loss),
            seconds: history::read(&run.path)?.last().map(|point| point.seconds),
            flops: training_flops(job, images)?,
        })
    }

    fn rows(&self, place: usize, setting: &str, metrics: &[&str], judgement: &CachedResult) -> Vec<Row> {
        let row = |metric: &&str| {
            Some(Row {
                place,
                setting: setting.to_owned(),
                seed: self.seed,
                metric: (*metric).to_owned(),
                value: *judgement.figures.get(*metric)?,
                loss: self.loss,
                seconds: judgement.seconds,
                flops: judgement.flops,
                pretrain_seconds: self.seconds,
                pretrain_flops: self.flops,
                version: judgement.version.clone(),
                date: judgement.date.clone(),
            })
        };
        metrics.iter().filter_map(row).collect()
    }
}

/// The metrics of `rows`, in the order of their first appearance.
#[must_use]
pub fn metrics(rows: &[Row]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    rows.iter().for_each(|row| {
        if !found.contains(&row.metric.as_str()) {
            found.push(&row.metric);
        }
    });
    found
}

/// Mean and spread of `metric` at the setting number `place`, over its seeds; `None` without results.
#[must_use]
pub fn point(rows: &[Row], place: usize, metric: &str) -> Option<Point> {
    let values = rows.iter().filter(|row| row.place == place && row.metric == metric).map(|row| row.value);
    Point::of(&values.collect::<Vec<_>>())
}

/// Mean and spread of everything.
#[must_use]
pub fn summaries(sweep: &Sweep, rows: &[Row]) -> Vec<Summary> {
    let metrics = metrics(rows);
    let pairs = sweep.settings.iter().enumerate().flat_map(|pair| metrics.iter().map(move |metric| (pair, *metric)));
    let summary = |((place, setting), metric): ((usize, &super::experiment::Setting), &str)| {
        let Point { mean, spread, count } = point(rows, place, metric)?;
        let (setting, metric) = (setting.value.clone(), metric.to_owned());
        Some(Summary { setting, metric, mean, std: spread, seeds: count })
    };
    pairs.filter_map(summary).collect()
}

/// Settings by metrics as a table for a page: means, with the deviation where there are several seeds. Accuracies are
/// in per cent.
#[must_use]
pub fn markdown(settings: &[String], rows: &[Row]) -> String {
    let metrics = metrics(rows);
    let mut out = format!("| setting | {} |\n|---{}|\n", metrics.join(" | "), "|---".repeat(metrics.len()));
    for (place, setting) in settings.iter().enumerate() {
        let cell = |metric: &&str| {
            let Some(Point { mean, spread, count }) = point(rows, place, metric) else {
                return "not measured".into();
            };
            let (factor, decimals) = if ACCURACIES.contains(metric) { (100.0, 2) } else { (1.0, 3) };
            let [mean, spread] = [mean, spread].map(|value| format!("{:.decimals$}", value * factor));
            if count > 1 { format!("{mean} ± {spread}") } else { mean }
        };
        let cells: Vec<String> = metrics.iter().map(cell).collect();
        let _ = writeln!(out, "| {setting} | {} |", cells.join(" | "));
    }
    out
}

/// Writes `results.csv` and `results.md` into `out`.
///
/// # Errors
/// Those of the file system; what was there is then untouched.
pub fn write(sweep: &Sweep, rows: &[Row], out: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let labels: Vec<String> = sweep.settings.iter().map(|setting| setting.label.clone()).collect();
    let texts = [csv(&sweep.experiment.name(), rows), markdown(&labels, rows)];
    let paths = ["results.csv", "results.md"].map(|name| out.join(name));
    for (path, text) in paths.iter().zip(&texts) {
        files::write_file(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::{super::row::tests::row, *};

    #[test]
    fn seeds_become_mean_and_spread() {
        let rows = [row(0, 0, "knn", 0.4), row(0, 1, "knn", 0.6), row(1, 0, "knn", 0.7), row(1, 0, "linear", 0.8)];
        assert_eq!(metrics(&rows), ["knn", "linear"]);
        let found = point(&rows, 0, "knn").expect("two seeds");
        assert!((found.mean - 0.5).abs() < 1e-12 && (found.spread - 0.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!(point(&rows, 1, "knn").map(|point| (point.mean, point.count)), Some((0.7, 1)));
        assert_eq!(point(&rows, 0, "linear"), None);
        let table = markdown(&["50".into(), "75".into()], &rows);
        assert!(table.contains("| 50 | 50.00 ± 14.14 | not measured |\n| 75 | 70.00 | 80.00 |"), "{table}");
    }
}
