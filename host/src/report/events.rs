//! TensorBoard event files.
//!
//! The format is written here rather than by a crate: of those on crates.io (looked at on 2026-11-25), `tboard` 0.1.1
//! and `tfrecord` 0.15.0 need a second, older prost (0.12) with `prost-build`, `tfrecord` also downloads while
//! building for some features, and `tensorboard-rs` 0.5.9 needs `image` 0.23 and `protobuf` 2. The few messages and
//! the record framing are short beside that, with prost and crc, which are dependencies already.
//!
//! A file is a sequence of records: length (u64), masked CRC-32C of the length, an `Event` message, its masked
//! CRC-32C; all little-endian. TensorBoard reads the files of a folder in the order of their names.

use crate::clock;
use anyhow::Context as _;
use crc::{CRC_32_ISCSI, Crc};
use prost::Message as _;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// What the names of event files hold, by which TensorBoard finds them.
const NAME: &str = ".tfevents.";

/// `tensorflow.Event`, as far as it is used here.
#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 4: RGBA.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// A PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionLog {
    /// 1: start.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts a new file in `folder` for steps after `step`: what earlier files say about later steps is dropped by
    /// TensorBoard. With `step` 0 earlier event files, which are of a run that came to no checkpoint, are removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(folder: &Path, step: usize) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write event files in {}", folder.display());
        fs::create_dir_all(folder).with_context(cannot)?;
        if step == 0 {
            for entry in fs::read_dir(folder).with_context(cannot)? {
                let entry = entry.with_context(cannot)?;
                if entry.file_name().to_string_lossy().contains(NAME) {
                    fs::remove_file(entry.path()).with_context(cannot)?;
                }
            }
        }
        let (path, file) = loop {
            let now = clock::now();
            let path = folder.join(format!("events.out{NAME}{:010}.{:06}.mae", now.as_secs(), now.subsec_micros()));
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(cannot),
            }
        };
        let mut events = Self { path, file };
        events.write(0, What::FileVersion("brain.Event:2".into()))?;
        // From its step on, TensorBoard drops what it read before.
        events.write(step + 1, What::SessionLog(SessionLog { status: 1 }))?;
        Ok(events)
    }

    /// Adds one value for each name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn scalars(&mut self, step: usize, values: &[(&str, f64)]) -> anyhow::Result<()> {
        let value =
            |(tag, value): &(&str, f64)| Value { tag: (*tag).into(), content: Some(Content::Scalar(*value as f32)) };
        self.write(step, What::Summary(Summary { value: values.iter().map(value).collect() }))
    }

    /// Adds an RGBA picture, `png`, of `height` by `width` pixels.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn image(&mut self, step: usize, tag: &str, size: (usize, usize), png: Vec<u8>) -> anyhow::Result<()> {
        let image = Image { height: size.0 as i32, width: size.1 as i32, colorspace: 4, encoded: png };
        let value = Value { tag: tag.into(), content: Some(Content::Image(image)) };
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    fn write(&mut self, step: usize, what: What) -> anyhow::Result<()> {
        let event = Event { wall_time: clock::now().as_secs_f64(), step: step as i64, what: Some(what) };
        // One write a record: a training that is killed leaves whole records.
        let written = self.file.write_all(&frame(&event.encode_to_vec()));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A record around `data`.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

/// The CRC as the format stores it, so that a CRC over data that holds CRCs is no problem.
fn masked(data: &[u8]) -> u32 {
    CRC_32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a file of whole records; `None` if a length or a CRC is wrong.
    fn read(mut bytes: &[u8]) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at_checked(12)?;
            let (length, crc) = head.split_at(8);
            let count = u64::from_le_bytes(length.try_into().ok()?) as usize;
            let (data, rest) = rest.split_at_checked(count)?;
            let (data_crc, rest) = rest.split_at_checked(4)?;
            if crc != masked(length).to_le_bytes() || data_crc != masked(data).to_le_bytes() {
                return None;
            }
            events.push(Event::decode(data).ok()?);
            bytes = rest;
        }
        Some(events)
    }

    #[test]
    fn crcs_are_castagnoli_and_masked() {
        // RFC 3720, B.4: 32 bytes of zeros have CRC-32C 0x8a9136aa.
        assert_eq!(CRC_32C.checksum(&[0; 32]), 0x8a91_36aa);
        // Rotated right by 15, plus 0xa282ead8.
        assert_eq!(masked(&[0; 32]), 0x0fd7_fffa);
    }

    #[test]
    fn records_come_back_and_damage_is_seen() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let mut file = EventFile::start(root.path(), 7)?;
        file.scalars(8, &[("loss", 0.5), ("lr", 1e-3)])?;
        file.image(9, "picture", (2, 3), vec![1, 2, 3])?;
        let mut bytes = fs::read(&file.path)?;
        let events = read(&bytes).context("whole records")?;
        assert_eq!(events.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 8, 8, 9]);
        assert_eq!(events[1].what, Some(What::SessionLog(SessionLog { status: 1 })));
        let Some(What::Summary(summary)) = &events[2].what else { anyhow::bail!("{:?}", events[2]) };
        assert_eq!(summary.value[1].content, Some(Content::Scalar(1e-3)));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(read(&bytes).is_none());
        Ok(())
    }

    #[test]
    fn a_later_start_sorts_behind_and_a_start_from_nothing_clears_the_folder() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let first = EventFile::start(root.path(), 0)?.path;
        let second = EventFile::start(root.path(), 5)?.path;
        assert!(first < second && first.exists());
        EventFile::start(root.path(), 0)?;
        assert_eq!(fs::read_dir(root.path())?.count(), 1);
        Ok(())
    }
}
