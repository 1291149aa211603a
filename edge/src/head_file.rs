//! The file of a trained head, `head.safetensors` in a model folder: `weight` `[K, D]` and `bias` `[K]` in f32, and a
//! description in its metadata. `docs/evaluation.md` is its specification.

use crate::{head::Head, model_folder::sha256};
use common::model::{EncoderSpec, ModelHash, Pooling};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Version of the file's description.
pub const FORMAT: u32 = 1;
/// Its name in a model folder.
pub const FILE_NAME: &str = "head.safetensors";

/// What a head is, and how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadDescription {
    /// [`FORMAT`].
    pub format: u32,
    /// Hash of the encoder that it was trained on; it fits no other.
    pub encoder: ModelHash,
    /// The feature that it reads.
    pub pooling: Pooling,
    /// Names of the classes, `[K]`.
    pub classes: Vec<String>,
    /// Share of patches of the images that it was trained on.
    pub keep: f64,
    /// How it was trained, for a person.
    pub made_by: String,
    /// Share of test images that it recognised when it was made; unknown of one that another program made.
    #[serde(default)]
    pub accuracy: Option<f64>,
    /// SHA-256 over the weights and then the bias, little-endian.
    pub sha256: String,
}

/// A head as read from its file.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFile {
    description: HeadDescription,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Why a head cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadFileError {
    /// It is not there.
    #[error("{0} does not exist: make a head with `host evaluate linear --save-head` or `--out-head`")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no head, or damaged.
    #[error("{path} is no whole head: {reason}; train it again with `host evaluate linear`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version.
    #[error("{path} has format {found}, this program reads format {FORMAT}: train the head again")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It belongs to another encoder.
    #[error("{path} was trained on the encoder {head}, this model has {model}: train a head for this model")]
    Encoder {
        /// The file.
        path: PathBuf,
        /// The encoder of the head.
        head: ModelHash,
        /// The encoder at hand.
        model: ModelHash,
    },
}

impl HeadFile {
    /// A head from its parts; format and checksum of the description are filled in. `weights`: `[K, D]`; `bias`:
    /// `[K]`.
    ///
    /// # Errors
    /// As a sentence, if numbers of classes disagree or a value is not finite.
    pub fn new(mut description: HeadDescription, weights: Vec<f32>, bias: Vec<f32>) -> Result<Self, String> {
        description.format = FORMAT;
        description.sha256 = sha256(&bytes(&weights, &bias));
        let file = Self { description, weights, bias };
        file.check()?;
        Ok(file)
    }

    /// Reads and checks a head, and that it belongs to the encoder of `spec`. A folder stands for the
    /// [`FILE_NAME`] in it.
    ///
    /// # Errors
    /// If it is missing, damaged, of another version or of another encoder.
    pub fn open(path: &Path, spec: &EncoderSpec) -> Result<Self, HeadFileError> {
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HeadFileError::Missing(path)),
            Err(source) => return Err(HeadFileError::Io { path, source }),
        };
        let file = Self::from_bytes(&bytes).map_err(|error| match error {
            Unreadable::Format(found) => HeadFileError::Format { path: path.clone(), found },
            Unreadable::Damaged(reason) => HeadFileError::Damaged { path: path.clone(), reason },
        })?;
        if file.description.encoder != spec.hash {
            return Err(HeadFileError::Encoder { path, head: file.description.encoder, model: spec.hash });
        }
        if file.weights.len() != file.bias.len() * spec.feature_dim as usize {
            let reason = format!("its weights do not fit features of {} values", spec.feature_dim);
            return Err(HeadFileError::Damaged { path, reason });
        }
        Ok(file)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |reason: String| Unreadable::Damaged(reason);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get("head"));
        let text = text.ok_or_else(|| damaged("it has no description".into()))?;
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let description = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let read = |name: &str, axes: usize| -> Result<Vec<f32>, Unreadable> {
            let tensor = tensors.tensor(name).map_err(|error| damaged(error.to_string()))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape().len() != axes {
                return Err(damaged(format!("the tensor `{name}` is {:?} {:?}", tensor.dtype(), tensor.shape())));
            }
            Ok(tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        let file = Self { description, weights: read("weight", 2)?, bias: read("bias", 1)? };
        if sha256(&self::bytes(&file.weights, &file.bias)) != file.description.sha256 {
            return Err(damaged("its checksum is wrong".into()));
        }
        file.check().map_err(damaged)?;
        Ok(file)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// If the description cannot be written.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let (classes, dim) = (self.bias.len(), self.weights.len() / self.bias.len().max(1));
        let (weights, bias) = (bytes(&self.weights, &[]), bytes(&[], &self.bias));
        let view = |shape, data| TensorView::new(Dtype::F32, shape, data).map_err(io::Error::other);
        let views = [("weight", view(vec![classes, dim], &weights)?), ("bias", view(vec![classes], &bias)?)];
        let metadata = HashMap::from([("head".to_owned(), serde_json::to_string(&self.description)?)]);
        safetensors::serialize(views, Some(metadata)).map_err(io::Error::other)
    }

    /// What it is.
    #[must_use]
    pub fn description(&self) -> &HeadDescription {
        &self.description
    }

    /// The classifier.
    ///
    /// # Errors
    /// If lengths disagree, which opening has excluded.
    pub fn head(&self) -> Result<Head<'_>, crate::head::HeadError> {
        Head::new(&self.weights, &self.bias)
    }

    /// Weights, `[K, D]`, and biases, `[K]`.
    #[must_use]
    pub fn parts(&self) -> (&[f32], &[f32]) {
        (&self.weights, &self.bias)
    }

    fn check(&self) -> Result<(), String> {
        let (weights, bias, names) = (self.weights.len(), self.bias.len(), self.description.classes.len());
        if names != bias || bias == 0 || weights == 0 || !weights.is_multiple_of(bias) {
            return Err(format!("it has {names} classes, {bias} biases and {weights} weights"));
        }
        match self.weights.iter().chain(&self.bias).all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err("a weight is not finite".into()),
        }
    }
}

