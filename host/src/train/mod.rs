//! Pre-training: recipe, schedule, optimizer, loop and run folder.

pub mod components;
pub mod config;
pub mod events;
pub mod finetune;
pub mod folder;
pub mod history;
mod meter;
pub mod optimizer;
pub mod policy;
pub mod position;
pub mod progress;
pub mod recorder;
pub mod run_folder;
pub mod schedule;
pub mod seam;
pub mod target;
pub mod trainer;
