//! Images for training and evaluation: folders, the embedded generator, augmentation, batches.

pub mod augment;
pub mod classes;
pub mod dataset;
pub mod erasing;
pub mod folder;
pub mod geometry;
pub mod labelled;
pub mod loader;
pub mod mixup;
pub mod prefetch;
pub mod rand_augment;
pub mod random;
pub mod synthetic;
pub mod texture;
