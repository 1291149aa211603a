//! The masked autoencoder in burn. Start with [`mae`].

pub mod classifier;
pub mod config;
pub mod cross;
pub mod encode;
pub mod init;
pub mod layers;
pub mod mae;
pub mod masks;
pub mod ops;
pub mod reading;
pub mod weights;

pub use classifier::Classifier;
pub use config::MaeConfig;
pub use cross::DecoderKind;
pub use encode::BurnEncoder;
pub use mae::{Encoder, Mae};
pub use masks::MaskBatch;
