//! How the work is computed and divided, shared by [`block`](crate::block) and [`norm`](crate::norm).

use pulp::Arch;

/// With which instructions, and in how many shards.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Vector instructions.
    pub arch: Arch,
    /// Shards of the batch that are worked on side by side, one a thread.
    pub shards: usize,
}

impl Plan {
    /// The best instructions of this machine, one shard a thread of rayon's pool.
    #[must_use]
    pub fn detect() -> Self {
        Self { arch: Arch::new(), shards: rayon::current_num_threads().max(1) }
    }
}
