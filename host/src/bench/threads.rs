//! Bounds the whole process, not only its thread pool: the loader has a thread of its own.

use anyhow::Context as _;

/// A number of threads that this machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{threads} threads: from 1 to {most} on this machine")]
pub struct ThreadsError {
    /// How many are asked for.
    pub threads: usize,
    /// How many there are.
    pub most: usize,
}

/// The processors that this process may use.
#[must_use]
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Gives the thread pool `threads` threads and, on Linux, the process as many processors. To be called before
/// anything computes, because threads inherit the bound.
///
/// # Errors
/// [`ThreadsError`] for 0 or more than there are; else if the pool runs already or the kernel refuses.
pub fn bound(threads: usize) -> anyhow::Result<()> {
    let most = available();
    if threads == 0 || threads > most {
        return Err(ThreadsError { threads, most }.into());
    }
    #[cfg(target_os = "linux")]
    pin(threads).context("cannot bind this process to its processors")?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().context("cannot set the number of threads")
}

/// Keeps the first `threads` of the permitted processors.
#[cfg(target_os = "linux")]
fn pin(threads: usize) -> Result<(), rustix::io::Errno> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let permitted = sched_getaffinity(None)?;
    let mut wanted = CpuSet::new();
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| permitted.is_set(*cpu)).take(threads) {
        wanted.set(cpu);
    }
    sched_setaffinity(None, &wanted)
}
