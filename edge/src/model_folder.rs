//! A model folder: `model.toml` and the encoder in one or several forms.

use crate::native::format::FILE_NAME as NATIVE_FILE;
use common::model::{EncoderSpec, SpecError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Version of the folder's format.
pub const FORMAT: u32 = 1;

/// A form of the encoder as ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "linux", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// Weights in 8 bits, arithmetic in floating point.
    W8,
    /// Weights and activations in 8 bits.
    Int8,
}

impl Precision {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::F32, Self::W8, Self::Int8];

    /// Its ONNX file in a model folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::F32 => "encoder.onnx",
            Self::W8 => "encoder.w8.onnx",
            Self::Int8 => "encoder.int8.onnx",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::W8 => "w8",
            Self::Int8 => "int8",
        })
    }
}

/// `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// [`FORMAT`].
    pub format: u32,
    /// Where the model comes from, for a person.
    pub made_by: String,
    /// SHA-256 of `encoder.native`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_sha256: Option<String>,
    /// What every runtime must know.
    pub encoder: EncoderSpec,
    /// SHA-256 of each ONNX form's file.
    #[serde(default)]
    pub sha256: BTreeMap<Precision, String>,
}

/// Why a model folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It has no `model.toml`.
    #[error("{0} is no model folder: it has no model.toml (make one with `host export`)")]
    NoModel(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// `model.toml` is damaged.
    #[error("{path} is damaged: {reason}")]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("{path} has format {found}, this program reads format {FORMAT}: export the model again")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The encoder is impossible.
    #[error("{path} describes no encoder: {source}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SpecError,
    },
    /// The form was not exported.
    #[error("{path} has no {wanted} form; it has {present}")]
    Precision {
        /// The folder.
        path: PathBuf,
        /// The form asked for.
        wanted: Precision,
        /// The forms that it has.
        present: String,
    },
    /// There is no native encoder.
    #[error("{0} has no native encoder: export the model again, or use --runtime tract")]
    NoNative(PathBuf),
    /// A file is not the one that was exported.
    #[error("{0} is damaged: its checksum differs from the one in model.toml; copy the model again")]
    Checksum(PathBuf),
}

/// An opened model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
    description: ModelDescription,
}

/// SHA-256 as hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ModelFolder {
    /// Reads and checks `model.toml`.
    ///
    /// # Errors
    /// If there is none, or it is damaged, of another version, or describes no encoder.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = path.join("model.toml");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ModelError::NoModel(path.into())),
            Err(source) => return Err(ModelError::Io { path: file, source }),
        };
        let damaged =
            |error: toml::de::Error| ModelError::Description { path: file.clone(), reason: error.message().into() };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = toml::from_str(&text).map_err(damaged)?;
        if format != FORMAT {
            return Err(ModelError::Format { path: file, found: format });
        }
        let description: ModelDescription = toml::from_str(&text).map_err(damaged)?;
        if description.sha256.is_empty() && description.native_sha256.is_none() {
            return Err(ModelError::Description { path: file, reason: "it names no form of the encoder".into() });
        }
        description.encoder.validate().map_err(|source| ModelError::Spec { path: file.clone(), source })?;
        Ok(Self { path: path.into(), description })
    }

    /// What every runtime must know.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.description.encoder
    }

    /// All of `model.toml`.
    #[must_use]
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// The ONNX forms that the folder has.
    #[must_use]
    pub fn precisions(&self) -> Vec<Precision> {
        self.description.sha256.keys().copied().collect()
    }

    /// f32 where the folder has it, else the most exact form.
    #[must_use]
    pub fn default_precision(&self) -> Precision {
        self.precisions().first().copied().unwrap_or(Precision::F32)
    }

    /// The files of the encoder with their SHA-256: the ONNX forms, then the native one.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let onnx = self.description.sha256.iter().map(|(form, sum)| (form.file_name(), sum.as_str()));
        onnx.chain(self.description.native_sha256.iter().map(|sum| (NATIVE_FILE, sum.as_str())))
    }

    /// Whether the folder has a native encoder.
    #[must_use]
    pub fn has_native(&self) -> bool {
        self.description.native_sha256.is_some()
    }

    /// The native encoder's file, unread.
    ///
    /// # Errors
    /// If the folder has none.
    pub fn native(&self) -> Result<PathBuf, ModelError> {
        if self.has_native() { Ok(self.path.join(NATIVE_FILE)) } else { Err(ModelError::NoNative(self.path.clone())) }
    }

    /// The checked bytes of a form.
    ///
    /// # Errors
    /// If the form is missing, or its file is unreadable or not the one that was exported.
    pub fn read(&self, form: Precision) -> Result<Vec<u8>, ModelError> {
        if !self.description.sha256.contains_key(&form) {
            let mut present: Vec<String> = self.precisions().iter().map(ToString::to_string).collect();
            present.extend(self.has_native().then(|| "native".into()));
            return Err(ModelError::Precision { path: self.path.clone(), wanted: form, present: present.join(", ") });
        }
        self.read_file(form.file_name())
    }

    /// The checked bytes of one of [`Self::files`].
    ///
    /// # Errors
    /// If it is unreadable or not the one that was exported.
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let sum = sha256(&bytes);
        match self.files().any(|(known, expected)| known == name && expected == sum) {
            true => Ok(bytes),
            false => Err(ModelError::Checksum(path)),
        }
    }
}
