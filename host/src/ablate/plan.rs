//! What a sweep will do, what it costs, and what of it is done.

use super::{
    cache::Cache,
    evaluator::uses_features,
    sweep::{Evaluation, Job, State, Sweep},
    timing::Timer,
};
use crate::{bench::flops, clock, data::dataset::Dataset};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedEvaluation {
    /// What is evaluated.
    pub name: String,
    /// Whether its result is there.
    pub done: bool,
    /// Floating-point operations of its matrix products.
    pub flops: f64,
    /// Time it will take, 0 if it is done.
    pub seconds: f64,
}

/// One run for one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedJob {
    /// The run folder's name.
    pub run: String,
    pub setting: String,
    /// Random choices come from it.
    pub seed: u64,
    /// How far its pre-training is; of a run that a job before it trains, as that leaves it.
    #[serde(flatten)]
    pub state: State,
    /// Operations of one image's training step.
    pub flops_per_image: u64,
    /// Operations of the whole pre-training.
    pub pretrain_flops: f64,
    /// Time that the rest of it will take.
    pub pretrain_seconds: f64,
    /// Evaluations.
    pub evaluations: Vec<PlannedEvaluation>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// In their order.
    pub jobs: Vec<PlannedJob>,
    /// Pre-trainings.
    pub runs: usize,
    /// Pre-trainings that are done.
    pub runs_done: usize,
    /// Operations that are left.
    pub flops: f64,
    /// Time that is left.
    pub seconds: f64,
}

impl PlannedJob {
    /// Time that is left for it.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.pretrain_seconds + self.evaluations.iter().map(|evaluation| evaluation.seconds).sum::<f64>()
    }
}

/// Looks at what is there and measures what is left. `dataset`: opens the images of a job's pre-training; `tick`:
/// called before each job.
///
/// # Errors
/// As misuse, if a run is there with other options; if something cannot be read or measured.
pub fn plan(
    sweep: &Sweep,
    timer: &mut Timer<'_>,
    mut dataset: impl FnMut(&Job) -> anyhow::Result<Arc<Dataset>>,
    tick: impl Fn(usize),
) -> anyhow::Result<Plan> {
    let (mut jobs, mut seen, mut runs_done, mut flops_left) = (Vec::new(), BTreeSet::new(), 0, 0.0);
    // What is impossible is said before anything is measured.
    let states = sweep.jobs.iter().map(|job| job.run.state()).collect::<anyhow::Result<Vec<_>>>()?;
    for (place, (job, state)) in sweep.jobs.iter().zip(states).enumerate() {
        tick(place);
        let config = &job.run.config;
        let first = seen.insert(job.run.name.clone());
        let state = if first { state } else { State::Trained };
        runs_done += usize::from(first && state == State::Trained);
        let flops_per_image = flops::training(&config.preset())?;
        let pretrain_flops = flops_per_image as f64 * job.run.images(sweep.images) as f64;
        let epochs = config.train.epochs;
        let left = match state {
            State::Trained => 0.0,
            State::Waiting => 1.0,
            State::Begun(done) => 1.0 - done as f64 / epochs as f64,
        };
        let store = Cache::open(&job.run.path)?;
        let ask = |evaluation: &Evaluation| {
            (*evaluation, store.get(&evaluation.key(), &evaluation.settings(&sweep.judging)).is_some())
        };
        let asked: Vec<_> = job.evaluations.iter().map(ask).collect();
        let seam = asked.iter().any(|(evaluation, done)| *evaluation == Evaluation::Seam && !done);
        let per_image = if left > 0.0 || seam { timer.training(config, &dataset(job)?)? } else { 0.0 };
        let mut shared = true;
        let mut evaluations = Vec::new();
        for (evaluation, done) in asked {
            let cost = evaluation.flops(config, &sweep.judging, sweep.counts)?;
            let mut seconds = 0.0;
            if !done {
                seconds = timer.evaluation(evaluation, (config, &sweep.judging, sweep.counts), per_image)?;
                flops_left += cost;
                // The first that needs features makes them for all.
                if uses_features(evaluation) && std::mem::take(&mut shared) {
                    seconds += timer.encoding(config)? * (sweep.counts.train + sweep.counts.test) as f64;
                }
            }
            evaluations.push(PlannedEvaluation { name: evaluation.key(), done, flops: cost, seconds });
        }
        flops_left += left * pretrain_flops;
        jobs.push(PlannedJob {
            run: job.run.name.clone(),
            setting: sweep.settings[job.setting].value.clone(),
            seed: config.train.seed,
            state,
            flops_per_image,
            pretrain_flops,
            pretrain_seconds: left * per_image * job.run.images(sweep.images) as f64,
            evaluations,
        });
    }
    let seconds = jobs.iter().map(PlannedJob::seconds).sum();
    Ok(Plan { runs: seen.len(), jobs, runs_done, flops: flops_left, seconds })
}

