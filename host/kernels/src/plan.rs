//! How the work is computed and divided, shared by [`block`](crate::block) and [`norm`](crate::norm).

use crate::engine::Engine;

/// Shards for a thread: on a machine that does other work too, a thread that waits for its turn keeps one of them
/// back, and the others take the rest.
const A_THREAD: usize = 4;
/// So many threads share a shard's delay among them anyway, and gradients are summed once a shard.
const MANY: usize = 32;

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

    /// Shards for rayon's pool: some a thread; one thread alone has nothing to share.
    #[must_use]
    pub fn with(engine: Engine) -> Self {
        let shards = match rayon::current_num_threads() {
            0 | 1 => 1,
            threads => (threads * A_THREAD).min(MANY).max(threads),
        };
        Self { engine, shards }
    }
}
