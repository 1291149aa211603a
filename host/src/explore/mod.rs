//! A local page on which a person covers patches of an image and sees at once what the model makes of the rest.

pub mod api;
pub mod images;
pub mod index;
pub mod look;
pub mod priority_lock;
