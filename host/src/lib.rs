//! Pre-trains masked autoencoders on unlabelled images, shows what they learned, exports the encoder, and reads
//! features from boards.
//!
//! Design decision: a library under a command line. Rooms call only rooms below them: [`cli`] on top; then the engines
//! (`ablate`, `explore`, `bench`, `report`, `evaluate`, `pictures`, `figure`); then the one training loop (`train`);
//! then the objects (`run`, `preset`, `objective`, `model`, `data`, `formats`, `export`, `device`, `link`); and on the
//! ground `tensors`, `files`, `lines`, `progress` and `clock`. docs/architecture.md has the picture.

pub mod ablate;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod explore;
pub mod export;
pub mod figure;
pub mod files;
pub mod flash;
pub mod formats;
mod lines;
pub mod link;
pub mod model;
pub mod objective;
pub mod pictures;
pub mod preset;
pub mod progress;
pub mod report;
pub mod run;
pub mod serve;
pub mod stream;
pub mod tensors;
pub mod train;
