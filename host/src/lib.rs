//! Pre-trains masked autoencoders on unlabelled images, shows what they learned, exports the encoder, and reads
//! features from boards.
//!
//! Design decision: a library under a command line. Rooms call only rooms below them: [`cli`] on top; then the
//! engines (`ablate`, `explore`, `bench`, `report`, `evaluate`, `pictures`, `figure`); then the one training loop
//! (`train`); then the objects (`run`, `preset`, `objective`, `model`, `data`, `formats`, `export`, `device`,
//! `link`); and on the ground `tensors`, `files`, `lines`, `progress` and `clock`. docs/architecture.md has the
//! picture.

mod ablate;
pub mod bench;
pub mod cli;
mod clock;
pub mod data;
pub mod device;
pub mod evaluate;
mod explore;
pub mod export;
mod figure;
mod files;
mod flash;
pub mod formats;
mod lines;
pub mod link;
pub mod model;
pub mod objective;
mod pictures;
pub mod preset;
mod progress;
mod report;
pub mod run;
mod serve;
mod stream;
pub mod tensors;
mod train;
