//! What the features are worth.

pub mod backend;
pub mod confusion;
pub mod encoders;
pub mod extract;
pub mod features;
pub mod head;
pub mod images;
pub mod knn;
pub mod lars;
pub mod linear;
pub mod neighbours;
pub mod partial;
pub mod seam;
pub mod sets;
pub mod verify;
pub mod views;
