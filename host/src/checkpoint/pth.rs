//! PyTorch's files (`torch.save` since version 1.6): a zip archive of a pickle and of the tensors' bytes.
//!
//! Reading executes nothing: of all calls in the pickle only those that make a tensor from stored bytes mean
//! something here, see [`tensor`]. Writing makes a file that `torch.load(weights_only=True)` accepts.

use super::{
    NamedTensor, Tensors,
    pickle::{Pickle, PickleError, Value},
};
use serde_json::{Map, Value as Json};
use std::{
    io::{self, Cursor, Read, Seek, Write as _},
    ops::Range,
};
use zip::{
    CompressionMethod, ZipArchive, ZipWriter,
    result::ZipError,
    write::{FileOptions, SimpleFileOptions},
};

/// Why a file cannot be read as a PyTorch checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    /// A file of `torch.save` before 1.6.
    #[error(
        "it is in PyTorch's format before 1.6: convert it, in Python, by \
         `torch.save(torch.load(\"OLD.pth\", map_location=\"cpu\"), \"NEW.pth\")`"
    )]
    Legacy,
    /// No zip archive, or a damaged one.
    #[error("it is no whole PyTorch file: {0}")]
    Zip(#[from] ZipError),
    /// A read failed, or a checksum did not fit.
    #[error("it is damaged: {0}")]
    Io(#[from] io::Error),
    /// Some other archive.
    #[error("it is a zip archive without data.pkl, so no PyTorch checkpoint")]
    NoPickle,
    /// Bytes in the other order.
    #[error("its numbers are big-endian; only little-endian ones are read")]
    ByteOrder,
    /// A pickle that cannot be read.
    #[error("its data.pkl cannot be read: {0}")]
    Pickle(#[from] PickleError),
    /// Another thing was saved.
    #[error("it holds no dictionary of tensors (nor one under `model` or `state_dict`)")]
    NoTensors,
    /// One tensor is not as it should be.
    #[error("the tensor `{name}` {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a checkpoint holds.
#[derive(Debug, Default, PartialEq)]
pub struct Pth {
    /// The parameters, in f32.
    pub tensors: Tensors,
    /// The training's arguments (`args`): numbers, texts, truth values and lists of them.
    pub arguments: Map<String, Json>,
}

/// Whether a file begins as `torch.save` before 1.6 began it: with a pickled magic number.
#[must_use]
pub fn is_legacy(start: &[u8]) -> bool {
    start.len() > 14 && start[0] == 0x80 && start[2..].starts_with(&[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46])
}

/// Reads the parameters and arguments of a checkpoint.
///
/// # Errors
/// If it is damaged, or no checkpoint; names the first tensor that cannot be read.
pub fn read(mut file: impl Read + Seek) -> Result<Pth, PthError> {
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
    let Some([_, class, key, ..]) = pickle.persistent(*storage) else { return Err(strange()) };
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

/// Types of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Kind {
    /// Of the class of a storage.
    fn of(storage: &str) -> Option<Self> {
        Some(match storage {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    pub(super) fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Little-endian values as f32.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|bytes| convert(*bytes)).collect()
        }
        match self {
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U8 | Self::Bool => each(bytes, |[b]| f32::from(b)),
        }
    }
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
            let members = pickle.sequence(value).filter(|members| depth > 0 && members.len() <= 16)?;
            members.iter().map(|member| json(pickle, *member, depth - 1)).collect::<Option<Vec<_>>>().map(Json::from)
        }
    }
}

/// A checkpoint `{"model": OrderedDict(tensors), "args": arguments}` as the bytes of a file; tensors in the order of
/// `order`. Arguments are numbers, texts and truth values.
///
/// # Errors
/// If the archive cannot be made.
pub fn write(order: &[String], tensors: &Tensors, arguments: &Map<String, Json>) -> Result<Vec<u8>, PthError> {
    let tensors: Vec<(&String, &NamedTensor)> = order.iter().filter_map(|name| tensors.get_key_value(name)).collect();
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // PyTorch aligns entries so that they can be mapped into memory.
    let options: SimpleFileOptions =
        FileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
    let mut entry = |name: &str, bytes: &[u8]| -> Result<(), PthError> {
        let large = bytes.len() as u64 >= u64::from(u32::MAX);
        archive.start_file(format!("archive/{name}"), options.large_file(large))?;
        Ok(archive.write_all(bytes)?)
    };
    entry("data.pkl", &pickled(&tensors, arguments))?;
    entry("byteorder", b"little")?;
    for (index, (_, tensor)) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        entry(&format!("data/{index}"), &bytes)?;
    }
    entry("version", b"3\n")?;
    Ok(archive.finish()?.into_inner())
}

fn pickled(tensors: &[(&String, &NamedTensor)], arguments: &Map<String, Json>) -> Vec<u8> {
    const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut out = b"\x80\x02}(".to_vec();
    text(&mut out, "model");
    out.extend(ORDERED_DICT);
    out.push(b'(');
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.data.len() as i64);
        out.extend(b"tQ");
        int(&mut out, 0);
        let mut stride = tensor.data.len().max(1);
        let strides: Vec<usize> = tensor
            .shape
            .iter()
            .map(|extent| {
                stride /= (*extent).max(1);
                stride
            })
            .collect();
        for extents in [&tensor.shape, &strides] {
            out.push(b'(');
            extents.iter().for_each(|extent| int(&mut out, *extent as i64));
            out.push(b't');
        }
        out.push(0x89);
        out.extend(ORDERED_DICT);
        out.extend(b"tR");
    }
    out.push(b'u');
    text(&mut out, "args");
    out.extend(b"}(");
    for (name, value) in arguments {
        text(&mut out, name);
        match value {
            Json::Bool(flag) => out.push(if *flag { 0x88 } else { 0x89 }),
            Json::String(value) => text(&mut out, value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => int(&mut out, number),
                None => {
                    out.push(b'G');
                    out.extend(number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
                }
            },
            Json::Null | Json::Array(_) | Json::Object(_) => out.push(b'N'),
        }
    }
    out.extend(b"uu.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, number: i64) {
    match i32::try_from(number) {
        Ok(number) => {
            out.push(b'J');
            out.extend(number.to_le_bytes());
        }
        Err(_) => {
            out.extend([0x8a, 8]);
            out.extend(number.to_le_bytes());
        }
    }
}
