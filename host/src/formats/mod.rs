//! Checkpoint files of other programs: reading what they hold, finding what they leave out, writing them.

pub mod export;
pub mod huggingface;
pub mod import;
pub mod infer;
pub mod interpolate;
pub mod official;
pub mod pickle;
pub mod pth;
pub mod source;
pub mod timm;
