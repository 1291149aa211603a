//! How the work is computed and divided, shared by [`block`](crate::block) and [`norm`](crate::norm).

use crate::engine::Engine;

/// With which instructions, and in how many shards.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Vector instructions, and the arithmetic of products.
    pub engine: Engine,
    /// Shards of the batch, which the threads take as they come. Sums over the batch are summed by shard, and these in
    /// their order: they depend on the number of shards, and on nothing that happens while it runs.
    pub shards: usize,
}

impl Plan {
    /// The best instructions of this machine, shards for rayon's pool.
    #[must_use]
    pub fn detect() -> Self {
        Self::with(Engine::f32())
    }

    /// One shard a thread of rayon's pool. More of them were no faster beside other work.
    #[must_use]
    pub fn with(engine: Engine) -> Self {
        Self { engine, shards: rayon::current_num_threads().max(1) }
    }
}
