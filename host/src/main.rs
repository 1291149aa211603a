//! The host program; see [`host::cli`].

use std::process::ExitCode;

/// Training allocates hundreds of megabytes a step; this allocator keeps them, the system's gives them back each
/// time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    host::cli::main()
}
