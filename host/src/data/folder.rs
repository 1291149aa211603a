//! Folders of images, with a word about what else they hold.

use imaging::{ImageError, Listing};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The images below `path`, in the order of their paths; `path` itself if it is a file. What else is there is told on
/// standard error, once a folder and process.
///
/// # Errors
/// If it cannot be read or holds no image.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let Listing { files, left_out } = imaging::find(path)?;
    if !left_out.is_empty() && TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(path.into()) {
        console::note!("skipped  {left_out} in {}", path.display());
    }
    Ok(files)
}
