//! Pre-training: recipe, schedule, optimizer, loop and run folder.

pub mod config;
pub mod finetune;
pub mod optimizer;
pub mod progress;
pub mod run_folder;
pub mod schedule;
pub mod trainer;
