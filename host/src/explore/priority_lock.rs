//! A lock that a person's look takes before the work in the background.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Lets one compute at a time, so that each has all cores.
#[derive(Debug, Default)]
pub struct PriorityLock {
    lock: Mutex<()>,
    waiting: AtomicUsize,
}

impl PriorityLock {
    /// Waits for what computes now, then holds the lock; the background waits meanwhile.
    pub fn now(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        held
    }

    /// Holds the lock once nobody waits in [`Self::now`].
    pub fn later(&self) -> MutexGuard<'_, ()> {
        loop {
            while self.waiting.load(Ordering::Relaxed) > 0 {
                thread::sleep(Duration::from_millis(1));
            }
            let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return held;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_waits_for_one_piece_of_background_work_at_most() {
        let (lock, pieces) = (PriorityLock::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while pieces.load(Ordering::Relaxed) < 60 {
                    let held = lock.later();
                    thread::sleep(Duration::from_millis(2));
                    pieces.fetch_add(1, Ordering::Relaxed);
                    drop(held);
                }
            });
            while pieces.load(Ordering::Relaxed) < 50 {
                let before = pieces.load(Ordering::Relaxed);
                let held = lock.now();
                assert!(pieces.load(Ordering::Relaxed) <= before + 2);
                drop(held);
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}
