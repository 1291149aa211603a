//! Where the time goes: a hook between the parts of the calculation that costs nothing when it is not used.

/// A part of the calculation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// The patch embedding, with its product.
    Embedding,
    /// LayerNorms and the quantisation of what they give.
    Norm,
    /// The products with the blocks' weights.
    Product,
    /// Queries, keys and values from sums: scaled, quantised, put in their places.
    Heads,
    /// The products of queries with keys and of attention weights with values.
    AttentionProduct,
    /// Softmax, and the scaling of attention's output.
    Softmax,
    /// GELU, with the scaling before it.
    Gelu,
    /// Quantisation before the projections, and residual sums.
    Residual,
}

impl Stage {
    /// All stages in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Embedding,
        Self::Norm,
        Self::Product,
        Self::Heads,
        Self::AttentionProduct,
        Self::Softmax,
        Self::Gelu,
        Self::Residual,
    ];

    /// A name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "patch embedding",
            Self::Norm => "norm",
            Self::Product => "matmul",
            Self::Heads => "heads",
            Self::AttentionProduct => "attention matmul",
            Self::Softmax => "softmax",
            Self::Gelu => "gelu",
            Self::Residual => "residual",
        }
    }
}

/// Told when a stage ends; all time since the last call was that stage's.
pub trait Profiler: Sync {
    /// A stage has ended.
    fn mark(&self, stage: Stage);
}

/// Measures nothing.
impl Profiler for () {
    #[inline(always)]
    fn mark(&self, _stage: Stage) {}
}

/// Adds up the time of each stage. For an encoder with one thread: with more it would mix their times.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Profile {
    start: std::time::Instant,
    last: core::sync::atomic::AtomicU64,
    nanoseconds: [core::sync::atomic::AtomicU64; Stage::ALL.len()],
}

#[cfg(feature = "std")]
impl Profile {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now(), last: 0.into(), nanoseconds: Default::default() }
    }

    /// Seconds of each stage, in the order of [`Stage::ALL`].
    #[must_use]
    pub fn seconds(&self) -> [f64; Stage::ALL.len()] {
        self.nanoseconds.each_ref().map(|time| time.load(core::sync::atomic::Ordering::Relaxed) as f64 * 1e-9)
    }
}

#[cfg(feature = "std")]
impl Profiler for Profile {
    fn mark(&self, stage: Stage) {
        use core::sync::atomic::Ordering::Relaxed;
        let now = self.start.elapsed().as_nanos() as u64;
        let spent = now - self.last.swap(now, Relaxed).min(now);
        self.nanoseconds[stage as usize].fetch_add(spent, Relaxed);
    }
}
