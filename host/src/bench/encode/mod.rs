//! The native encoder beside other runtimes: one thread, one image at a time.
//!
//! Every round runs every contender at every number of visible patches, one after the other, so that slow drifts of
//! the machine meet all of them; ratios are taken within a round. What each figure means is in `docs/benchmarks.md`.

pub mod board;
pub mod contender;
pub mod inputs;
pub mod model;
pub mod native;
pub mod onnxruntime;
pub mod report;
#[cfg(feature = "rten")]
pub mod rten;
pub mod tract;

use crate::evaluate::verify::cosine;
use contender::Contender;
use inputs::Input;
use model::Model;
use report::{Missing, Ratio, Report, Row};
use std::path::PathBuf;

/// A turn of a contender lasts about so long, ms.
const TURN: f64 = 8.0;
/// Most timed runs of a turn.
const MOST_RUNS: f64 = 40.0;

/// Why nothing can be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The model lacks a form.
    #[error("{name} has no {form} form, which this bench needs: export the model again")]
    NoForm {
        /// The model for a person.
        name: String,
        /// The form.
        form: &'static str,
    },
    /// The model does not have so many patches.
    #[error("{visible} visible patches: {patches} patches are the most of this model, 1 the least")]
    Visible {
        /// How many are to be visible.
        visible: usize,
        /// How many there are.
        patches: usize,
    },
}

/// What to measure.
#[derive(Debug)]
pub struct Setup {
    /// The model.
    pub model: Model,
    /// Numbers of visible patches.
    pub visible: Vec<usize>,
    /// Timed rounds.
    pub rounds: usize,
    /// Kernels of the native encoder; the best of this machine if `None`.
    pub kernels: Option<String>,
    /// Whether other runtimes take part.
    pub rivals: bool,
    /// Python with onnxruntime.
    pub python: PathBuf,
}

/// Measures.
///
/// # Errors
/// If the model's forms cannot be used, or a contender that was loaded fails.
pub fn run(setup: &Setup, stage: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let inputs =
        setup.visible.iter().map(|v| Input::new(setup.model.folder.spec(), *v)).collect::<Result<Vec<_>, _>>()?;
    let file = edge::native_file::NativeFile::open(&setup.model.folder)?;
    stage("loading");
    let most = setup.visible.iter().copied().max().unwrap_or(1);
    let native = native::Native::new(&file, &setup.model.folder, setup.kernels.as_deref(), most)?;
    let kernels = native.kernels();
    let mut contenders: Vec<Box<dyn Contender + '_>> = vec![Box::new(native)];
    let mut missing = Vec::new();
    if setup.rivals {
        contenders.extend(tract::contenders(&setup.model.folder)?);
        stage("onnxruntime makes its models");
        match onnxruntime::contenders(&setup.python, &setup.model.path, &inputs) {
            Ok(found) => {
                contenders.extend(found.contenders);
                #[cfg(feature = "rten")]
                {
                    let (found, refused) = rten::contenders(&found.files);
                    contenders.extend(found);
                    missing.extend(refused);
                }
            }
            Err(error) => {
                let reason = format!("{error:#}");
                #[cfg(feature = "rten")]
                missing.push(Missing { name: "rten".into(), reason: "it runs the files that Python makes".into() });
                missing.push(Missing { name: "onnxruntime".into(), reason });
            }
        }
        #[cfg(not(feature = "rten"))]
        missing
            .push(Missing { name: "rten".into(), reason: "this host was built without the feature `rten`".into() });
    }

    // A rival that cannot run the model is no reason to stop.
    let expected = float_features(setup, &inputs)?;
    let (mut running, mut cosines, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for mut contender in contenders {
        stage(&format!("warming up {}", contender.name()));
        match warm_up(&mut *contender, &inputs, &expected) {
            Ok((found, repeat)) => {
                running.push(contender);
                cosines.push(found);
                runs.push(repeat);
            }
            Err(error) if running.is_empty() => return Err(error),
            Err(error) => missing.push(Missing { name: contender.name().into(), reason: format!("{error:#}") }),
        }
    }
    let mut contenders = running;
    // [contender][input][round], ms
    let mut times = vec![vec![Vec::with_capacity(setup.rounds); inputs.len()]; contenders.len()];
    for round in 0..setup.rounds {
        stage(&format!("round {} of {}", round + 1, setup.rounds));
        for (j, input) in inputs.iter().enumerate() {
            // The order turns, so that nobody always follows the same neighbour.
            for step in 0..contenders.len() {
                let i = (step + round) % contenders.len();
                times[i][j].push(contenders[i].run(input, runs[i][j])?);
            }
        }
    }
    let mut rows = Vec::new();
    for (i, contender) in contenders.iter().enumerate() {
        for (j, input) in inputs.iter().enumerate() {
            let visible = input.ids_keep.len();
            let (cosine, runs) = (cosines[i][j], runs[i][j]);
            rows.extend(Row::new(contender.name(), contender.version(), visible, &times[i][j], runs, cosine));
        }
    }
    let mut ratios = Vec::new();
    for (i, rival) in contenders.iter().enumerate().skip(1) {
        for (j, input) in inputs.iter().enumerate() {
            ratios.extend(Ratio::new(rival.name(), input.ids_keep.len(), &times[0][j], &times[i][j]));
        }
    }
    drop(contenders);
    stage("parts of the native encoder");
    let parts = native::parts(&file, &setup.model.folder, setup.kernels.as_deref(), &inputs, setup.rounds)?;
    stage("memory and start-up");
    let board = board::measure(setup);
    if let Err(error) = &board {
        missing.push(Missing { name: "memory and start-up".into(), reason: format!("{error:#}") });
    }
    Ok(Report::new(setup, kernels, (rows, ratios), parts, board.ok(), missing))
}

/// For each input the cosine with the float feature, and how many runs make a turn.
fn warm_up(
    contender: &mut dyn Contender,
    inputs: &[Input],
    expected: &[Vec<f32>],
) -> anyhow::Result<(Vec<f64>, Vec<usize>)> {
    let (mut cosines, mut runs) = (Vec::new(), Vec::new());
    for (input, expected) in inputs.iter().zip(expected) {
        cosines.push(cosine(&contender.feature(input)?, expected));
        runs.push((TURN / contender.run(input, 2)?).clamp(1.0, MOST_RUNS) as usize);
    }
    Ok((cosines, runs))
}

/// The feature of each input by tract in f32, which all others are compared with.
fn float_features(setup: &Setup, inputs: &[Input]) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut float = tract::Tract::new(&setup.model.folder, edge::model_folder::Precision::F32)?;
    inputs.iter().map(|input| float.feature(input)).collect()
}
