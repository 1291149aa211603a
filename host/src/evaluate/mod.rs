//! What the features are worth.

pub mod confusion;
pub mod features;
pub mod forms;
pub mod head;
pub mod knn;
pub mod lars;
pub mod linear;
pub mod record;
pub mod seam;
pub mod verify;
