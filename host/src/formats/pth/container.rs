//! Where a PyTorch file keeps its pickle and the bytes of its storages.

use super::PthError;
use crate::formats::pickle::{self, Pickle, PickleError};
use std::{
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};
use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config, ZipReadOptions},
    result::ZipError,
};

/// The file and the places in it.
pub(super) struct Container<R> {
    places: Places<R>,
    /// Bytes of the file.
    length: u64,
    /// Views of one storage follow each other.
    last: Option<(String, Vec<u8>)>,
}

enum Places<R> {
    /// Since 1.6: a zip archive, in it a folder.
    Zip(Box<ZipArchive<R>>, String),
    /// Before: pickles, and the storages behind them.
    Legacy(R, HashMap<String, Range<u64>>),
}

/// The container, what was pickled, and whether it is an archive of TorchScript.
type Opened<R> = (Container<R>, Pickle, bool);

impl<R: Read + Seek> Container<R> {
    /// A file since PyTorch 1.6.
    pub(super) fn zip(mut file: R) -> Result<Opened<R>, PthError> {
        let length = file.seek(SeekFrom::End(0))?;
        // PyTorch's archives begin with their file. Searched for, the beginning is found in another place if the name
        // of the folder has 21 letters: the records behind the directory are then as long as an entry of it.
        let archive = ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, file)?;
        let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let folder = names.iter().filter_map(|name| name.strip_suffix("data.pkl").filter(|name| name.ends_with('/')));
        let Some(folder) = folder.min_by_key(|folder| folder.len()).map(str::to_owned) else {
            let arrays = names.iter().any(|name| name.ends_with(".npy"));
            return Err(if arrays { PthError::Arrays } else { PthError::NoPickle });
        };
        let has = |name: &str| names.contains(&format!("{folder}{name}"));
        let (ordered, script) = (has("byteorder"), has("constants.pkl"));
        let mut container = Self { places: Places::Zip(Box::new(archive), folder), length, last: None };
        if ordered && container.entry("byteorder")? != b"little" {
            return Err(PthError::ByteOrder);
        }
        let pickle = Pickle::parse(&container.entry("data.pkl")?)?;
        Ok((container, pickle, script))
    }

    /// A file before PyTorch 1.6: a magic number, the version, the machine, what was saved, the storages' keys (a
    /// pickle each), and of each storage the number of its values and these.
    pub(super) fn legacy(mut file: R) -> Result<Opened<R>, PthError> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut start = Vec::new();
        (&mut file).take(pickle::LIMIT as u64).read_to_end(&mut start)?;
        let mut at = 0;
        let mut next = || -> Result<Pickle, PthError> {
            let rest = start.get(at..).unwrap_or_default();
            let (pickle, used) = Pickle::parse_start(rest).map_err(|error| match error {
                PickleError::Truncated if start.len() == pickle::LIMIT => PickleError::TooLarge(start.len()),
                error => error,
            })?;
            at += used;
            Ok(pickle)
        };
        let (_magic, _version, machine, saved, keys) = (next()?, next()?, next()?, next()?, next()?);
        if machine.entry(machine.root(), "little_endian") == Some(pickle::Value::Bool(false)) {
            return Err(PthError::ByteOrder);
        }
        let mut widths = HashMap::new();
        for storage in saved.persistents() {
            if let [_, class, key, _, numel, ..] = storage
                && let (Some((_, class)), Some(key), Some(numel)) =
                    (saved.global(*class), saved.text(*key), numel.count())
            {
                widths.insert(key, (width(class), numel as u64));
            }
        }
        let (mut places, mut from) = (HashMap::new(), at as u64);
        for key in keys.sequence(keys.root()).unwrap_or_default() {
            let key = keys.text(*key).ok_or(PthError::Storages)?;
            let (width, numel) = widths.get(key).copied().ok_or(PthError::Storages)?;
            let width = width.ok_or_else(|| PthError::Storage(key.to_owned()))?;
            let mut count = [0; 8];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut count)?;
            let begin = from.checked_add(8).ok_or(PthError::Storages)?;
            let end = numel.checked_mul(width).and_then(|bytes| begin.checked_add(bytes));
            from =
                end.filter(|end| *end <= length && u64::from_le_bytes(count) == numel).ok_or(PthError::Storages)?;
            places.insert(key.to_owned(), begin..from);
        }
        // Nothing else tells that the file is whole: it has no checksums.
        if from != length {
            return Err(PthError::Storages);
        }
        Ok((Self { places: Places::Legacy(file, places), length, last: None }, saved, false))
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of a storage.
    pub(super) fn storage(&mut self, key: &str) -> Result<&[u8], PthError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != key) {
            self.last = Some((key.to_owned(), self.entry(&format!("data/{key}"))?));
        }
        Ok(self.last.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default())
    }

    /// A whole entry of the folder.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>, PthError> {
        match &mut self.places {
            Places::Zip(archive, folder) => {
                let index = archive.index_for_name(&format!("{folder}{name}")).ok_or(ZipError::FileNotFound)?;
                // `torch.serialization.set_crc32_options(False)` leaves the checksums out: they are 0.
                let options = ZipReadOptions::new().ignore_crc32(archive.by_index(index)?.crc32() == 0);
                let entry = archive.by_index_with_options(index, options)?;
                // Stored entries are as long as they say; what others would become is anyone's guess.
                if entry.compression() != CompressionMethod::Stored || entry.size() > self.length {
                    let what = "compressed entries, which torch.save does not write";
                    return Err(ZipError::UnsupportedArchive(what).into());
                }
                let mut bytes = Vec::with_capacity(entry.size() as usize);
                entry.take(self.length).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Places::Legacy(file, places) => {
                let place = name.strip_prefix("data/").and_then(|key| places.get(key)).ok_or(PthError::Storages)?;
                file.seek(SeekFrom::Start(place.start))?;
                let mut bytes = vec![0; (place.end - place.start) as usize];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Bytes of a value of a class of storages, also of those that are not read.
fn width(class: &str) -> Option<u64> {
    let kind = crate::tensors::number::Kind::of(class).map(|kind| kind.width() as u64);
    kind.or(match class {
        "ComplexDoubleStorage" => Some(16),
        "ComplexFloatStorage" => Some(8),
        "QInt32Storage" => Some(4),
        "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => Some(1),
        _ => None,
    })
}
