//! PyTorch's files (`torch.save` since version 1.6): a zip archive of a pickle and of the tensors' bytes.
//!
//! Reading executes nothing: of all calls in the pickle only those that make a tensor from stored bytes mean
//! something here. Writing makes a file that `torch.load(weights_only=True)` accepts.
//!
//! Design decision: a reader of our own, after trying burn's `pytorch-reader` (0.22.1 and 0.23.0-pre.1) on files of
//! torch 2.15. It too executes nothing, did not panic on 2000 damaged files, and reads more containers (before 1.6,
//! whole modules). But of an `argparse.Namespace` it keeps the class's name alone, and the arguments of official
//! checkpoints are one. It refuses the whole file for one tensor anywhere in it that it cannot represent (complex,
//! sparse, quantized or float8, or in an object such as a moving average's), where here only the parameters must be
//! readable. And it accepts a view of one stored value as 9 GiB; here a file cannot ask for more values than it has
//! bytes. It would replace about 550 lines, not the writer, for 7 CPU-seconds of building and an inflater.

mod error;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::{error::PthError, write::write};
use super::pickle::{Pickle, Value};
use crate::tensors::{NamedTensor, Tensors, number::Kind};
use serde_json::{Map, Value as Json};
use std::{
    io::{self, Read, Seek},
    ops::Range,
};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

/// What a checkpoint holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pth {
    /// Parameters by the file's own names, as f32 whatever their type there.
    pub(crate) tensors: Tensors,
    /// The training's arguments (`args`): numbers, texts, truth values and lists of them.
    pub(crate) arguments: Map<String, Json>,
}

/// Whether a file begins as `torch.save` before 1.6 began it: with a pickled magic number.
#[must_use]
pub(crate) fn is_legacy(start: &[u8]) -> bool {
    start.len() > 14 && start[0] == 0x80 && start[2..].starts_with(&[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46])
}

/// Reads the parameters and arguments of a checkpoint.
///
/// # Errors
/// If it is damaged, or no checkpoint; names the first tensor that cannot be read.
pub(crate) fn read(mut file: impl Read + Seek) -> Result<Pth, PthError> {
    let mut start = Vec::new();
    (&mut file).take(16).read_to_end(&mut start)?;
    if is_legacy(&start) {
        return Err(PthError::Legacy);
    }
    let length = file.seek(io::SeekFrom::End(0))?;
    let archive = ZipArchive::new(file)?;
    let folders = archive.file_names().filter_map(|name| {
        let name = name.ok()?;
        name.strip_suffix("data.pkl").filter(|folder| folder.ends_with('/')).map(str::to_owned)
    });
    let folder = folders.min_by_key(String::len).ok_or(PthError::NoPickle)?;
    let mut storages = Storages { archive, folder, length, read: 0, last: None };
    if storages.archive.index_for_name(&format!("{}byteorder", storages.folder)).is_some()
        && storages.bytes("byteorder")? != b"little"
    {
        return Err(PthError::ByteOrder);
    }
    let pickle = Pickle::parse(&storages.bytes("data.pkl")?)?;
    let root = pickle.root();
    let named = ["model", "state_dict"].iter().find_map(|key| pickle.entry(root, key));
    let entries = named.and_then(|inner| pickle.entries(inner)).or_else(|| pickle.entries(root));
    let mut found = Pth::default();
    for (key, value) in entries.ok_or(PthError::NoTensors)? {
        let Some(name) = pickle.text(*key) else { continue };
        if let Some(recipe) = recipe(&pickle, *value) {
            let place = |reason: String| PthError::Tensor { name: name.into(), reason };
            let tensor = tensor(&pickle, recipe, &mut storages).map_err(place)?;
            found.tensors.insert(name.into(), tensor);
        }
    }
    if found.tensors.is_empty() {
        return Err(PthError::NoTensors);
    }
    let arguments = pickle.entry(root, "args").and_then(|arguments| pickle.attributes(arguments));
    for (key, value) in arguments.unwrap_or_default() {
        if let (Some(key), Some(value)) = (pickle.text(*key), json(&pickle, *value, 3)) {
            found.arguments.insert(key.into(), value);
        }
    }
    Ok(found)
}

/// The archive's entries.
struct Storages<R> {
    archive: ZipArchive<R>,
    folder: String,
    /// Bytes of the file.
    length: u64,
    /// Values that were read.
    read: u64,
    /// Views of one storage follow each other.
    last: Option<(String, Vec<u8>)>,
}

