//! Images in tar archives, as webdataset writes them, for data that outgrows a folder.
//!
//! Design decision: when a data set is opened, its shards are passed over once, from header to header, for the places
//! and sizes of all images (12 bytes each). From then on an image has a number, as one of a folder has, and the order
//! of an epoch follows from the seed and these sizes alone: a training goes on anywhere without reading what it has
//! read. Contents are read in the order in which they lie, and shuffled in a buffer of bounded size.

pub mod error;
pub mod feed;
pub mod index;
pub mod kinds;
pub mod order;
pub mod pattern;
pub mod reader;
pub mod rest;
pub mod samples;
pub mod set;
pub mod suggest;
