//! Joining: results of the same sweep that another machine has, in one table and figure with those of this one.

use super::{
    error::SweepError,
    row::{HEADER, Row, scientific},
    sweep::{Job, Sweep},
    table::training_flops,
};
use anyhow::Context as _;
use console::misuse;
use csv::{ErrorKind, ReaderBuilder, StringRecord};
use std::{fs, path::Path};

/// Adds the lines of `file`, a `results.csv`, that are at settings of `sweep` and that it neither runs itself nor has
/// joined already; their number.
///
/// # Errors
/// If the file cannot be read; as misuse, if it is no `results.csv`, or a line is of another experiment, or was had
/// with other operations, which says that model, epochs, images or evaluations differ.
pub fn add(sweep: &mut Sweep, file: &Path) -> anyhow::Result<usize> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let mut reader = ReaderBuilder::new().flexible(true).quoting(false).from_reader(text.as_bytes());
    if !reader.headers().is_ok_and(|header| header.iter().eq(HEADER.split(','))) {
        return Err(SweepError::NoResults(file.into()).into());
    }
    let before = sweep.joined.len();
    for record in reader.records() {
        let record = record.with_context(|| format!("cannot read {shown}"))?;
        let number = record.position().map_or(0, csv::Position::line);
        let row = row(sweep, &record).map_err(|reason| misuse(format!("{shown}, line {number}: {reason}")))?;
        sweep.joined.extend(row);
    }
    Ok(sweep.joined.len() - before)
}

/// The line's results; `None` where `sweep` has no such setting, runs that seed itself, or has joined the same
/// already.
fn row(sweep: &Sweep, record: &StringRecord) -> Result<Option<Row>, String> {
    let columns: Vec<&str> = HEADER.split(',').collect();
    if record.len() != columns.len() {
        return Err(format!("{} fields instead of {}", record.len(), columns.len()));
    }
    let (experiment, setting, name) = (&record[0], &record[1], sweep.experiment.name());
    if experiment != name {
        return Err(format!("of the experiment {experiment}, not {name}"));
    }
    let Some(place) = sweep.settings.iter().position(|known| known.value == setting) else { return Ok(None) };
    let (_, row): (String, Row) = record.deserialize(None).map_err(|error| match error.kind() {
        ErrorKind::Deserialize { err, .. } => {
            let column = err.field().map_or(0, |field| field as usize);
            format!("{} is {:?}, no number", columns[column], &record[column])
        }
        _ => error.to_string(),
    })?;
    let row = Row { place, ..row };
    let measured = [row.value, row.seconds, row.flops, row.pretrain_flops].into_iter();
    if measured.chain(row.loss).chain(row.pretrain_seconds).any(|number| !number.is_finite()) {
        return Err("a number is not finite".into());
    }
    if sweep.runs(&row) {
        return Ok(None);
    }
    let job = sweep.jobs.iter().find(|job| job.setting == place);
    job.map_or(Ok(()), |job| same_work(sweep, job, &row))?;
    let same = |known: &Row| (known.place, known.seed, &known.metric) == (row.place, row.seed, &row.metric);
    Ok((!sweep.joined.iter().any(same)).then_some(row))
}

/// That `row` took the operations of `job`, a run of the same setting.
fn same_work(sweep: &Sweep, job: &Job, row: &Row) -> Result<(), String> {
    let compare = |what: &str, there: f64, here: f64| {
        let [there, here] = [there, here].map(scientific);
        if there == here {
            return Ok(());
        }
        Err(format!("{what} took {there} operations, and {here} in this sweep: its options are others"))
    };
    let here = training_flops(job, sweep.images).map_err(|error| format!("{error:#}"))?;
    compare("pre-training", row.pretrain_flops, here)?;
    let Some(evaluation) = job.evaluations.iter().find(|known| known.metrics().contains(&row.metric.as_str())) else {
        return Ok(());
    };
    let here =
        evaluation.flops(&job.run.config, &sweep.judging, sweep.counts).map_err(|error| format!("{error:#}"))?;
    compare(&row.metric, row.flops, here)
}
