//! Images for training and evaluation: folders, the embedded generator, augmentation, batches.

pub mod augment;
pub mod dataset;
pub mod loader;
pub mod synthetic;
pub mod texture;
