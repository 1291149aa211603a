//! Model folders: the trained encoder as ONNX, in float and quantised, and for the native runtime.

pub mod onnx;
pub mod precision;
pub mod quantize;

use crate::{
    files,
    tensors::{
        NamedTensor, Tensors,
        mismatch::{MismatchError, fitting},
    },
};
use common::{
    model::{EncoderSpec, PositionKind},
    patch::PatchError,
};
use edge::{
    model_folder::{FORMAT, ModelDescription, ModelError, ModelFolder, sha256},
    native::write::{self as native, WriteError},
};
use precision::EncoderPrecision;
use prost::Message as _;
use std::{collections::BTreeMap, fs, io, path::Path};
use tract_onnx::pb::{ModelProto, TensorProto};

/// Why an encoder cannot be exported or read back.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A parameter is missing or misshapen.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// A parameter is infinite or no number.
    #[error("the tensor `{0}` holds a value that is not finite: the training diverged")]
    NotFinite(String),
    /// The image cannot be cut into patches.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The native encoder cannot be made.
    #[error(transparent)]
    Native(#[from] WriteError),
    /// The model folder is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The ONNX file is damaged or foreign.
    #[error("{0} is not an encoder that `host export` wrote")]
    Foreign(String),
    /// The file system refused.
    #[error("cannot write the model folder: {0}")]
    Io(#[from] io::Error),
    /// The description cannot be written.
    #[error("cannot write model.toml: {0}")]
    Description(#[from] toml::ser::Error),
}

/// Writes a model folder, whole or not at all, and returns the size of each form in bytes.
///
/// # Errors
/// If a parameter is missing, misshapen or not finite, or the folder cannot be written.
pub fn write(
    out: &Path,
    spec: &EncoderSpec,
    tensors: &Tensors,
    precisions: &[EncoderPrecision],
    made_by: &str,
) -> Result<BTreeMap<EncoderPrecision, usize>, ExportError> {
    let mut files = BTreeMap::new();
    for precision in precisions {
        let bytes = match precision.onnx() {
            Some(onnx) => onnx::encoder(spec, tensors, onnx)?,
            None => native_encoder(spec, tensors)?,
        };
        files.insert(*precision, bytes);
    }
    let sum = |(precision, bytes): (&EncoderPrecision, &Vec<u8>)| Some((precision.onnx()?, sha256(bytes)));
    let description = ModelDescription {
        format: FORMAT,
        made_by: made_by.into(),
        native_sha256: files.get(&EncoderPrecision::Native).map(|bytes| sha256(bytes)),
        encoder: *spec,
        sha256: files.iter().filter_map(sum).collect(),
    };
    let text = toml::to_string(&description)?;
    files::write_folder(out, |folder| -> io::Result<()> {
        fs::write(folder.join("model.toml"), &text)?;
        files.iter().try_for_each(|(precision, bytes)| fs::write(folder.join(precision.file_name()), bytes))
    })?;
    Ok(files.into_iter().map(|(precision, bytes)| (precision, bytes.len())).collect())
}

/// The bytes of an `encoder.native`.
///
/// # Errors
/// If a parameter is missing, misshapen or not finite.
pub fn native_encoder(spec: &EncoderSpec, tensors: &Tensors) -> Result<Vec<u8>, ExportError> {
    for (name, shape) in native::parameters(spec) {
        parameter(tensors, &name, &shape)?;
    }
    Ok(native::encoder(spec, |name| tensors.get(name).map(|tensor| tensor.data.as_slice()))?)
}

/// The description and parameters of a model folder; from the f32 form, else from the 8-bit weights.
///
/// # Errors
/// If the folder is unusable, or its files are not ours.
pub fn read_back(folder: &Path) -> Result<(EncoderSpec, Tensors), ExportError> {
    let model = ModelFolder::open(folder)?;
    let (spec, form) = (*model.spec(), model.default_precision());
    let bytes = model.read(form)?;
    let foreign = || ExportError::Foreign(folder.join(form.file_name()).display().to_string());
    let proto = ModelProto::decode(&*bytes).map_err(|_| foreign())?;
    let found: BTreeMap<&str, &TensorProto> =
        proto.graph.iter().flat_map(|graph| &graph.initializer).map(|t| (t.name.as_str(), t)).collect();
    let grid = spec.grid()?;
    let (p, channels) = (grid.patch_size(), grid.channels());
    let mut tensors = Tensors::new();
    for (name, proto) in &found {
        let skipped = ["pos_embed", "const_", "ints_"].iter().any(|prefix| name.starts_with(prefix));
        if skipped || name.ends_with(onnx::SCALE) {
            continue;
        }
        let shape: Vec<usize> = proto.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
        let (name, data) = match name.strip_suffix(onnx::QUANTIZED) {
            Some(name) => {
                let scales = floats(found.get(format!("{name}{}", onnx::SCALE).as_str()).ok_or_else(foreign)?);
                let values = proto.raw_data.iter().map(|byte| f32::from(byte.cast_signed()));
                if scales.is_empty() {
                    return Err(foreign());
                }
                (name, values.enumerate().map(|(i, value)| value * scales[i % scales.len()]).collect())
            }
            None => (*name, floats(proto)),
        };
        if data.len() != shape.iter().product::<usize>() {
            return Err(foreign());
        }
        let tensor = match shape[..] {
            [1, dim] if name == "cls_token" => NamedTensor { shape: vec![1, 1, dim], data },
            [d_in, d_out] => {
                let transposed = transpose(&data, d_in, d_out);
                match name == "patch_embed.proj.weight" {
                    // [D, p, p, C] to [D, C, p, p].
                    true => {
                        let place = |i: usize| (i / d_in) * d_in + (i % (p * p)) * channels + i / (p * p) % channels;
                        let data = (0..data.len()).map(|i| transposed[place(i)]).collect();
                        NamedTensor { shape: vec![d_out, channels, p, p], data }
                    }
                    false => NamedTensor { shape: vec![d_out, d_in], data: transposed },
                }
            }
            _ => NamedTensor { shape, data },
        };
        tensors.insert(name.to_owned(), tensor);
    }
    if spec.position == PositionKind::Stored {
        let part = |name: &str| found.get(name).map(|proto| floats(proto)).ok_or_else(foreign);
        let data = [part(onnx::CLS_POSITION)?, part("pos_embed")?].concat();
        let shape = vec![1, 1 + grid.patches(), spec.dim as usize];
        tensors.insert("pos_embed".into(), NamedTensor { shape, data });
    }
    Ok((spec, tensors))
}

/// The checked values of a parameter.
fn parameter<'a>(tensors: &'a Tensors, name: &str, expected: &[usize]) -> Result<&'a [f32], ExportError> {
    let tensor = fitting(tensors, name, expected)?;
    if tensor.data.iter().any(|value| !value.is_finite()) {
        return Err(ExportError::NotFinite(name.into()));
    }
    Ok(&tensor.data)
}

/// A Linear's weight as `[in, out]`; the patch projection with channels fastest.
fn matrix(
    spec: &EncoderSpec,
    tensors: &Tensors,
    name: &str,
    d_in: usize,
    d_out: usize,
) -> Result<Vec<f32>, ExportError> {
    if name != "patch_embed.proj.weight" {
        return Ok(transpose(parameter(tensors, name, &[d_out, d_in])?, d_out, d_in));
    }
    let (p, channels) = (spec.patch_size as usize, spec.channels as usize);
    let data = parameter(tensors, name, &[d_out, channels, p, p])?;
    let place = |i: usize| {
        let (value, out) = (i / d_out, i % d_out);
        let (pixel, channel) = (value / channels, value % channels);
        out * d_in + channel * p * p + pixel
    };
    Ok((0..d_in * d_out).map(|i| data[place(i)]).collect())
}

fn transpose(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| data[i % rows * cols + i / rows]).collect()
}

fn floats(proto: &TensorProto) -> Vec<f32> {
    proto.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
