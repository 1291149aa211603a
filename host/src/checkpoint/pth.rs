//! PyTorch's files (`torch.save` since version 1.6): a zip archive of a pickle and of the tensors' bytes.
//!
//! Reading executes nothing: of all calls in the pickle only those that make a tensor from stored bytes mean
//! something here. Writing makes a file that `torch.load(weights_only=True)` accepts.

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
        let inner = |axis: usize| tensor.shape[axis + 1..].iter().product();
        let strides: Vec<usize> = (0..tensor.shape.len()).map(inner).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::safetensors;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn file(name: &str) -> Vec<u8> {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests")).join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn open(bytes: &[u8]) -> Result<Pth, PthError> {
        read(Cursor::new(bytes))
    }

    #[test]
    fn the_official_file_equals_its_safetensors_twin() {
        let twin =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32/checkpoint.safetensors"));
        let found = open(&file("parity/mae-32/checkpoint.pth")).expect("a checkpoint");
        assert_eq!(found.tensors, safetensors::read(&twin).expect("tensors").0);
        assert!(found.arguments.is_empty());
    }

    /// The files are those of tests/python/make_checkpoints.py (torch 2.15.0).
    #[test]
    fn every_layout_type_and_wrapping_is_read() {
        let odd = open(&file("checkpoints/odd.pth")).expect("a checkpoint");
        let numbers: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
        let expected: [(&str, &[usize], Vec<f32>); 13] = [
            ("dense", &[3, 4], numbers.clone()),
            ("transposed", &[4, 3], (0..12).map(|i| numbers[i % 3 * 4 + i / 3]).collect()),
            ("column", &[3], vec![0.25, 1.25, 2.25]),
            ("tail", &[4], numbers[8..].to_vec()),
            ("scalar", &[], vec![1.5]),
            ("empty", &[0, 3], vec![]),
            ("half", &[4], vec![0.099_975_586, 0.350_097_66, 0.600_097_66, 0.850_097_66]),
            ("bfloat", &[4], vec![0.100_097_656, 0.349_609_38, 0.601_562_5, 0.851_562_5]),
            ("double", &[4], vec![0.1, 0.35, 0.6, 0.85]),
            ("long", &[2], vec![-3.0, (1_u64 << 40) as f32]),
            ("bytes", &[2], vec![0.0, 255.0]),
            ("flags", &[2], vec![1.0, 0.0]),
            ("parameter", &[4], numbers[8..].to_vec()),
        ];
        assert_eq!(odd.tensors.len(), expected.len());
        for (name, shape, data) in expected {
            assert_eq!(odd.tensors[name], NamedTensor { shape: shape.to_vec(), data }, "{name}");
        }
        let argument = |name: &str| odd.arguments.get(name).cloned();
        assert_eq!(argument("model"), Some("mae_vit_base_patch16".into()));
        assert_eq!(argument("norm_pix_loss"), Some(true.into()));
        assert_eq!(argument("betas"), Some(vec![0.9, 0.95].into()));
        assert_eq!((argument("lr"), argument("output")), (Some(Json::Null), None));

        assert_eq!(open(&file("checkpoints/odd-protocol-5.pth")).expect("a checkpoint"), odd);
        let bare = open(&file("checkpoints/bare.pth")).expect("a checkpoint");
        assert_eq!((bare.tensors, bare.arguments.len()), (odd.tensors, 0));
    }

    #[test]
    fn other_files_are_named() {
        assert!(matches!(open(&file("checkpoints/legacy.pth")), Err(PthError::Legacy)));
        assert!(matches!(open(b"no zip at all, but text"), Err(PthError::Zip(_))));
        let archive = |name: &str, bytes: &[u8]| {
            let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
            archive.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
            archive.write_all(bytes)?;
            Ok::<_, PthError>(archive.finish()?.into_inner())
        };
        let saved = |name, bytes: &[u8]| open(&archive(name, bytes).expect("archive"));
        assert!(matches!(saved("a/other", b""), Err(PthError::NoPickle)));
        assert!(matches!(saved("a/data.pkl", b"\x80\x02K\x01."), Err(PthError::NoTensors)));
        assert!(matches!(saved("a/data.pkl", b"\x80\x02"), Err(PthError::Pickle(PickleError::Truncated))));
        assert!(matches!(saved("a/byteorder", b"big"), Err(PthError::NoPickle)));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let whole = open(&file("checkpoints/odd.pth")).expect("a checkpoint");
        let order: Vec<String> = whole.tensors.keys().rev().cloned().collect();
        let arguments: Map<String, Json> =
            [("heads", 3.into()), ("ratio", 0.75.into()), ("name", "vit".into()), ("flag", true.into())]
                .into_iter()
                .map(|(name, value): (&str, Json)| (name.to_owned(), value))
                .collect();
        let bytes = write(&order, &whole.tensors, &arguments).expect("bytes");
        let again = open(&bytes).expect("a checkpoint");
        assert_eq!((again.tensors, again.arguments), (whole.tensors, arguments));
        // Aligned as PyTorch does it: it maps files into memory.
        let mut archive = ZipArchive::new(Cursor::new(&bytes)).expect("an archive");
        for index in 0..archive.len() {
            assert_eq!(archive.by_index(index).expect("an entry").data_start().expect("a place") % 64, 0);
        }
    }

    /// A description of a tensor that its bytes do not bear out.
    #[test]
    fn impossible_tensors_are_refused() {
        let good = open(&file("checkpoints/bare.pth")).expect("a checkpoint");
        let order = vec!["dense".to_owned()];
        let with = |shape: &[usize], data: usize| {
            let tensor = NamedTensor { shape: shape.to_vec(), data: good.tensors["dense"].data[..data].to_vec() };
            open(&write(&order, &Tensors::from([("dense".into(), tensor)]), &Map::new()).expect("bytes"))
        };
        assert!(with(&[3, 4], 12).is_ok());
        for (shape, data, reason) in [
            (&[3, 4][..], 11, "beyond its storage"),
            (&[1 << 40, 1 << 40], 12, "beyond its storage"),
            (&[1 << 40], 12, "more values than the file has bytes"),
            (&[1; 9], 1, "in an unknown way"),
        ] {
            let error = with(shape, data).expect_err(reason).to_string();
            assert!(error.contains("`dense`") && error.contains(reason), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn no_truncated_or_changed_file_panics(cut in 0.0..1.0_f64, at in prop::collection::vec(0.0..1.0_f64, 1..8), mask in 1..=255_u8) {
            let whole = file("parity/mae-32/checkpoint.pth");
            let place = |share: f64| (whole.len() as f64 * share) as usize;
            prop_assert!(open(&whole[..place(cut)]).is_err());
            let mut changed = whole.clone();
            at.iter().for_each(|share| changed[place(*share)] ^= mask);
            if let Ok(found) = open(&changed) {
                // Checksums guard the values: what is still read is right.
                let good = open(&whole).expect("a checkpoint").tensors;
                prop_assert!(found.tensors.values().all(|tensor| good.values().any(|good| good.data == tensor.data)));
            }
        }

        // Behind the checksum, where a flipped byte reaches the stack machine.
        #[test]
        fn no_changed_pickle_panics(at in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..6)) {
            let tensors = open(&file("checkpoints/bare.pth")).expect("a checkpoint").tensors;
            let order: Vec<String> = tensors.keys().cloned().collect();
            let all: Vec<_> = order.iter().map(|name| (name, &tensors[name])).collect();
            let mut pickle = pickled(&all, &Map::new());
            for (share, byte) in at {
                let place = (pickle.len() as f64 * share) as usize;
                pickle[place] = byte;
            }
            let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            let mut entry = |name: &str, bytes: &[u8]| {
                archive.start_file(name, options).expect("an entry");
                archive.write_all(bytes).expect("bytes");
            };
            entry("a/data.pkl", &pickle);
            for (index, (_, tensor)) in all.iter().enumerate() {
                let bytes: Vec<u8> = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                entry(&format!("a/data/{index}"), &bytes);
            }
            let _ = open(&archive.finish().expect("an archive").into_inner());
        }
    }
}
