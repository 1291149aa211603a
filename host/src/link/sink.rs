//! Where received features go: `.npy`, `.csv` or `.jsonl`, usable after every feature.
//!
//! The two CSV files are written here, not by the crate `csv` (tried: 1.4): here names and classes are quoted,
//! numbers, the header and a class that is missing are not, and none of its quoting styles does that; and a row has
//! to be whole before it is written, so that the file can be cut back to the row before if the disk is full.

use super::names::escaped;
use anyhow::Context as _;
use common::wire::Feature;
use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// Bytes of the `.npy` header, data behind it.
const HEADER: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Csv,
    Jsonl,
}

/// A name that no format belongs to.
#[derive(Debug, thiserror::Error)]
#[error("{}: the name must end in .npy, .csv or .jsonl", .0.display())]
pub struct NameError(pub PathBuf);

/// A file that grows by one feature at a time; after a failure it holds all whole features before it.
#[derive(Debug)]
pub struct Sink {
    path: PathBuf,
    format: Format,
    file: File,
    names: Option<File>,
    classes: Option<File>,
    dim: Option<usize>,
    count: usize,
}

impl Sink {
    /// Makes the file; its format follows its extension.
    ///
    /// # Errors
    /// If the extension is unknown or the file cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let format = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => Format::Npy,
            Some("csv") => Format::Csv,
            Some("jsonl") => Format::Jsonl,
            _ => return Err(NameError(path.into()).into()),
        };
        let make = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let file = make(path)?;
        let names = (format == Format::Npy).then(|| make(&names_path(path))).transpose()?;
        Ok(Self { path: path.into(), format, file, names, classes: None, dim: None, count: 0 })
    }

    /// Features written.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Removes files that hold nothing: they would pass for a result.
    pub fn discard_if_empty(self) {
        let Self { path, count, .. } = self;
        if count == 0 {
            drop(fs::remove_file(&path));
            drop(fs::remove_file(names_path(&path)));
            drop(fs::remove_file(classes_path(&path)));
        }
    }

    /// Appends a feature with the name and the score of its class.
    ///
    /// # Errors
    /// If its length differs from the first one's, or the disk is full; the file then keeps what it had.
    pub fn push(&mut self, feature: &Feature, class: Option<&(String, f32)>) -> anyhow::Result<()> {
        let dim = *self.dim.get_or_insert(feature.values.len());
        if dim != feature.values.len() {
            anyhow::bail!("a feature of {} values came after features of {dim}", feature.values.len());
        }
        let shown = self.path.display().to_string();
        let result = match self.format {
            Format::Npy => self.push_npy(feature, class, dim),
            Format::Csv => self.push_text(&csv_row(feature, class, self.count == 0)),
            Format::Jsonl => self.push_text(&json_row(feature, class)),
        };
        result.with_context(|| format!("cannot write {shown}; it holds the {} features before", self.count))?;
        self.count += 1;
        Ok(())
    }

    /// Data first, then the header that counts it: a reader never sees half a feature.
    fn push_npy(&mut self, feature: &Feature, class: Option<&(String, f32)>, dim: usize) -> std::io::Result<()> {
        if self.count == 0 {
            self.file.write_all(&npy_header(0, dim))?;
        }
        let bytes: Vec<u8> = feature.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let end = (HEADER + self.count * bytes.len()) as u64;
        self.file.seek(SeekFrom::Start(end))?;
        self.file.write_all(&bytes)?;
        if let Some(names) = &mut self.names {
            writeln!(names, "{}", escaped(&feature.name))?;
        }
        self.push_class(feature, class)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&npy_header(self.count + 1, dim))
    }

    /// A line in the file of classes, which is made when the first class comes.
    fn push_class(&mut self, feature: &Feature, class: Option<&(String, f32)>) -> std::io::Result<()> {
        if self.classes.is_none() && class.is_some() {
            let mut file = File::create(classes_path(&self.path))?;
            // One line a feature, also for those that came before without a class.
            file.write_all(format!("name,class,score\n{}", ",,\n".repeat(self.count)).as_bytes())?;
            self.classes = Some(file);
        }
        match &mut self.classes {
            Some(file) => file.write_all(format!("{},{}\n", quoted(&feature.name), class_columns(class)).as_bytes()),
            None => Ok(()),
        }
    }

    fn push_text(&mut self, row: &str) -> std::io::Result<()> {
        let before = self.file.stream_position()?;
        let result = self.file.write_all(row.as_bytes());
        if result.is_err() {
            self.file.set_len(before)?;
        }
        result
    }
}

