//! Work on ranges of tokens, side by side where there are threads.

use super::{
    token_range::TokenRange,
    workspace::{Plan, Shape},
};

/// Who does the work.
#[derive(Debug)]
pub(super) enum Threads {
    /// The calling thread.
    One,
    /// A pool of threads.
    #[cfg(feature = "std")]
    Pool(rayon::ThreadPool),
}

impl Threads {
    /// Threads that share the work.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One => 1,
            #[cfg(feature = "std")]
            Self::Pool(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `all` where [`spread`] may divide its work.
    pub(super) fn install<R: Send>(&self, all: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::One => all(),
            #[cfg(feature = "std")]
            Self::Pool(pool) => pool.install(all),
        }
    }
}

/// Runs `work` on the range, divided among `threads`; returns when all is done. Tokens are divided in whole tiles.
pub(super) fn spread(
    range: TokenRange<'_>,
    threads: usize,
    plan: &Plan,
    shape: &Shape,
    work: &(impl Fn(TokenRange<'_>) + Sync),
) {
    #[cfg(feature = "std")]
    if threads > 1 && range.tiles() > 1 {
        let threads_first = threads / 2;
        let tiles = range.tiles();
        let tiles_first = (tiles * threads_first / threads).clamp(1, tiles - 1);
        let (first, second) = range.split(plan, shape, tiles_first, threads_first * plan.scratch());
        rayon::join(
            || spread(first, threads_first, plan, shape, work),
            || spread(second, threads - threads_first, plan, shape, work),
        );
        return;
    }
    let _ = (threads, plan, shape);
    work(range);
}
