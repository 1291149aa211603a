//! What frames mean.

use super::command::{ImagePart, Settings};
use crate::model::{EncoderSpec, ModelHash, Pooling};
use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Values of a feature in one frame; longer features are split.
pub const MAX_VALUES: usize = 224;
/// Names of classes in one frame; more are split.
pub const MAX_NAMES: usize = 12;

/// One message. The board sends all but the last four, the host those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "there is no heap to box them on")]
pub enum Message {
    /// Who speaks; first on every connection, and again after a restart.
    Hello(Hello),
    /// A feature, or a part of one.
    Features(FeaturePart),
    /// Figures about the board's work so far.
    Statistics(Statistics),
    /// A line for a person.
    Log(Log),
    /// The board could not do something.
    Error(ErrorCode),
    /// Names of classes, or a part of them; sent once after the greeting by a board that classifies.
    Classes(ClassNames),
    /// The class of the feature that is sent next.
    Class(ClassScore),
    /// An image to encode, or a part of one.
    Image(ImagePart),
    /// How the next images are encoded.
    Settings(Settings),
    /// Asks for a greeting and figures.
    Ask,
    /// Asks for the feature of the board's built-in image, under this number.
    BuiltIn(u32),
}

/// Who speaks, and what its features are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::SCHEMA_HASH`] of the sender.
    pub schema: u32,
    /// Content hash of the model.
    pub model: ModelHash,
    /// Image height, pixels.
    pub image_height: u32,
    /// Image width, pixels.
    pub image_width: u32,
    /// Channels a pixel.
    pub channels: u32,
    /// Patch side, pixels.
    pub patch_size: u32,
    /// Patches of an image (`L`).
    pub patches: u32,
    /// Length of a feature (`D`).
    pub feature_dim: u32,
    /// Which feature is sent.
    pub pooling: Pooling,
    /// The runtime and its arithmetic, for instance `tract f32`.
    pub runtime: String<32>,
    /// The program and its version.
    pub program: String<32>,
}

impl Hello {
    /// The greeting of a board that runs `spec`; texts are cut to fit.
    #[must_use]
    pub fn new(spec: &EncoderSpec, pooling: Pooling, runtime: &str, program: &str) -> Self {
        Self {
            schema: super::SCHEMA_HASH,
            model: spec.hash,
            image_height: spec.image_height,
            image_width: spec.image_width,
            channels: spec.channels,
            patch_size: spec.patch_size,
            patches: spec.grid().map_or(0, |grid| grid.patches() as u32),
            feature_dim: spec.feature_dim,
            pooling,
            runtime: cut(runtime, false),
            program: cut(program, false),
        }
    }
}

/// A feature, or a part of one: parts of one feature follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeaturePart {
    /// Number of the image since the start.
    pub frame: u32,
    /// The image's name, at most its last 64 bytes; empty in later parts.
    pub name: String<64>,
    /// Patches that were encoded (`V`).
    pub kept: u32,
    /// Patches of the image (`L`).
    pub patches: u32,
    /// Which feature this is.
    pub pooling: Pooling,
    /// Time of the encoding, microseconds.
    pub micros: u32,
    /// Length of the whole feature.
    pub total: u32,
    /// Place of the first value of this part.
    pub offset: u32,
    /// The values of this part.
    pub values: Vec<f32, MAX_VALUES>,
}

/// Names of classes, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassNames {
    /// Number of all classes (`K`).
    pub total: u32,
    /// Number of the first class of this part.
    pub offset: u32,
    /// Names, at most their first 64 bytes.
    pub names: Vec<String<64>, MAX_NAMES>,
}

/// The class of one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClassScore {
    /// Number of the image, as in the feature that follows.
    pub frame: u32,
    /// Number of the class.
    pub class: u32,
    /// Its softmax score.
    pub score: f32,
}

/// Figures about the board's work so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Statistics {
    /// Images encoded.
    pub frames: u32,
    /// Images that could not be read.
    pub skipped: u32,
    /// Bytes sent before this message.
    pub bytes: u64,
    /// Time spent encoding, microseconds.
    pub encode_micros: u64,
}

/// A line for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// How much it matters.
    pub level: LogLevel,
    /// The line, at most 200 bytes.
    pub text: String<200>,
}

impl Log {
    /// A line, cut to fit.
    #[must_use]
    pub fn new(level: LogLevel, text: &str) -> Self {
        Self { level, text: cut(text, false) }
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// Worth knowing.
    Info,
    /// For a developer.
    Debug,
}

/// What the board could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ErrorCode {
    /// A frame arrived damaged.
    Damaged,
    /// A message is not supported.
    Unsupported,
    /// The last job is not done yet.
    Busy,
}

/// A name for [`FeaturePart::name`]: the last 64 bytes, cut between letters.
#[must_use]
pub fn name_of(name: &str) -> String<64> {
    cut(name, true)
}

/// A name for [`ClassNames::names`]: the first 64 bytes, cut between letters.
#[must_use]
pub fn class_name_of(name: &str) -> String<64> {
    cut(name, false)
}

/// The first (or, `from_end`, the last) `N` bytes of a text, cut between letters.
fn cut<const N: usize>(text: &str, from_end: bool) -> String<N> {
    let mut out = String::new();
    let rest = text.len().saturating_sub(N);
    let start = if from_end { (rest..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0) } else { 0 };
    for letter in text[start..].chars() {
        if out.push(letter).is_err() {
            break;
        }
    }
    out
}
