//! Named tensors in safetensors files.

use super::{NamedTensor, Tensors, number::Kind, readable::Readable};
use crate::files;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Why a file of tensors cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The file system refused.
    #[error("cannot access {path}: {source}")]
    Io {
        /// What should have been read or written.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// Not a safetensors file, or a truncated one.
    #[error("{path} is not a whole safetensors file: {source}")]
    Format {
        /// What was read or written.
        path: PathBuf,
        /// What is wrong with its header or its length.
        source: safetensors::SafeTensorError,
    },
    /// A tensor of numbers that are not read.
    #[error("{path}: the tensor `{name}` {reason}")]
    Dtype {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor's name there.
        name: String,
        /// Its type, as the end of a sentence.
        reason: String,
    },
}

/// Free text beside the tensors.
pub type Metadata = HashMap<String, String>;

/// Reads all tensors as f32.
///
/// # Errors
/// If the file cannot be read, is truncated or foreign, or holds numbers that are not read (complex ones, and floats
/// of 4, 6 and most of 8 bits).
pub fn read(path: &Path) -> Result<(Tensors, Metadata), TensorFileError> {
    let (Readable { tensors, unreadable, .. }, metadata) = read_some(path)?;
    match unreadable.into_iter().next() {
        Some((name, reason)) => Err(TensorFileError::Dtype { path: path.into(), name, reason }),
        None => Ok((tensors, metadata)),
    }
}

/// Reads, as f32, the tensors that can be read.
///
/// # Errors
/// If the file cannot be read, or is truncated or foreign.
pub fn read_some(path: &Path) -> Result<(Readable, Metadata), TensorFileError> {
    let io_error = |source| TensorFileError::Io { path: path.into(), source };
    let format = |source| TensorFileError::Format { path: path.into(), source };
    let bytes = fs::read(path).map_err(io_error)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(format)?;
    let mut read = Readable::default();
    for (name, view) in file.tensors() {
        match kind(view.dtype()) {
            Some(kind) => {
                let data = kind.to_f32(view.data());
                read.insert(name, NamedTensor { shape: view.shape().to_vec(), data }, kind);
            }
            None => drop(read.unreadable.insert(name, format!("has the type {}, which is not read", view.dtype()))),
        }
    }
    Ok((read, metadata))
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F64 => Kind::F64,
        Dtype::F32 => Kind::F32,
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::Bf16,
        Dtype::F8_E5M2 => Kind::F8E5m2,
        Dtype::F8_E4M3 => Kind::F8E4m3,
        Dtype::I64 => Kind::I64,
        Dtype::I32 => Kind::I32,
        Dtype::I16 => Kind::I16,
        Dtype::I8 => Kind::I8,
        Dtype::U64 => Kind::U64,
        Dtype::U32 => Kind::U32,
        Dtype::U16 => Kind::U16,
        Dtype::U8 => Kind::U8,
        Dtype::BOOL => Kind::Bool,
        _ => return None,
    })
}

/// Writes all tensors as f32, atomically.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, tensors: &Tensors, metadata: Metadata) -> Result<(), TensorFileError> {
    let bytes: Vec<(&String, Vec<u8>, &NamedTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect(), tensor))
        .collect();
    let format = |source| TensorFileError::Format { path: path.into(), source };
    let views = bytes
        .iter()
        .map(|(name, bytes, tensor)| Ok((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(format)?;
    // Of an empty map and no tensors safetensors 0.8 makes a header that it cannot read.
    let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
    let file = safetensors::serialize(views, metadata).map_err(format)?;
    files::write_file(path, &file).map_err(|source| TensorFileError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tensors_are_written_and_read_too() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("empty.safetensors");
        write(&path, &Tensors::new(), Metadata::new()).expect("written");
        assert_eq!(read(&path).expect("read"), (Tensors::new(), Metadata::new()));
    }

    /// The names of safetensors' own types; the values as torch has them.
    #[test]
    fn every_whole_and_real_type_is_read_and_others_are_told() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("kinds.safetensors");
        let kinds: [(&str, Dtype, &[u8], Option<f32>); 17] = [
            ("bool", Dtype::BOOL, &[1], Some(1.0)),
            ("u8", Dtype::U8, &[200], Some(200.0)),
            ("i8", Dtype::I8, &[0xff], Some(-1.0)),
            ("u16", Dtype::U16, &[0xff, 0xff], Some(65535.0)),
            ("i16", Dtype::I16, &[0xfe, 0xff], Some(-2.0)),
            ("u32", Dtype::U32, &[0, 0, 0, 0x80], Some(2_147_483_648.0)),
            ("i32", Dtype::I32, &[0xfd, 0xff, 0xff, 0xff], Some(-3.0)),
            ("u64", Dtype::U64, &[5, 0, 0, 0, 0, 0, 0, 0], Some(5.0)),
            ("i64", Dtype::I64, &[0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(-5.0)),
            ("f16", Dtype::F16, &[0, 0x3e], Some(1.5)),
            ("bf16", Dtype::BF16, &[0xc0, 0x3f], Some(1.5)),
            ("f32", Dtype::F32, &[0, 0, 0xc0, 0x3f], Some(1.5)),
            ("f64", Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], Some(1.5)),
            ("e4m3", Dtype::F8_E4M3, &[0x3c], Some(1.5)),
            ("e5m2", Dtype::F8_E5M2, &[0x3e], Some(1.5)),
            ("complex", Dtype::C64, &[0; 8], None),
            ("e8m0", Dtype::F8_E8M0, &[0x7f], None),
        ];
        let view = |(name, dtype, bytes, _)| (name, TensorView::new(dtype, vec![1], bytes).expect("a tensor"));
        let file = safetensors::serialize(kinds.map(view), None).expect("a file");
        fs::write(&path, file).expect("written");
        let (Readable { tensors, unreadable, whole }, _) = read_some(&path).expect("read");
        assert_eq!(whole.len(), 7, "{whole:?}");
        for (name, _, _, value) in kinds {
            match value {
                Some(value) => assert_eq!(tensors[name], NamedTensor { shape: vec![1], data: vec![value] }, "{name}"),
                None => assert!(unreadable[name].contains("which is not read"), "{unreadable:?}"),
            }
        }
        let error = read(&path).expect_err("a complex tensor").to_string();
        assert!(error.contains("`complex` has the type C64"), "{error}");
    }
}
