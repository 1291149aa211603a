//! Does a sweep, one run after the other; what is done already is left as it is.

use super::{
    cache::{Cache, CachedResult, difference},
    draw,
    evaluator::Evaluator,
    row::Row,
    sweep::{Evaluation, Job, Run, State, Sweep},
    table, tune,
};
use crate::{
    data::dataset::Dataset,
    device::Chosen,
    pictures,
    report::{self, record, recorder::Recorder},
    run::{DataSource, RunFolder},
    train::{engine::Outcome, pretraining::Pretraining},
};
use console::Misuse;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// The images of pre-trainings, opened once where all runs have the same.
#[derive(Debug, Default)]
pub struct Images {
    open: Option<(String, Arc<Dataset>)>,
}

impl Images {
    /// The images of `run`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of(&mut self, run: &Run) -> anyhow::Result<Arc<Dataset>> {
        let config = &run.config;
        let key = match &config.data {
            data @ (DataSource::Folder(_) | DataSource::Shards(_)) => format!("{data:?}"),
            DataSource::Synthetic => format!("seed {}", config.train.seed),
        };
        match &self.open {
            Some((known, dataset)) if *known == key => Ok(dataset.clone()),
            _ => {
                let dataset = Arc::new(config.open_data()?);
                self.open = Some((key, dataset.clone()));
                Ok(dataset)
            }
        }
    }
}

/// What the whole sweep came to.
#[derive(Debug)]
pub struct Found {
    /// Whether all is done, and it was not stopped.
    pub finished: bool,
    /// All results that are there.
    pub rows: Vec<Row>,
    /// Files that were written.
    pub files: Vec<PathBuf>,
}

/// Does what is left of `sweep`, or stops, saved, when `stop` is set. Results and figure are written into `out` after
/// every evaluation. `tell` gives an error the words of the command line: what is misuse in them ends the sweep.
///
/// # Errors
/// If a run is there with other options; if a training or an evaluation fails.
pub fn run(
    sweep: &Sweep,
    (out, chosen): (&Path, &Chosen),
    images: &mut Images,
    stop: &AtomicBool,
    tell: fn(anyhow::Error) -> anyhow::Error,
) -> anyhow::Result<Found> {
    let mut judge = Evaluator::new(sweep.judging.clone(), chosen.device.clone());
    let mut failed: Vec<(&str, anyhow::Error)> = Vec::new();
    for (place, job) in sweep.jobs.iter().enumerate() {
        if failed.iter().any(|(name, _)| *name == job.run.name) {
            continue;
        }
        match work_on(sweep, (place, job), (out, chosen), images, &mut judge, stop).map_err(tell) {
            Ok(true) => {}
            Ok(false) => return found(sweep, out, false),
            Err(error) if error.downcast_ref::<Misuse>().is_some() => return Err(error),
            // One that diverges must not keep the others from being done.
            Err(error) => {
                console::note!("warning: {} failed: {error:#}", job.run.name);
                failed.push((&job.run.name, error));
            }
        }
    }
    let mut found = found(sweep, out, true)?;
    let count = failed.len();
    if let Some((name, error)) = failed.into_iter().next() {
        let results = found.files[0].display();
        return Err(error.context(format!("{count} runs failed, the first of them {name}; {results} has the others")));
    }
    let first: Vec<&Run> = sweep.jobs.iter().take(sweep.settings.len()).map(|job| &job.run).collect();
    let dataset = images.of(first[0])?;
    found.files.extend(draw::reconstructions(sweep, &first, &pictures::samples(&dataset, 6), out)?);
    Ok(found)
}

/// Trains and evaluates the run of a job, its number in the sweep first; false if it was stopped.
fn work_on(
    sweep: &Sweep,
    (place, job): (usize, &Job),
    (out, chosen): (&Path, &Chosen),
    images: &mut Images,
    judge: &mut Evaluator,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let mut store = Cache::open(&job.run.path)?;
    let missing =
        |evaluation: &&Evaluation| store.get(&evaluation.key(), &evaluation.settings(&sweep.judging)).is_none();
    let left: Vec<Evaluation> = job.evaluations.iter().filter(missing).copied().collect();
    if left.is_empty() && job.run.state()? == State::Trained {
        return Ok(true);
    }
    let (setting, seed) = (&sweep.settings[job.setting].value, job.run.config.train.seed);
    let (name, all) = (sweep.experiment.name(), sweep.jobs.len());
    console::note!("run {} of {all}: {name} {setting}, seed {seed}", place + 1);
    if stop.load(Ordering::Relaxed) || pretrain(&job.run, images, chosen, stop)? != Outcome::Finished {
        return Ok(false);
    }
    for evaluation in left {
        if evaluate(sweep, job, evaluation, (judge, &mut store), chosen, stop)?.is_none() {
            return Ok(false);
        }
        found(sweep, out, false)?;
    }
    Ok(true)
}

