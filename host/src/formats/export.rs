//! A model of this program as other programs' checkpoints.

use super::{
    classifier::Classifier,
    error::ImportError,
    huggingface::{self, round},
    official,
    pth::{self, PthError},
    timm,
};
use crate::{
    files,
    model::{DecoderKind, MaeConfig},
    tensors::{
        NamedTensor, Tensors, is_encoder, is_projector,
        safetensors::{self, TensorFileError},
    },
};
use common::{
    model::{Pooling, PositionKind},
    normalize::PixelStats,
    patch::PatchError,
    position::sincos_2d_table,
};
use serde_json::{Map, Value as Json};
use std::{
    collections::HashMap,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// Why a model cannot be written for other programs.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file's name does not tell which of the two formats is wanted.
    #[error("{} ends neither in .pth nor in .safetensors", .0.display())]
    Extension(PathBuf),
    /// Where the folder should be is something that no export made.
    #[error("{} is there and no exported folder", .0.display())]
    Occupied(PathBuf),
    /// A parameter that the model needs.
    #[error("the tensor `{0}` is missing in the run")]
    Missing(String),
    /// Hugging Face's ViTMAE knows one side length only.
    #[error("ViTMAE needs square images; this model's are {height}x{width}")]
    NotSquare {
        /// Height of an image, pixels.
        height: usize,
        /// Width of an image, pixels.
        width: usize,
    },
    /// A classifier that the library has no class for.
    #[error(
        "transformers' ViT classifies by the class token; this model's head reads the mean of the patches' tokens"
    )]
    Pooling,
    /// Images that cannot be cut into patches.
    #[error(transparent)]
    Grid(#[from] PatchError),
    /// Parameters that are not those of the model.
    #[error(transparent)]
    Parameters(#[from] ImportError),
    /// The `.pth` archive cannot be made.
    #[error(transparent)]
    Pth(#[from] PthError),
    /// The safetensors file cannot be written.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// The file system refused, or one of the files in a folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder that was asked for.
        path: PathBuf,
        /// What stood in the way.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A model with everything that a checkpoint tells.
#[derive(Debug)]
pub struct Exported<'a> {
    /// Sizes of the model.
    pub config: &'a MaeConfig,
    /// Mean and deviation of each channel.
    pub pixels: &'a PixelStats,
    /// Share of patches that were removed in training.
    pub mask_ratio: f64,
    /// Parameters by the reference's names, without fixed position tables.
    pub tensors: &'a Tensors,
    /// The feature that the model is meant to be read with.
    pub pooling: Pooling,
    /// The last layer of a classifier.
    pub head: Option<&'a Classifier>,
}

impl Exported<'_> {
    /// Whether there is a decoder that others know.
    fn decoder(&self) -> bool {
        let known = self.config.decoder == DecoderKind::SelfAttention;
        let decoders = |name: &str| !is_encoder(name) && !is_projector(name) && name != "pos_embed";
        known && self.tensors.keys().any(|name| decoders(name))
    }

    /// All parameters in the reference's order, fixed position tables included; checked.
    fn complete(&self, decoder: bool) -> Result<(Vec<String>, Tensors), ExportError> {
        let grid = self.config.grid()?;
        let names = official::parameters(self.config, decoder);
        let mut tensors = Tensors::new();
        for (name, shape) in &names {
            let fixed = self.config.position == PositionKind::SinCos2d && name.ends_with("pos_embed");
            let tensor = match self.tensors.get(name) {
                Some(tensor) if !fixed => tensor.clone(),
                _ if fixed => {
                    let dim = shape.last().copied().unwrap_or_default();
                    NamedTensor { shape: shape.clone(), data: sincos_2d_table(&grid, dim, true) }
                }
                _ => return Err(ExportError::Missing(name.clone())),
            };
            tensors.insert(name.clone(), tensor);
        }
        official::check(&tensors, self.config, decoder)?;
        Ok((names.into_iter().map(|(name, _)| name).collect(), tensors))
    }

    /// As [`Self::complete`], as the official code and timm name a classifier: its norm after the mean is `fc_norm`,
    /// its last layer `head`.
    fn classifier(&self, decoder: bool) -> Result<(Vec<String>, Tensors), ExportError> {
        let (mut order, mut tensors) = self.complete(decoder)?;
        if self.pooling == Pooling::MeanNorm {
            for part in ["weight", "bias"] {
                let (from, to) = (format!("norm.{part}"), format!("fc_norm.{part}"));
                tensors = tensors.into_iter().map(|(k, v)| (if k == from { to.clone() } else { k }, v)).collect();
                order.iter_mut().filter(|name| **name == from).for_each(|name| name.clone_from(&to));
            }
        }
        if let Some(Classifier { weights, bias, .. }) = self.head {
            let (classes, dim) = (bias.len(), self.config.dim);
            let mut add = |name: &str, shape: Vec<usize>, data: &[f32]| {
                order.push(name.into());
                tensors.insert(name.into(), NamedTensor { shape, data: data.to_vec() });
            };
            add("head.weight", vec![classes, dim], weights);
            add("head.bias", vec![classes], bias);
        }
        Ok((order, tensors))
    }

    /// What shapes cannot tell, for `host import`.
    fn arguments(&self, decoder: bool) -> Map<String, Json> {
        let config = self.config;
        let mut arguments = Map::new();
        let mut set = |name: &str, value: Json| drop(arguments.insert(name.into(), value));
        set("image_height", config.image_height.into());
        set("image_width", config.image_width.into());
        set("num_heads", config.heads.into());
        if decoder {
            set("decoder_num_heads", config.decoder_heads.into());
        }
        set("norm_pix_loss", config.norm_pix_loss.into());
        set("mask_ratio", self.mask_ratio.into());
        let values = |all: &[f32; 4]| all[..config.channels.min(4)].iter().map(|v| round(*v)).collect::<Vec<_>>();
        set("mean", values(&self.pixels.mean).into());
        set("std", values(&self.pixels.std).into());
        if let Some(head) = self.head {
            set("nb_classes", head.bias.len().into());
            set("class_names", head.classes.clone().into());
            // The official code's truth value stands for `fc_norm`; timm's word for a mean after the norm.
            let pool = match self.pooling {
                Pooling::Cls => false.into(),
                Pooling::Mean => "avg".into(),
                Pooling::MeanNorm => true.into(),
            };
            set("global_pool", pool);
        }
        arguments
    }

    /// Writes one file with the reference's names: `.pth` as `torch.save` does, or `.safetensors`.
    ///
    /// # Errors
    /// [`ExportError`]: the name ends otherwise, a parameter is missing, or the file cannot be written.
    pub fn official(&self, out: &Path) -> Result<(), ExportError> {
        let extension = out.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if !["pth", "pt", "bin", "safetensors"].contains(&extension.as_str()) || out.is_dir() {
            return Err(ExportError::Extension(out.into()));
        }
        let decoder = self.decoder();
        let ((order, tensors), arguments) = (self.classifier(decoder)?, self.arguments(decoder));
        if extension == "safetensors" {
            let mut metadata = pytorch();
            metadata.insert("mae".into(), Json::Object(arguments).to_string());
            return Ok(safetensors::write(out, &tensors, metadata)?);
        }
        let bytes = pth::write(&order, &tensors, &arguments)?;
        files::write_file(out, &bytes).map_err(|error| cannot_write(out, error))
    }

    /// Writes a folder that `ViTMAEForPreTraining.from_pretrained` reads (`ViTMAEModel`, if there is no decoder;
    /// `ViTForImageClassification`, if there is a head).
    ///
    /// # Errors
    /// [`ExportError`]: images are not square, the head reads a mean, a parameter is missing, or the folder cannot be
    /// written.
    pub fn huggingface(&self, out: &Path) -> Result<(), ExportError> {
        let (height, width) = (self.config.image_height, self.config.image_width);
        if height != width {
            return Err(ExportError::NotSquare { height, width });
        }
        let decoder = self.decoder();
        match (self.head, self.pooling) {
            (Some(_), Pooling::Mean) | (_, Pooling::MeanNorm) => return Err(ExportError::Pooling),
            _ => {}
        }
        let mut tensors = huggingface::from_official(&self.complete(decoder)?.1);
        if let Some(Classifier { weights, bias, .. }) = self.head {
            let tensor = |shape, data: &[f32]| NamedTensor { shape, data: data.to_vec() };
            tensors.insert("classifier.weight".into(), tensor(vec![bias.len(), self.config.dim], weights));
            tensors.insert("classifier.bias".into(), tensor(vec![bias.len()], bias));
        } else if !decoder {
            // As `ViTMAEModel` names them.
            let bare = |name: String| name.strip_prefix("vit.").map(str::to_owned).unwrap_or(name);
            tensors = tensors.into_iter().map(|(name, tensor)| (bare(name), tensor)).collect();
        }
        let config = match self.head {
            Some(head) => huggingface::classifier_json(self.config, &head.classes),
            None => huggingface::config_json(self.config, self.mask_ratio, decoder),
        };
        let preprocessor = huggingface::preprocessor_json(self.config, self.pixels);
        folder(out, &tensors, &[("config.json", config), ("preprocessor_config.json", preprocessor)])
    }

    /// Writes a folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` reads: the encoder.
    ///
    /// # Errors
    /// [`ExportError`]: a parameter is missing, or the folder cannot be written.
    pub fn timm(&self, out: &Path) -> Result<(), ExportError> {
        let tensors = self.classifier(false)?.1;
        let config = timm::config_json(self.config, self.pixels, self.pooling, self.head);
        folder(out, &tensors, &[("config.json", config)])
    }
}

/// Metadata without which PyTorch's readers refuse a file.
fn pytorch() -> HashMap<String, String> {
    HashMap::from([("format".to_owned(), "pt".to_owned())])
}

/// Files that an exported folder may hold.
const FOLDER: [&str; 3] = ["config.json", "model.safetensors", "preprocessor_config.json"];

/// Writes a folder, whole or not at all; only a folder that was exported before is replaced.
fn folder(out: &Path, tensors: &Tensors, texts: &[(&str, Json)]) -> Result<(), ExportError> {
    let ours = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| FOLDER.iter().any(|name| entry.file_name().to_str() == Some(name)))
    };
    if out.exists() && !fs::read_dir(out).is_ok_and(|mut entries| entries.all(ours)) {
        return Err(ExportError::Occupied(out.into()));
    }
    files::write_folder(out, |folder| -> Result<(), Box<dyn Error + Send + Sync>> {
        safetensors::write(&folder.join("model.safetensors"), tensors, pytorch())?;
        for (name, json) in texts {
            fs::write(folder.join(name), format!("{json:#}\n"))?;
        }
        Ok(())
    })
    .map_err(|source| cannot_write(out, source))
}

fn cannot_write(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> ExportError {
    ExportError::Write { path: path.into(), source: source.into() }
}
