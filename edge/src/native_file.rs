//! `encoder.native` of a model folder, mapped into memory: its weights are used where they lie.

use crate::{
    model_folder::{ModelError, ModelFolder},
    native::{Model, NativeError},
};
use memmap2::Mmap;
use std::{fs::File, io, path::PathBuf};

/// Why a native encoder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NativeFileError {
    /// The folder has none.
    #[error(transparent)]
    Folder(#[from] ModelError),
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{path} cannot be used: {source}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NativeError,
    },
    /// It is another model's.
    #[error("{0} belongs to another model than model.toml describes; copy the model again")]
    Other(PathBuf),
}

/// The mapped file.
#[derive(Debug)]
pub struct NativeFile {
    path: PathBuf,
    map: Mmap,
}

impl NativeFile {
    /// Maps the file.
    ///
    /// # Errors
    /// If the folder has none, or it cannot be read.
    pub fn open(folder: &ModelFolder) -> Result<Self, NativeFileError> {
        let path = folder.native()?;
        let map = File::open(&path).and_then(|file| map(&file));
        match map {
            Ok(map) => Ok(Self { path, map }),
            Err(source) => Err(NativeFileError::Io { path, source }),
        }
    }

    /// The checked model. It reads the whole file once.
    ///
    /// # Errors
    /// If it is damaged or another model's than `folder` describes.
    pub fn model(&self, folder: &ModelFolder) -> Result<Model<'_>, NativeFileError> {
        let model =
            Model::parse(&self.map).map_err(|source| NativeFileError::Model { path: self.path.clone(), source })?;
        if model.spec() == folder.spec() { Ok(model) } else { Err(NativeFileError::Other(self.path.clone())) }
    }

    /// Length of the file, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.map.len()
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private and read only as integers and floats, of which every bit pattern is valid; `host
    // export` and `host flash` replace the file by renaming and never write into it. A program that shortens it
    // meanwhile ends this one by a signal, as with every mapped program.
    unsafe { Mmap::map(file) }
}
