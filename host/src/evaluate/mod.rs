//! What the features are worth.

pub mod features;
pub mod knn;
pub mod record;
pub mod verify;
