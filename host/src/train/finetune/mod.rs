//! Fine-tuning of an encoder with a classifier's head (MAE §4, appendix A.1, table 9): recipe, groups, loop, folder.

pub mod config;
pub mod folder;
pub mod groups;
pub mod trainer;
