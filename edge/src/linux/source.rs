//! Where images come from: a folder, a file, or standard input.

use common::model::EncoderSpec;
use console::misuse;
use imaging::{ImageError, Listing};
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// One image at a time, as the encoder's input.
#[derive(Debug)]
pub enum Source {
    /// Files, decoded when their turn comes.
    Files {
        /// Their common folder, left out of names.
        root: PathBuf,
        /// In order.
        files: Vec<PathBuf>,
        /// The next one.
        next: usize,
    },
    /// One encoded image on standard input.
    Stdin {
        /// Whether it was read.
        done: bool,
    },
    /// Frames of raw pixels (`[H, W, C]`, u8) on standard input, one after the other.
    Raw {
        /// Frames read.
        frames: usize,
    },
}

/// An image with its name, `[H, W, C]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Path within the source, or the number of a raw frame.
    pub name: String,
    /// Pixels of the encoder's size.
    pub pixels: Vec<u8>,
}

impl Source {
    /// Opens a folder, a file or `-`.
    ///
    /// # Errors
    /// If it does not exist or holds no image, or `raw` is asked of files.
    pub fn open(source: &str, raw: bool) -> anyhow::Result<Self> {
        match (source, raw) {
            ("-", true) => Ok(Self::Raw { frames: 0 }),
            ("-", false) => Ok(Self::Stdin { done: false }),
            (_, true) => Err(misuse("--raw reads standard input: use --source -")),
            (path, false) => {
                let root = Path::new(path);
                let Listing { files, left_out } = imaging::find(root).map_err(|error| misuse(error.to_string()))?;
                if !left_out.is_empty() {
                    console::note!("skipped  {left_out} in {path}");
                }
                Ok(Self::Files { root: root.into(), files, next: 0 })
            }
        }
    }

    /// Starts again from the first file; standard input cannot.
    pub fn rewind(&mut self) -> bool {
        match self {
            Self::Files { next, .. } => {
                *next = 0;
                true
            }
            Self::Stdin { .. } | Self::Raw { .. } => false,
        }
    }

    /// The next image, or `None` at the end. After an error the next call goes on behind it.
    ///
    /// # Errors
    /// If this image cannot be read or decoded.
    pub fn next(&mut self, spec: &EncoderSpec) -> Option<Result<Frame, ImageError>> {
        match self {
            Self::Files { root, files, next } => {
                let file = files.get(*next)?;
                *next += 1;
                let name = file.strip_prefix(&*root).ok().filter(|name| !name.as_os_str().is_empty());
                let name = name.or(file.file_name().map(Path::new)).unwrap_or(file).display().to_string();
                let pixels =
                    imaging::open(file, spec.channels as usize).and_then(|image| imaging::prepare(image, spec));
                Some(pixels.map(|pixels| Frame { name, pixels }))
            }
            Self::Stdin { done } => {
                if std::mem::replace(done, true) {
                    return None;
                }
                let mut bytes = Vec::new();
                let path = || PathBuf::from("standard input");
                if let Err(source) = io::stdin().read_to_end(&mut bytes) {
                    return Some(Err(ImageError::Io { path: path(), source }));
                }
                let image = imaging::decode(&bytes, spec.channels as usize);
                let image = image.map_err(|reason| ImageError::Decode { path: path(), reason });
                let pixels = image.and_then(|image| imaging::prepare(image, spec));
                Some(pixels.map(|pixels| Frame { name: "stdin".into(), pixels }))
            }
            Self::Raw { frames } => {
                let length = (spec.image_height * spec.image_width * spec.channels) as usize;
                let mut pixels = Vec::with_capacity(length);
                let path = || PathBuf::from("standard input");
                if let Err(source) = io::stdin().take(length as u64).read_to_end(&mut pixels) {
                    return Some(Err(ImageError::Io { path: path(), source }));
                }
                *frames += 1;
                match pixels.len() {
                    0 => None,
                    found if found < length => {
                        let reason = format!("frame {frames} has {found} of {length} bytes");
                        Some(Err(ImageError::Decode { path: path(), reason }))
                    }
                    _ => Some(Ok(Frame { name: format!("frame {frames}"), pixels })),
                }
            }
        }
    }
}
