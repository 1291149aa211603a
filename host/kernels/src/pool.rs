//! Buffers that are used again: a training step asks for the same sizes every time, and memory that is already mapped
//! and initialised costs nothing.

use std::{
    cell::RefCell,
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// Those that any thread may take.
static FREE: Mutex<Option<HashMap<usize, Vec<Vec<f32>>>>> = Mutex::new(None);

/// The longest buffer that a thread keeps for itself, and how many: attention takes a few for each head, of numbers
/// that cost no more than the lock would.
const NEAR_LEN: usize = 1 << 14;
const NEAR_COUNT: usize = 24;

thread_local! {
    static NEAR: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// The buffers of this thread; `None` when it ends.
fn near<T>(function: impl FnOnce(&mut Vec<Vec<f32>>) -> T) -> Option<T> {
    NEAR.try_with(|near| near.try_borrow_mut().ok().map(|mut near| function(&mut near))).ok().flatten()
}

/// A buffer of the pool, given back when dropped. Its contents are whatever was there before.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// A buffer of `len` numbers of unknown value.
    #[must_use]
    pub fn take(len: usize) -> Self {
        if len <= NEAR_LEN {
            let used = near(|near| near.iter().rposition(|data| data.len() == len).map(|at| near.swap_remove(at)));
            if let Some(data) = used.flatten() {
                return Self(data);
            }
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let used = free.get_or_insert_default().get_mut(&len).and_then(Vec::pop);
        drop(free);
        Self(used.unwrap_or_else(|| vec![0.0; len]))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.0);
        if data.len() <= NEAR_LEN {
            near(|near| {
                if near.len() < NEAR_COUNT {
                    near.push(std::mem::take(&mut data));
                }
            });
        }
        if data.is_empty() {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.get_or_insert_default().entry(data.len()).or_default().push(data);
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_for_the_same_length_only() {
        // Lengths that no other test takes.
        let mut first = Buffer::take(10_007);
        first.fill(3.0);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take(10_009).len(), 10_009);
        let second = Buffer::take(10_007);
        assert_eq!((second.as_ptr(), second.len()), (address, 10_007));
        assert_ne!(Buffer::take(10_007).as_ptr(), address, "one that is in use is not given away");
    }
}
