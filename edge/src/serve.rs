//! A board that takes images from the line and answers with features, without a heap. `docs/wire.md` ("To the board")
//! is the specification.
//!
//! Nothing that comes over the line can stop it: what is damaged or impossible is counted and answered by an error.

use crate::{
    native::{Encoder, NativeError, Patches},
    pipeline::{FeatureInfo, Link, SendError},
    select::choose,
};
use common::{
    mask::len_visible,
    model::{EncoderSpec, Pooling},
    patch::{PatchError, PatchGrid},
    wire::{
        Choice, Damage, Decoder, ErrorCode, Hello, ImagePart, Log, LogLevel, Message, Received, Settings, Statistics,
    },
};
use core::fmt::{Display, Write as _};
use embedded_io::{Read, Write};

/// What a server encodes with.
pub trait Encode {
    /// Why an image cannot be encoded.
    type Error: Display;

    /// The model's description.
    fn spec(&self) -> &EncoderSpec;

    /// The feature (`[D]`) of the patches `ids` (`[V]`), whose pixels are `patches` (`[V, P]`).
    ///
    /// # Errors
    /// If these patches cannot be encoded.
    fn encode(&mut self, patches: &[u8], ids: &[u32], pooling: Pooling) -> Result<&[f32], Self::Error>;
}

impl Encode for Encoder<'_> {
    type Error = NativeError;

    fn spec(&self) -> &EncoderSpec {
        self.spec()
    }

    fn encode(&mut self, patches: &[u8], ids: &[u32], pooling: Pooling) -> Result<&[f32], NativeError> {
        self.encode(Patches::Pixels(patches), ids).map(|features| features.pooled(pooling))
    }
}

/// Memory that a server works in.
#[derive(Debug)]
pub struct Buffers<'b> {
    /// An image, `[H, W, C]`.
    pub image: &'b mut [u8],
    /// The visible patches: `[V, P]` for the most that the encoder takes; more is not used.
    pub patches: &'b mut [u8],
    /// `[L]`.
    pub noise: &'b mut [f32],
    /// `[L]`.
    pub ids: &'b mut [u32],
}

/// Why a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError<R, W> {
    /// Nothing can be read any more.
    #[error("reading from the port failed: {0}")]
    Read(R),
    /// Nothing can be sent any more.
    #[error(transparent)]
    Send(#[from] SendError<W>),
}

/// A board that answers.
#[derive(Debug)]
pub struct Server<'b, E, C> {
    encoder: E,
    clock: C,
    hello: Hello,
    grid: PatchGrid,
    buffers: Buffers<'b>,
    /// Patches that there is memory for.
    most: usize,
    settings: Settings,
    /// The image under way: its number and how many values have come.
    under_way: Option<(u32, usize)>,
    /// The image that was answered by an error last; its later parts are not answered again.
    given_up: Option<u32>,
    done: Statistics,
}

impl<'b, E: Encode, C: FnMut() -> u64> Server<'b, E, C> {
    /// A server that greets as `runtime` and `program`. `clock` gives microseconds.
    ///
    /// # Errors
    /// If the model's image cannot be cut into patches or a buffer is too short.
    pub fn new(
        encoder: E,
        clock: C,
        mut buffers: Buffers<'b>,
        (runtime, program): (&str, &str),
    ) -> Result<Self, PatchError> {
        let spec = *encoder.spec();
        let grid = spec.grid()?;
        let Buffers { image, patches, noise, ids } = buffers;
        buffers = Buffers {
            image: exactly("the image buffer", image, grid.image_len())?,
            patches: whole("the patch buffer", patches, grid.patch_dim(), grid.patches())?,
            noise: exactly("the noise buffer", noise, grid.patches())?,
            ids: exactly("the buffer of patch numbers", ids, grid.patches())?,
        };
        let hello = Hello::new(&spec, spec.pooling, runtime, program);
        let settings = Settings { keep: 1.0, choice: Choice::All, seed: 0, pooling: spec.pooling };
        let (under_way, given_up, done) = (None, None, Statistics::default());
        let most = buffers.patches.len() / grid.patch_dim();
        Ok(Self { encoder, clock, hello, grid, buffers, most, settings, under_way, given_up, done })
    }