impl Plan {
    /// What is left, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let evaluations = || self.jobs.iter().flat_map(|job| &job.evaluations);
        let done = evaluations().filter(|evaluation| evaluation.done).count();
        let (runs, runs_done, all) = (self.runs, self.runs_done, evaluations().count());
        let left = if self.seconds > 0.0 {
            format!("{} FLOP, about {} left", si(self.flops), clock::duration(self.seconds))
        } else {
            "nothing left".into()
        };
        format!("{runs} pre-trainings ({runs_done} done), {all} evaluations ({done} done); {left}")
    }

    /// The whole plan as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let widest = self.jobs.iter().map(|job| job.run.len()).max().unwrap_or(0).max(3);
        let mut out = format!(
            "{:<widest$}  {:<22}  {:>10}  {:>9}  {:>14}  evaluations (FLOP, time left)\n",
            "run", "setting", "FLOP/image", "FLOP", "training left"
        );
        for job in &self.jobs {
            let evaluation = |e: &PlannedEvaluation| match e.done {
                true => format!("{} done", e.name),
                false => format!("{} ({}, {})", e.name, si(e.flops), clock::duration(e.seconds)),
            };
            let left = match job.state {
                State::Trained => "none".to_owned(),
                _ => clock::duration(job.pretrain_seconds),
            };
            out += &format!(
                "{:<widest$}  {:<22}  {:>10}  {:>9}  {left:>14}  {}\n",
                job.run,
                job.setting,
                si(job.flops_per_image as f64),
                si(job.pretrain_flops),
                job.evaluations.iter().map(evaluation).collect::<Vec<_>>().join(", ")
            );
        }
        out
    }
}

/// Three digits and a prefix: `1.24 T`.
#[must_use]
pub fn si(value: f64) -> String {
    let prefixes = ["", " k", " M", " G", " T", " P", " E"];
    let place = ((value.abs().max(1.0).log10() / 3.0) as usize).min(prefixes.len() - 1);
    let value = value / 1000_f64.powi(place as i32);
    let decimals = if value >= 99.5 { 0 } else { 1 + usize::from(value < 9.95) };
    format!("{value:.decimals$}{}", prefixes[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        let shown = [0.0, 999.0, 1240.0, 9.96e9, 61.6e9, 234.4e12, 1.5e18].map(si);
        assert_eq!(shown, ["0.00", "999", "1.24 k", "10.0 G", "61.6 G", "234 T", "1.50 E"]);
    }

    #[test]
    fn a_plan_says_what_is_done_and_what_is_left() {
        let evaluation = |done, seconds| PlannedEvaluation { name: "knn".into(), done, flops: 2e9, seconds };
        let job = |state, pretrain_seconds, evaluations| PlannedJob {
            run: "base-seed-0".into(),
            setting: "0.75".into(),
            seed: 0,
            state,
            flops_per_image: 60_000_000,
            pretrain_flops: 6e12,
            pretrain_seconds,
            evaluations,
        };
        let jobs = vec![
            job(State::Trained, 0.0, vec![evaluation(true, 0.0)]),
            job(State::Begun(3), 100.0, vec![evaluation(false, 20.0)]),
        ];
        let plan = Plan { jobs, runs: 2, runs_done: 1, flops: 6e12, seconds: 120.0 };
        assert_eq!(
            plan.line(),
            "2 pre-trainings (1 done), 2 evaluations (1 done); 6.00 T FLOP, about 2 min 0 s left"
        );
        let table = plan.table();
        assert!(table.contains("knn done") && table.contains("knn (2.00 G, 20 s)"), "{table}");
        assert!(table.contains("none") && table.contains("1 min 40 s"), "{table}");
        let json = serde_json::to_value(&plan).expect("json");
        assert_eq!((&json["jobs"][1]["state"], &json["jobs"][1]["epochs"]), (&"begun".into(), &3.into()));
    }
}
