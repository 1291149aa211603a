//! Options that are `on` or `off`.

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Done.
    On,
    /// Not done.
    Off,
}