/// The names beside a `.npy` file, one a line and [`escaped`].
#[must_use]
pub fn names_path(path: &Path) -> PathBuf {
    path.with_extension("names.txt")
}

/// The classes beside a `.npy` file.
#[must_use]
pub fn classes_path(path: &Path) -> PathBuf {
    path.with_extension("classes.csv")
}

/// A text that also stays in its line.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\"\""))
}

/// Class and score, empty where there is no class.
fn class_columns(class: Option<&(String, f32)>) -> String {
    class.map_or_else(|| ",".into(), |(name, score)| format!("{},{score}", quoted(name)))
}

/// NumPy's format 1.0 (`numpy.lib.format`), padded to a fixed length so that it can be rewritten in place.
fn npy_header(rows: usize, dim: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

fn csv_row(feature: &Feature, class: Option<&(String, f32)>, first: bool) -> String {
    use std::fmt::Write as _;
    let mut row = String::new();
    if first {
        row.push_str("frame,name,kept,patches,micros,class,score");
        for i in 0..feature.values.len() {
            let _ = write!(row, ",f{i}");
        }
        row.push('\n');
    }
    let Feature { frame, kept, patches, micros, .. } = feature;
    let _ = write!(row, "{frame},{},{kept},{patches},{micros},{}", quoted(&feature.name), class_columns(class));
    for value in &feature.values {
        let _ = write!(row, ",{value}");
    }
    row.push('\n');
    row
}

fn json_row(feature: &Feature, class: Option<&(String, f32)>) -> String {
    let mut row = serde_json::json!({
        "frame": feature.frame,
        "name": feature.name,
        "kept": feature.kept,
        "patches": feature.patches,
        "micros": feature.micros,
        "feature": feature.values,
    });
    if let Some((name, score)) = class {
        row["class"] = name.as_str().into();
        row["score"] = (*score).into();
    }
    format!("{row}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::model::Pooling;

    fn feature(frame: u32) -> Feature {
        let values = vec![frame as f32, -1.5, 0.25];
        let name = format!("a \"{frame}\".jpg");
        Feature { frame, name, kept: 1, patches: 4, pooling: Pooling::Cls, micros: 9, class: None, values }
    }

    #[test]
    fn every_format_is_whole_after_every_feature() {
        let root = tempfile::tempdir().expect("folder");
        for name in ["f.npy", "f.csv", "f.jsonl"] {
            let path = root.path().join(name);
            let mut sink = Sink::create(&path).expect("create");
            for frame in 0..3 {
                let class = (frame > 0).then(|| ("a \"cat\"".to_owned(), 0.75));
                sink.push(&feature(frame), class.as_ref()).expect("push");
                let rows = frame as usize + 1;
                match name {
                    "f.npy" => {
                        let array: ndarray::Array2<f32> = ndarray_npy::read_npy(&path).expect("npy");
                        assert_eq!(array.dim(), (rows, 3));
                        assert_eq!(array.row(rows - 1).to_vec(), feature(frame).values);
                        let names = fs::read_to_string(names_path(&path)).expect("names");
                        assert_eq!(names.lines().count(), rows);
                        let classes = fs::read_to_string(classes_path(&path)).unwrap_or_default();
                        let line = classes.lines().last().unwrap_or_default();
                        let wanted = (
                            if frame > 0 { rows + 1 } else { 0 },
                            if frame > 0 {
                                format!("\"a \"\"{frame}\"\".jpg\",\"a \"\"cat\"\"\",0.75")
                            } else {
                                String::new()
                            },
                        );
                        assert_eq!((classes.lines().count(), line), (wanted.0, wanted.1.as_str()));
                    }
                    "f.csv" => {
                        let text = fs::read_to_string(&path).expect("csv");
                        assert_eq!(text.lines().count(), rows + 1);
                        assert!(text.starts_with(
                            "frame,name,kept,patches,micros,class,score,f0,f1,f2\n0,\"a \"\"0\"\".jpg\",1,4,9,,,0,"
                        ));
                    }
                    _ => {
                        let text = fs::read_to_string(&path).expect("jsonl");
                        let last: serde_json::Value =
                            serde_json::from_str(text.lines().last().expect("row")).expect("json");
                        assert_eq!(last["feature"][1], -1.5);
                        assert_eq!(last["score"].as_f64(), (frame > 0).then_some(0.75));
                    }
                }
            }
            assert!(sink.push(&Feature { values: vec![1.0], ..feature(9) }, None).is_err());
            assert_eq!(sink.count(), 3);
        }
        assert!(Sink::create(&root.path().join("f.txt")).is_err());
    }
}
