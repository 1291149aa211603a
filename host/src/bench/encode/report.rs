//! What `host bench encode` reports.

use super::Setup;
use crate::bench::Spread;
use serde::Serialize;

/// All figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    program: &'static str,
    version: &'static str,
    /// Preset or folder.
    pub model: String,
    /// The model's hash.
    hash: String,
    /// Patches of an image.
    pub patches: usize,
    /// Always 1: so many threads each contender has.
    threads: usize,
    /// Kernels of the native encoder.
    pub kernels: &'static str,
    /// Timed rounds.
    pub rounds: usize,
    /// One a contender and number of visible patches; the native encoder first.
    pub rows: Vec<Row>,
    /// The native encoder's time over each rival's.
    pub ratios: Vec<Ratio>,
    /// The native encoder's time at fewer patches over that at the most, medians.
    pub shares: Vec<Share>,
    /// Where the native encoder's time goes.
    pub parts: Vec<Parts>,
    /// Memory and start-up of `edge --runtime native`.
    pub board: Option<Board>,
    /// What was not measured, and why.
    pub missing: Vec<Missing>,
}

/// Times of one contender.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Runtime and form.
    pub contender: String,
    /// Version of the runtime.
    pub version: Option<String>,
    /// Visible patches.
    pub visible: usize,
    /// Of one image.
    pub ms: Spread,
    /// Encodings that were timed together in a round.
    runs: usize,
    /// Of the mean-pooled feature with tract's in f32.
    pub cosine: f64,
}

impl Row {
    /// `None` without times.
    pub(super) fn new(
        contender: &str,
        version: Option<&str>,
        visible: usize,
        times: &[f64],
        runs: usize,
        cosine: f64,
    ) -> Option<Self> {
        let (contender, version) = (contender.into(), version.map(Into::into));
        Some(Self { contender, version, visible, ms: Spread::of(times)?, runs, cosine })
    }
}

/// The native encoder's time over a rival's, round by round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The rival.
    pub rival: String,
    /// Visible patches.
    pub visible: usize,
    /// Below 1 the native encoder is faster.
    pub ratio: Spread,
}

impl Ratio {
    /// `None` without times.
    pub(super) fn new(rival: &str, visible: usize, native: &[f64], other: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = native.iter().zip(other).map(|(native, other)| native / other).collect();
        Some(Self { rival: rival.into(), visible, ratio: Spread::of(&ratios)? })
    }
}

/// What fewer patches cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Visible patches.
    pub visible: usize,
    /// As share of the most that were measured.
    pub of_patches: f64,
    /// Time as share of the time there.
    pub of_time: f64,
}

/// Where the time goes at one number of visible patches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parts {
    /// Visible patches.
    pub visible: usize,
    /// One encoding while its parts are timed, ms: a little more than without.
    pub total_ms: f64,
    /// The best of this machine: a product of 8-bit integers that fits its first-level cache, multiplications and
    /// additions in thousand millions a second.
    pub peak_gops: f64,
    /// In the order of their work.
    pub parts: Vec<Part>,
}

/// One part of the work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub name: &'static str,
    /// Median of an encoding's sum, ms.
    pub ms: f64,
    /// Of the total.
    pub share: f64,
    /// Integer multiplications and additions, thousand millions a second; `None` where there are none.
    pub gops: Option<f64>,
    /// The same over the peak.
    pub of_peak: Option<f64>,
}

/// The program on a board, measured from a process of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Board {
    /// Length of `encoder.native`.
    pub model_bytes: u64,
    /// Largest resident size of the process, `VmHWM`, with the mapped model.
    pub peak_memory_bytes: Spread,
    /// From opening the model folder to the first feature.
    pub startup_ms: Spread,
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    /// What.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Report {
    pub(super) fn new(
        setup: &Setup,
        kernels: &'static str,
        (rows, ratios): (Vec<Row>, Vec<Ratio>),
        parts: Vec<Parts>,
        board: Option<Board>,
        missing: Vec<Missing>,
    ) -> Self {
        let native: Vec<&Row> = rows.iter().take_while(|row| row.contender == rows[0].contender).collect();
        let most = native.iter().max_by_key(|row| row.visible);
        let share = |row: &&Row| {
            let most = most?;
            let of_patches = row.visible as f64 / most.visible as f64;
            Some(Share { visible: row.visible, of_patches, of_time: row.ms.median / most.ms.median })
        };
        let shares = native.iter().filter_map(share).collect();
        let spec = setup.model.folder.spec();
        Self {
            program: "host",
            version: env!("CARGO_PKG_VERSION"),
            model: setup.model.name.clone(),
            hash: spec.hash.to_string(),
            patches: spec.grid().map_or(0, |grid| grid.patches()),
            threads: 1,
            kernels,
            rounds: setup.rounds,
            rows,
            ratios,
            shares,
            parts,
            board,
            missing,
        }
    }

    /// Numbers of visible patches, in the order asked for.
    #[must_use]
    pub fn visible(&self) -> Vec<usize> {
        self.shares.iter().map(|share| share.visible).collect()
    }
}