/// Writes what is there.
fn found(sweep: &Sweep, out: &Path, finished: bool) -> anyhow::Result<Found> {
    let rows = table::collect(sweep)?;
    let files = table::write(sweep, &rows, out)?.into_iter().chain(draw::write(sweep, &rows, out)?).collect();
    Ok(Found { finished, rows, files })
}

/// Trains a run to its end, or until `stop`, from where it is.
fn pretrain(run: &Run, images: &mut Images, chosen: &Chosen, stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let (state, config) = (run.state()?, &run.config);
    if state == State::Trained && RunFolder::open(&run.path)?.0.load()?.state.epoch >= config.train.epochs {
        return Ok(Outcome::Finished);
    }
    let dataset = images.of(run)?;
    let resumed = state != State::Waiting;
    let folder = if resumed { RunFolder::reopen(&run.path, config)? } else { RunFolder::create(&run.path, config)? };
    let mut engine = Pretraining::open(&folder, config, dataset.clone(), &chosen.device, resumed)?;
    let mut recorder = Recorder::of(&folder, config, &dataset, &engine);
    let outcome = engine.run(recorder.as_mut().map(|recorder| recorder as _), stop)?;
    if outcome == Outcome::Finished {
        let samples = pictures::samples(&dataset, 6);
        let picture = run.path.join("pictures/reconstruction.png");
        let drawn = pictures::reconstruct(&folder, config, &samples, None, config.train.mask_ratio, &picture);
        if let Err(error) = drawn.and_then(|()| report::write(&folder, config)) {
            console::note!("warning: no picture or report of {}: {error:#}", run.path.display());
        }
    }
    Ok(outcome)
}

/// Does one evaluation and keeps its result; `None` if it was stopped.
fn evaluate(
    sweep: &Sweep,
    job: &Job,
    evaluation: Evaluation,
    (judge, store): (&mut Evaluator, &mut Cache),
    chosen: &Chosen,
    stop: &AtomicBool,
) -> anyhow::Result<Option<()>> {
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let (run, key, settings) = (&job.run, evaluation.key(), evaluation.settings(&sweep.judging));
    if let Some(difference) = store.other(&key, &settings).and_then(|known| difference(known, &settings)) {
        console::note!("note: {key} of {} is done anew: {difference}", run.name);
    }
    let begun = Instant::now();
    let figures = match evaluation {
        Evaluation::Knn => vec![("knn", judge.accuracy(run, None)?)],
        Evaluation::Linear(method) => vec![("linear", judge.accuracy(run, Some(method))?)],
        Evaluation::Finetune(blocks) => {
            let (folder, seed) = (run.path.join(&key), run.config.train.seed);
            let paths = (run.path.as_path(), folder.as_path());
            match tune::accuracy(paths, &sweep.judging, (blocks, seed), chosen, stop)? {
                None => return Ok(None),
                Some(accuracy) => vec![("finetune", accuracy)],
            }
        }
        Evaluation::Seam => {
            let found = judge.seam(run)?;
            let names = evaluation.metrics().iter().copied();
            names.zip([found.seam, found.rmse_near, found.rmse_far, found.rmse]).collect()
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let flops = evaluation.flops(&run.config, &sweep.judging, sweep.counts)?;
    let shown: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    console::note!("{}: {} ({seconds:.1} s)", run.name, shown.join(", "));
    store.put(&run.path, &key, CachedResult::now(settings.clone(), &figures, seconds, flops))?;
    let rows: Vec<_> = match evaluation {
        Evaluation::Seam => Vec::new(),
        _ => figures.iter().map(|(_, value)| serde_json::json!({ "name": key, "accuracy": value })).collect(),
    };
    let mut result = serde_json::json!({ "rows": rows, "settings": settings, "seconds": seconds });
    if evaluation == Evaluation::Seam {
        for (name, value) in &figures {
            result[*name] = (*value).into();
        }
    }
    // The run's report shows it, too; its kinds are plain names.
    record::save(&run.path, key.split("-blocks").next().unwrap_or(&key), &result)?;
    Ok(Some(()))
}