impl<R: Read + Seek> Storages<R> {
    /// A whole entry.
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, PthError> {
        let entry = self.archive.by_name(&format!("{}{name}", self.folder))?;
        // Stored entries are as long as they say; what others would become is anyone's guess.
        if entry.compression() != CompressionMethod::Stored || entry.size() > self.length {
            return Err(ZipError::UnsupportedArchive("compressed entries, which torch.save does not write").into());
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        entry.take(self.length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn storage(&mut self, key: &str) -> Result<&[u8], PthError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != key) {
            self.last = Some((key.to_owned(), self.bytes(&format!("data/{key}"))?));
        }
        Ok(self.last.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default())
    }
}

/// The arguments of `torch._utils._rebuild_tensor_v2`, itself or within a `Parameter`.
fn recipe(pickle: &Pickle, value: Value) -> Option<&[Value]> {
    match pickle.call(value)? {
        (("torch._utils", "_rebuild_tensor_v2"), arguments) => Some(arguments),
        (("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), [data, ..]) => {
            match pickle.call(*data)? {
                (("torch._utils", "_rebuild_tensor_v2"), arguments) => Some(arguments),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Makes a tensor from its recipe: storage, offset, extents, strides (all in values).
fn tensor<R: Read + Seek>(
    pickle: &Pickle,
    recipe: &[Value],
    storages: &mut Storages<R>,
) -> Result<NamedTensor, String> {
    let strange = || "is described in an unknown way".to_owned();
    let [storage, offset, shape, strides, ..] = recipe else { return Err(strange()) };
    let Some([_, class, key, _, numel]) = pickle.persistent(*storage) else { return Err(strange()) };
    let (Some((module, class)), Some(key)) = (pickle.global(*class), pickle.text(*key)) else {
        return Err(strange());
    };
    let kind = Kind::of(class).filter(|_| module == "torch");
    let kind = kind.ok_or_else(|| format!("has the type {module}.{class}, which is not read"))?;
    let extents =
        |value: Value| -> Option<Vec<usize>> { pickle.sequence(value)?.iter().map(|v| extent(*v)).collect() };
    let (Some(offset), Some(shape), Some(strides)) = (extent(*offset), extents(*shape), extents(*strides)) else {
        return Err(strange());
    };
    if shape.len() != strides.len() || shape.len() > 8 {
        return Err(strange());
    }
    let outside = || format!("of shape {shape:?} reaches beyond its storage");
    let count = shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent)).ok_or_else(outside)?;
    // A file of views into one storage could otherwise ask for any amount of memory.
    storages.read = storages.read.saturating_add(count as u64);
    if storages.read > storages.length {
        return Err(format!("of shape {shape:?} makes more values than the file has bytes"));
    }
    let bytes = storages.storage(key).map_err(|error| format!("cannot be read: {error}"))?;
    if extent(*numel).and_then(|numel| numel.checked_mul(kind.width())) != Some(bytes.len()) {
        return Err(format!("has a storage of {} bytes, which is another length than described", bytes.len()));
    }
    let last = shape
        .iter()
        .zip(&strides)
        .try_fold(offset, |place, (extent, stride)| place.checked_add(extent.checked_sub(1)?.checked_mul(*stride)?));
    let range = match last {
        _ if count == 0 => 0..0,
        Some(last) if last < bytes.len() / kind.width() => offset..last + 1,
        _ => return Err(outside()),
    };
    Ok(NamedTensor { data: gather(bytes, kind, range, &shape, &strides), shape })
}

fn extent(value: Value) -> Option<usize> {
    if let Value::Int(number) = value { usize::try_from(number).ok() } else { None }
}

/// Values in row-major order; `range` holds the first and the last of them.
fn gather(bytes: &[u8], kind: Kind, range: Range<usize>, shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let values = kind.to_f32(&bytes[range.start * kind.width()..range.end * kind.width()]);
    let mut dense = 1;
    let is_dense = shape.iter().zip(strides).rev().all(|(extent, stride)| {
        let fits = *extent <= 1 || *stride == dense;
        dense *= *extent;
        fits
    });
    if is_dense {
        return values;
    }
    let count: usize = shape.iter().product();
    let place = |mut index: usize| {
        shape.iter().zip(strides).rev().fold(0, |place, (extent, stride)| {
            let here = index % extent;
            index /= extent;
            place + here * stride
        })
    };
    (0..count).map(|index| values[place(index)]).collect()
}

/// A value of the arguments, if it is plain.
fn json(pickle: &Pickle, value: Value, depth: usize) -> Option<Json> {
    match value {
        Value::None => Some(Json::Null),
        Value::Bool(flag) => Some(flag.into()),
        Value::Int(number) => Some(number.into()),
        Value::Float(number) => Some(number.into()),
        Value::Node(_) if pickle.text(value).is_some() => pickle.text(value).map(Json::from),
        Value::Node(_) => {
            let members = pickle.sequence(value).filter(|members| depth > 0 && members.len() <= 1 << 20)?;
            members.iter().map(|member| json(pickle, *member, depth - 1)).collect::<Option<Vec<_>>>().map(Json::from)
        }
    }
}
