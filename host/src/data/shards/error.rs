//! Why shards cannot be read.

use super::{kinds::Compression, pattern::PatternError, rest::Rest};
use imaging::EXTENSIONS;
use std::{io, path::PathBuf};

/// Why there are no images to work with.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A pattern names nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Shards that are named are not there.
    #[error("there is no shard {}{}{}", path.display(), many(*missing, *named), quoted(path))]
    Missing {
        /// The first of them.
        path: PathBuf,
        /// How many there are of them.
        missing: usize,
        /// How many are named.
        named: usize,
    },
    /// The same shard is named twice: its images would count double.
    #[error("{} is named twice", .0.display())]
    Twice(PathBuf),
    /// It is a pipe, a socket or a device.
    #[error("{} is no file that can be read twice", .0.display())]
    NoFile(PathBuf),
    /// Compressed archives cannot be entered in the middle.
    #[error(
        "{} is compressed with {}: unpack it first, as with `{} < OLD > NEW.tar`",
        path.display(), kind.name, kind.program
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        kind: Compression,
    },
    /// It begins as no tar archive does.
    #[error("{} is no tar archive", .0.display())]
    NoTar(PathBuf),
    /// No shard holds an image.
    #[error("no image ({}) in {shards}{}", EXTENSIONS.join(", "), found(rest))]
    NoImages {
        /// The shards, as they were named.
        shards: String,
        /// What they hold instead.
        rest: Box<Rest>,
    },
    /// There is nothing in the file.
    #[error("{} is empty: 0 bytes", .0.display())]
    Empty(PathBuf),
    /// The file ends before its last member does.
    #[error("{} is cut off at member {}: fetch or make it again", path.display(), members + 1)]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Members that are whole.
        members: usize,
    },
    /// A header in the middle is none.
    #[error("{} is damaged at member {} ({reason}): fetch or make it again", path.display(), members + 1)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Members before the damage.
        members: usize,
        /// What is wrong.
        reason: String,
    },
    /// It has not the length any more that it had.
    #[error("{} was changed while it was in use: start again", .0.display())]
    Changed(PathBuf),
    /// The file system.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Numbers of images, and places in a shard, have 32 bits.
    #[error("{} is too large: split it", .0.display())]
    TooLarge(PathBuf),
}

impl ShardError {
    /// Whether something else was named than shards that can be read, which other names would mend; else the named
    /// ones are damaged.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        match self {
            Self::Pattern(_)
            | Self::Missing { .. }
            | Self::Twice(_)
            | Self::NoFile(_)
            | Self::Compressed { .. }
            | Self::NoTar(_)
            | Self::NoImages { .. }
            | Self::TooLarge(_) => true,
            // As of a folder that may not be read.
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
            }
            Self::Empty(_) | Self::CutOff { .. } | Self::Damaged { .. } | Self::Changed(_) => false,
        }
    }
}

fn many(missing: usize, named: usize) -> String {
    if named == 1 { String::new() } else { format!("; {missing} of the {named} named ones are missing") }
}

fn quoted(path: &std::path::Path) -> &'static str {
    // Shells fill these in, this program does not.
    let glob = path.to_string_lossy().contains(['*', '?', '[']);
    if glob { ": leave out the quotes around it, so that the shell fills it in" } else { "" }
}

fn found(rest: &Rest) -> String {
    if rest.is_empty() { String::new() } else { format!("; in it: {rest}") }
}
