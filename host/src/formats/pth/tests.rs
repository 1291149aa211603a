//! Tests against files of PyTorch.

use super::{write::pickled, *};
use crate::formats::pickle::PickleError;
use crate::tensors::{NamedTensor, Tensors, safetensors};
use proptest::prelude::*;
use std::{
    io::{Cursor, Write as _},
    path::PathBuf,
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests")).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tensors under `model`, or else of the root, and `args`.
#[derive(Debug, PartialEq)]
struct Pth {
    tensors: Tensors,
    arguments: Map<String, Json>,
}

fn open(bytes: &[u8]) -> Result<Pth, PthError> {
    let mut archive = Archive::open(Cursor::new(bytes))?;
    let has_model = archive.groups().iter().any(|group| group.path == "model");
    let tensors = archive.read(if has_model { "model" } else { "" })?.tensors;
    let arguments = archive.arguments().into_iter().find(|(origin, _)| *origin == "args");
    Ok(Pth { tensors, arguments: arguments.map(|(_, values)| values).unwrap_or_default() })
}

#[test]
fn the_official_file_equals_its_safetensors_twin() {
    let twin = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32/checkpoint.safetensors"));
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
    assert_eq!((bare.tensors, bare.arguments.len()), (odd.tensors.clone(), 0));
    assert_eq!(open(&file("checkpoints/legacy.pth")).expect("a checkpoint"), odd);
}

#[test]
fn other_files_are_named() {
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
    fn no_truncated_or_changed_file_panics(
        cut in 0.0..1.0_f64,
        at in prop::collection::vec(0.0..1.0_f64, 1..8),
        mask in 1..=255_u8,
    ) {
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
