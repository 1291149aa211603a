//! Buffers that are used again: a training step asks for the same sizes every time, and memory that is already mapped
//! and initialised costs nothing.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

static FREE: Mutex<Option<HashMap<usize, Vec<Vec<f32>>>>> = Mutex::new(None);

/// A buffer of the pool, given back when dropped. Its contents are whatever was there before.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// A buffer of `len` numbers of unknown value.
    #[must_use]
    pub fn take(len: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let used = free.get_or_insert_default().get_mut(&len).and_then(Vec::pop);
        drop(free);
        Self(used.unwrap_or_else(|| vec![0.0; len]))
    }

    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.0);
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

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        pulp::bytemuck::cast_slice(&self.0)
    }
}

/// Gives the memory of all unused buffers back to the system.
pub fn clear() {
    *FREE.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
