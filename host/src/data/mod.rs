//! Images for training and evaluation: folders, shards, the embedded generator, augmentation, batches.

pub mod augment;
pub mod classes;
pub mod dataset;
pub mod erasing;
pub mod folder;
pub mod geometry;
pub mod labelled;
pub mod loader;
pub mod mixup;
pub mod pass;
pub mod prefetch;
pub mod rand_augment;
pub mod random;
pub mod shards;
pub mod share;
pub mod synthetic;
pub mod texture;
