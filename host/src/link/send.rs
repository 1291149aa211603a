//! Sending a folder of images to a board, and keeping the features that it answers.

use super::{
    Counts,
    sink::Sink,
    upload::{UploadError, Uploader},
};
use common::{
    model::Pooling,
    wire::{Choice, Feature, Hello, Settings, name_of},
};
use imaging::{Crop, ImageError};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// What a board is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The images, in their order.
    pub files: Vec<PathBuf>,
    /// The folder that their names are relative to.
    pub root: PathBuf,
    /// Share of patches that it encodes.
    pub keep: f64,
    /// How it chooses patches.
    pub choice: Choice,
    /// Its random choices come from this.
    pub seed: u64,
    /// Which feature it sends; the model's without it.
    pub pooling: Option<Pooling>,
}

/// What became of the images.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Features that came.
    pub features: u64,
    /// Images that could not be read.
    pub skipped: u64,
}

/// What is told while images are sent.
#[derive(Debug)]
pub enum News<'a> {
    /// An image is left out.
    Skipped(&'a ImageError),
    /// A feature has come, with the name and the score of its class.
    Feature(&'a Feature, Option<&'a (String, f32)>, Counts),
}

/// Sends every image and waits for its feature, which goes to `sink`. `done` counts, also up to an error.
///
/// # Errors
/// If the board cannot be reached, refuses, or gives no answer to several attempts; what was received is kept.
pub fn send<R: Read, W: Write>(
    board: &mut Uploader<R, W>,
    request: &Request,
    mut sink: Option<&mut Sink>,
    done: &mut Done,
    mut show: impl FnMut(News<'_>),
) -> anyhow::Result<()> {
    let hello = board.greet()?;
    let Request { keep, choice, seed, pooling, .. } = *request;
    let settings = Settings { keep, choice, seed, pooling: pooling.unwrap_or(hello.pooling) };
    board.set(settings)?;
    for path in &request.files {
        let pixels = match prepare(path, &hello) {
            Ok(pixels) => pixels,
            Err(error) => {
                show(News::Skipped(&error));
                done.skipped += 1;
                continue;
            }
        };
        let mut feature = board.image(&hello, settings, done.features as u32, &pixels)?;
        let inside = path.strip_prefix(&request.root).ok().filter(|name| !name.as_os_str().is_empty());
        feature.name = name_of(&inside.unwrap_or(path).display().to_string()).as_str().into();
        let class = board.reader().class_of(&feature);
        if let Some(sink) = &mut sink {
            sink.push(&feature, class.as_ref())?;
        }
        done.features += 1;
        show(News::Feature(&feature, class.as_ref(), board.reader().counts()));
    }
    Ok(board.figures()?)
}

/// The image as the board wants it, `[H, W, C]`.
fn prepare(path: &Path, hello: &Hello) -> Result<Vec<u8>, ImageError> {
    let pixels = imaging::open(path, hello.channels as usize)?;
    imaging::resize(&pixels, Crop::whole(&pixels), hello.image_height as usize, hello.image_width as usize)
}

/// Whether the user stopped it.
#[must_use]
pub fn stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(UploadError::Stopped))
}