    /// The greeting that it sends.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Greets and answers until the line ends; `first` are messages to send behind the greeting.
    ///
    /// # Errors
    /// If the port fails.
    pub fn run<R: Read, W: Write>(
        &mut self,
        mut reader: R,
        writer: W,
        first: &[Message],
    ) -> Result<Statistics, ServeError<R::Error, W::Error>> {
        let mut link = Link::open(writer, self.hello.clone())?;
        for message in first {
            link.send(message)?;
        }
        let (mut decoder, mut buffer) = (Decoder::new(), [0; 64]);
        loop {
            let read = reader.read(&mut buffer).map_err(ServeError::Read)?;
            if read == 0 {
                return Ok(self.done);
            }
            for byte in buffer.iter().take(read) {
                if let Some(received) = decoder.push(*byte) {
                    self.answer(received, &mut link)?;
                }
            }
        }
    }

    // Not inlined, as `take` and `encode`: `.ci/firmware.py` checks that nothing in `answer` and `take` calls the
    // panic handler.
    #[inline(never)]
    fn answer<W: Write>(
        &mut self,
        received: Result<Received, Damage>,
        link: &mut Link<W>,
    ) -> Result<(), SendError<W::Error>> {
        let message = match received {
            Ok(received) => received.message,
            Err(Damage::Message) => return self.refuse(ErrorCode::Unsupported, link),
            Err(_) => {
                self.given_up = self.under_way.take().map(|(frame, _)| frame).or(self.given_up);
                return self.refuse(ErrorCode::Damaged, link);
            }
        };
        match message {
            Message::Ask => {
                link.send(&Message::Hello(self.hello.clone()))?;
                link.statistics(self.done)
            }
            Message::Settings(settings) if possible(&settings) => {
                let (visible, most) = (self.visible(&settings), self.most);
                if visible > most {
                    link.send(&Message::Log(too_many(visible, most)))?;
                    return self.refuse(ErrorCode::Unsupported, link);
                }
                let pooling = self.encoder.spec().pooling_for(Some(settings.pooling));
                self.settings = Settings { pooling, ..settings };
                Ok(())
            }
            Message::BuiltIn(frame) => {
                self.under_way = None;
                built_in_image(&self.grid, self.buffers.image);
                self.encode(frame, "built-in", link)
            }
            Message::Image(part) if part.total as usize == self.grid.image_len() => match self.take(&part) {
                Progress::Part => Ok(()),
                Progress::Whole => self.encode(part.frame, "", link),
                Progress::Broken if self.given_up.replace(part.frame) == Some(part.frame) => Ok(()),
                Progress::Broken => self.refuse(ErrorCode::Damaged, link),
            },
            _ => self.refuse(ErrorCode::Unsupported, link),
        }
    }

    fn refuse<W: Write>(&mut self, code: ErrorCode, link: &mut Link<W>) -> Result<(), SendError<W::Error>> {
        self.done.skipped = self.done.skipped.wrapping_add(1);
        link.send(&Message::Error(code))
    }

    #[inline(never)]
    fn take(&mut self, part: &ImagePart) -> Progress {
        let begins = part.offset == 0;
        let (frame, before) =
            if begins { (part.frame, 0) } else { self.under_way.unwrap_or((part.frame, usize::MAX)) };
        self.under_way = None;
        let fits = frame == part.frame && before == part.offset as usize && !part.pixels.is_empty();
        let place = self.buffers.image.get_mut(before..).and_then(|rest| rest.get_mut(..part.pixels.len()));
        let (true, Some(place)) = (fits, place) else { return Progress::Broken };
        place.copy_from_slice(&part.pixels);
        self.given_up = None;
        let after = before + part.pixels.len();
        if after == self.grid.image_len() {
            return Progress::Whole;
        }
        self.under_way = Some((frame, after));
        Progress::Part
    }

    /// Patches that are encoded with `settings`.
    fn visible(&self, settings: &Settings) -> usize {
        match settings.choice {
            Choice::All => self.grid.patches(),
            _ => len_visible(self.grid.patches(), settings.keep),
        }
    }

