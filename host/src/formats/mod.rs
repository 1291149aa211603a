//! Checkpoint files of other programs: reading what they hold, finding what they leave out, writing them.

mod choice;
pub mod classifier;
pub mod error;
pub mod export;
pub mod finding;
pub(crate) mod huggingface;
pub mod import;
pub mod infer;
pub(crate) mod interpolate;
pub(crate) mod names;
pub mod official;
pub(crate) mod pickle;
pub(crate) mod pth;
mod published;
mod search;
mod shards;
pub mod source;
mod source_error;
pub(crate) mod timm;
mod weights;
