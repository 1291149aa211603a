//! Fine-tuning with labels.

pub mod groups;
pub mod task;
pub mod tuning;
