//! What both loaders share: batches prepared ahead on a thread of their own, a random order, and the images that
//! could not be read.

use anyhow::Context as _;
use common::mask::{argsort, generator, uniform};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

/// Starts a thread that makes the iterator `batches` and takes from it, `prefetch` batches ahead. It ends with them,
/// with the first error, or when nobody takes them any more.
///
/// # Errors
/// If the thread cannot be started.
pub fn prepare<T: Send + 'static, I: Iterator<Item = anyhow::Result<T>>>(
    prefetch: usize,
    batches: impl FnOnce() -> I + Send + 'static,
) -> anyhow::Result<Receiver<anyhow::Result<T>>> {
    let (sender, receiver) = sync_channel(prefetch);
    let work = move || {
        for batch in batches() {
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    };
    thread::Builder::new().name("loader".into()).spawn(work).context("cannot start the loader's thread")?;
    Ok(receiver)
}

/// `0..count` in the order of `epoch`.
#[must_use]
pub fn shuffled(count: usize, seed: u64, epoch: usize) -> Vec<u32> {
    let rng = &mut generator(seed, epoch as u64);
    let noise: Vec<f32> = (0..count).map(|_| uniform(rng)).collect();
    let mut order = vec![0; noise.len()];
    argsort(&noise, &mut order);
    order
}

/// Images that could not be read, each named once.
#[derive(Debug, Clone, Default)]
pub struct Broken(Arc<Mutex<BTreeSet<String>>>);

impl Broken {
    /// Takes in one.
    pub fn add(&self, error: &anyhow::Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{error:#}"));
    }

    /// A line about each so far (ten at most), and one with their number.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let broken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = broken.iter().take(10).map(|text| format!("warning: skipped {text}")).collect();
        if broken.len() > lines.len() {
            lines.push(format!("warning: {} images skipped in all", broken.len()));
        }
        lines
    }
}
