//! The Linux program.
fn main() {}