enum Unreadable {
    Format(u32),
    Damaged(String),
}

fn bytes(weights: &[f32], bias: &[f32]) -> Vec<u8> {
    weights.iter().chain(bias).flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{model::PositionKind, normalize::PixelStats};

    fn spec(hash: u8) -> EncoderSpec {
        EncoderSpec {
            image_height: 4,
            image_width: 4,
            channels: 3,
            patch_size: 2,
            dim: 4,
            depth: 1,
            heads: 2,
            mlp_ratio: 4.0,
            norm_eps: 1e-6,
            position: PositionKind::SinCos2d,
            pooling: Pooling::Mean,
            feature_dim: 4,
            pixels: PixelStats::IMAGENET,
            hash: ModelHash([hash; 8]),
        }
    }

    fn file() -> HeadFile {
        let description = HeadDescription {
            format: 0,
            encoder: ModelHash([7; 8]),
            pooling: Pooling::Cls,
            classes: vec!["Katze, \"groß\"".into(), "dog".into()],
            keep: 0.25,
            made_by: "a test".into(),
            accuracy: Some(0.5),
            sha256: String::new(),
        };
        HeadFile::new(description, (0..8).map(|i| i as f32 / 3.0).collect(), vec![0.5, -0.5]).unwrap()
    }

    #[test]
    fn a_head_comes_back_as_it_was_and_only_for_its_encoder() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(HeadFile::open(root.path(), &spec(7)), Err(HeadFileError::Missing(_))));
        fs::write(root.path().join(FILE_NAME), file().to_bytes().unwrap()).unwrap();
        assert_eq!(HeadFile::open(root.path(), &spec(7)).unwrap(), file());
        let error = HeadFile::open(root.path(), &spec(8)).unwrap_err().to_string();
        assert!(error.contains("0707070707070707") && error.contains("0808080808080808"), "{error}");
        let longer = EncoderSpec { feature_dim: 8, dim: 8, ..spec(7) };
        assert!(matches!(HeadFile::open(root.path(), &longer), Err(HeadFileError::Damaged { .. })));
    }

    #[test]
    fn damage_anywhere_is_found_without_a_panic() {
        let whole = file().to_bytes().unwrap();
        for length in 0..whole.len() {
            assert!(HeadFile::from_bytes(&whole[..length]).is_err(), "cut to {length}");
        }
        // Behind the header, length and JSON, are the weights.
        let data = whole.len() - 10 * 4;
        for place in data..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            assert!(HeadFile::from_bytes(&bytes).is_err(), "byte {place}");
        }
        let version = br#"\"format\":1"#;
        let at = whole.windows(version.len()).position(|bytes| bytes == version).unwrap() + version.len() - 1;
        let mut later = whole.clone();
        later[at] = b'2';
        assert!(matches!(HeadFile::from_bytes(&later), Err(Unreadable::Format(2))));
    }

    #[test]
    fn impossible_heads_are_refused() {
        let description = file().description;
        assert!(HeadFile::new(description.clone(), vec![0.0; 8], vec![0.0; 3]).is_err());
        assert!(HeadFile::new(description.clone(), vec![0.0; 7], vec![0.0; 2]).is_err());
        assert!(HeadFile::new(description, vec![f32::NAN; 8], vec![0.0; 2]).is_err());
    }
}
