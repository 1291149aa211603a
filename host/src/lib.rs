//! Pre-trains masked autoencoders on unlabelled images, shows what they learned, exports the encoder, and reads
//! features from boards.
//!
//! Design decision: the tensor library (burn) appears only in [`model`] and [`train`]; everything else works on
//! plain named tensors and slices, with the mathematics of `common`.

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod explore;
pub mod export;
pub mod figure;
pub mod link;
pub mod model;
pub mod pictures;
pub mod report;
pub mod train;
