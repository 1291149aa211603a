//! Writing what `torch.load(weights_only=True)` reads.

use super::error::PthError;
use crate::tensors::{NamedTensor, Tensors};
use serde_json::{Map, Value as Json};
use std::io::{Cursor, Write as _};
use zip::{
    CompressionMethod, ZipWriter,
    write::{FileOptions, SimpleFileOptions},
};

/// A checkpoint `{"model": OrderedDict(tensors), "args": arguments}` as the bytes of a file; tensors in the order of
/// `order`. Arguments are numbers, texts, truth values and lists of them.
///
/// # Errors
/// If the archive cannot be made.
pub(crate) fn write(order: &[String], tensors: &Tensors, arguments: &Map<String, Json>) -> Result<Vec<u8>, PthError> {
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

pub(super) fn pickled(tensors: &[(&String, &NamedTensor)], arguments: &Map<String, Json>) -> Vec<u8> {
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
        argument(&mut out, value);
    }
    out.extend(b"uu.");
    out
}

fn argument(out: &mut Vec<u8>, value: &Json) {
    match value {
        Json::Bool(flag) => out.push(if *flag { 0x88 } else { 0x89 }),
        Json::String(value) => text(out, value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => int(out, number),
            None => {
                out.push(b'G');
                out.extend(number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
            }
        },
        Json::Array(values) => {
            out.extend(b"](");
            values.iter().for_each(|value| argument(out, value));
            out.push(b'e');
        }
        Json::Null | Json::Object(_) => out.push(b'N'),
    }
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
