//! How the work is computed and divided, shared by [`block`](crate::block) and [`norm`](crate::norm).

use crate::engine::Engine;

/// With which instructions, and in how many shards.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Vector instructions, and the arithmetic of products.
    pub engine: Engine,
    /// Shards of the batch that are worked on side by side, one a thread.
    pub shards: usize,
}

impl Plan {
    /// The best instructions of this machine, one shard a thread of rayon's pool.
    #[must_use]
    pub fn detect() -> Self {
        Self::with(Engine::f32())
    }

    /// One shard a thread of rayon's pool.
    #[must_use]
    pub fn with(engine: Engine) -> Self {
        Self { engine, shards: rayon::current_num_threads().max(1) }
    }
}
