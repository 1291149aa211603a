//! Folders of images, with a word about what else they hold.

use imaging::{ImageError, Listing};
use std::{
    collections::BTreeSet,
    fmt::Display,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The images below `path`, in the order of their paths; `path` itself if it is a file. What else is there is told on
/// standard error, once a folder and process.
///
/// # Errors
/// If it cannot be read, holds no image or names a tar archive.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let Listing { files, left_out } = imaging::find(path)?;
    if !left_out.is_empty() {
        tell_skipped(&left_out, path.display());
    }
    Ok(files)
}

/// Tells on standard error, once a place and process, what there is not read.
pub fn tell_skipped(left_out: impl Display, place: impl Display) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(place.to_string()) {
        console::note!("skipped  {left_out} in {place}");
    }
}