    /// Encodes the image in the buffer and sends its feature.
    #[inline(never)]
    fn encode<W: Write>(&mut self, frame: u32, name: &str, link: &mut Link<W>) -> Result<(), SendError<W::Error>> {
        let (visible, most) = (self.visible(&self.settings), self.most);
        if visible > most {
            // Of the settings only those at the start are not checked.
            link.send(&Message::Log(too_many(visible, most)))?;
            return self.refuse(ErrorCode::Unsupported, link);
        }
        let Self { encoder, clock, grid, buffers, settings, done, .. } = self;
        let Settings { keep, choice, seed, pooling } = *settings;
        let begun = clock();
        let visible = choose(choice, grid, keep, (seed, u64::from(frame)), buffers.noise, buffers.ids);
        let ids = &buffers.ids[..visible];
        let patches = &mut buffers.patches[..visible * grid.patch_dim()];
        let cut = ids.iter().zip(patches.chunks_exact_mut(grid.patch_dim()));
        let cut = cut.map(|(id, patch)| grid.extract(buffers.image, *id as usize, patch)).find_map(Result::err);
        let encoded = encoder.encode(patches, ids, pooling);
        let micros = clock().saturating_sub(begun);
        match (cut, encoded) {
            (None, Ok(feature)) => {
                done.frames = done.frames.wrapping_add(1);
                done.encode_micros = done.encode_micros.wrapping_add(micros);
                let info = FeatureInfo {
                    frame,
                    name,
                    kept: visible as u32,
                    patches: grid.patches() as u32,
                    pooling,
                    micros: u32::try_from(micros).unwrap_or(u32::MAX),
                };
                return link.feature(info, feature);
            }
            (Some(error), _) => link.send(&Message::Log(log(LogLevel::Error, error)))?,
            (None, Err(error)) => link.send(&Message::Log(log(LogLevel::Error, error)))?,
        }
        self.refuse(ErrorCode::Unsupported, link)
    }
}

enum Progress {
    /// More has to come.
    Part,
    /// The image is complete.
    Whole,
    /// It does not continue what came before.
    Broken,
}

/// A line for a person; what does not fit is cut.
#[must_use]
pub fn log(level: LogLevel, text: impl Display) -> Log {
    let mut line = heapless::String::<200>::new();
    let _ = write!(line, "{text}");
    Log { level, text: line }
}

/// Writes the built-in image (`[H, W, C]`): gradients down and to the right, and a checkerboard of patches.
#[inline(never)]
pub fn built_in_image(grid: &PatchGrid, out: &mut [u8]) {
    let (height, width, channels, patch) = (grid.height(), grid.width(), grid.channels(), grid.patch_size());
    for (index, value) in out.iter_mut().enumerate() {
        let (row, column) = (index / channels / width, index / channels % width);
        *value = match index % channels {
            0 => (row * 255 / (height - 1).max(1)).min(255) as u8,
            1 => (column * 255 / (width - 1).max(1)) as u8,
            _ if (row / patch + column / patch).is_multiple_of(2) => 255,
            _ => 0,
        };
    }
}

fn possible(settings: &Settings) -> bool {
    // Also false for what is no number.
    settings.keep > 0.0 && settings.keep <= 1.0 && (settings.choice != Choice::All || settings.keep == 1.0)
}

fn too_many(visible: usize, most: usize) -> Log {
    log(LogLevel::Error, format_args!("{visible} patches would be visible, at most {most} can be: keep fewer"))
}

/// The first values of a buffer, for at least one and at most `patches` patches.
fn whole<'b>(
    what: &'static str,
    buffer: &'b mut [u8],
    patch_dim: usize,
    patches: usize,
) -> Result<&'b mut [u8], PatchError> {
    let found = buffer.len();
    let length = (found / patch_dim.max(1)).min(patches) * patch_dim;
    match buffer.get_mut(..length) {
        Some(buffer) if length > 0 => Ok(buffer),
        _ => Err(PatchError::Length { what, expected: patch_dim, found }),
    }
}

/// The first `expected` values of a buffer.
fn exactly<'b, T>(what: &'static str, buffer: &'b mut [T], expected: usize) -> Result<&'b mut [T], PatchError> {
    let found = buffer.len();
    buffer.get_mut(..expected).ok_or(PatchError::Length { what, expected, found })
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
