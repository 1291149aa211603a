//! Training: the one loop ([`engine`]), the tasks that it trains ([`pretraining`] and [`finetune`]), and what they
//! share.

pub mod engine;
pub mod finetune;
mod meter;
mod muon;
mod muon_steps;
pub mod optimizer;
pub mod pretraining;
pub mod progress;
pub mod schedule;
