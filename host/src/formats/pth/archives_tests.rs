//! Tests of what may be around the tensors: containers, dictionaries, modules, other types.

use super::*;
use crate::{
    formats::choice::choose,
    tensors::{NamedTensor, Tensors},
};
use crc::{CRC_32_ISO_HDLC, Crc};
use proptest::prelude::*;
use std::{io::Cursor, path::PathBuf, time::Instant};

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/checkpoints")).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn open(bytes: &[u8]) -> Result<Archive<Cursor<&[u8]>>, PthError> {
    Archive::open(Cursor::new(bytes))
}

/// How PyTorch lays an archive out: data behind padded headers, descriptors behind the data, zip64 records.
#[derive(Debug, Clone)]
struct Layout {
    folder: String,
    /// Which entries there are besides those that are needed.
    extras: [bool; 5],
    /// The records for more than 4 GiB, which PyTorch always writes.
    zip64: bool,
    /// Lengths and checksum behind the data instead of in front.
    descriptors: bool,
    /// Whether there are checksums, which PyTorch can leave out.
    checksums: bool,
}

impl Layout {
    fn archive(&self, pickle: &[u8], storage: &[u8]) -> Vec<u8> {
        let named: [(&str, &[u8]); 5] = [
            (".format_version", b"1"),
            (".storage_alignment", b"64"),
            ("byteorder", b"little"),
            ("version", b"3\n"),
            (".data/serialization_id", b"0636457737946401051300000025273995036293"),
        ];
        let extras = |range: std::ops::Range<usize>| {
            range.filter(|index| self.extras[*index]).map(|index| named[index]).collect::<Vec<_>>()
        };
        let needed: [(&str, &[u8]); 2] = [("data.pkl", pickle), ("data/0", storage)];
        let entries = [&needed[..1], &extras(0..3), &needed[1..], &extras(3..5)].concat();
        let (mut out, mut directory) = (vec![], vec![]);
        for (name, bytes) in &entries {
            let (name, begin) = (format!("{}/{name}", self.folder), out.len() as u32);
            let crc = if self.checksums { Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(bytes) } else { 0 };
            let sizes = [crc, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
            let flags = if self.descriptors { [8, 8] } else { [0, 8] };
            let padding = 64 - (out.len() + 30 + name.len() + 4) % 64;
            out.extend(b"PK\x03\x04\0\0");
            out.extend([&flags[..], &[0; 6]].concat());
            out.extend(if self.descriptors { vec![0; 12] } else { sizes.clone() });
            out.extend([(name.len() as u16).to_le_bytes(), (4 + padding as u16).to_le_bytes()].concat());
            out.extend(name.as_bytes());
            out.extend([b"FB", &(padding as u16).to_le_bytes()[..], &vec![b'Z'; padding]].concat());
            out.extend(*bytes);
            if self.descriptors {
                out.extend([b"PK\x07\x08", &sizes[..]].concat());
            }
            directory.extend([b"PK\x01\x02\0\0\0\0", &flags[..], &[0; 6], &sizes].concat());
            directory.extend([(name.len() as u16).to_le_bytes().as_slice(), &[0; 12]].concat());
            directory.extend(begin.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let (place, length, count) = (out.len() as u64, directory.len() as u64, entries.len() as u64);
        out.extend(directory);
        if self.zip64 {
            let end = out.len() as u64;
            out.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x1e\x03\x2d\0\0\0\0\0\0\0\0\0");
            [count, count, length, place].iter().for_each(|number| out.extend(number.to_le_bytes()));
            out.extend([b"PK\x06\x07\0\0\0\0", &end.to_le_bytes()[..], &[1, 0, 0, 0]].concat());
        }
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([count as u16; 2].map(u16::to_le_bytes).concat());
        out.extend([length as u32, place as u32].map(u32::to_le_bytes).concat());
        out.extend([0, 0]);
        out
    }
}

/// A pickle of one tensor `w` of two values.
fn one_tensor() -> (Vec<u8>, Vec<u8>, NamedTensor) {
    let (name, tensor) = ("w".to_owned(), NamedTensor { shape: vec![2], data: vec![1.5, -2.0] });
    let pickle = write::pickled(&[(&name, &tensor)], &Map::new());
    (pickle, tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect(), tensor)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_archive_is_read_under_every_name(
        folder in prop_oneof!["[a-z_]{1,99}", "[A-Za-z0-9 ._ä模()-]{1,140}", "[a-z]{19,23}"],
        extras: [bool; 5],
        zip64: bool,
        descriptors: bool,
        checksums: bool,
        cut in 0.0..1.0_f64,
    ) {
        let (pickle, storage, tensor) = one_tensor();
        let bytes = Layout { folder, extras, zip64, descriptors, checksums }.archive(&pickle, &storage);
        let loaded = open(&bytes).and_then(|mut archive| archive.read("model"));
        prop_assert_eq!(loaded.expect("a checkpoint").tensors, Tensors::from([("w".to_owned(), tensor)]));
        let place = (bytes.len() as f64 * cut) as usize;
        prop_assert!(open(&bytes[..place]).is_err());
    }

    // Before 1.6 there are no checksums; lengths alone tell that a file is whole.
    #[test]
    fn a_cut_or_changed_file_before_1_6_does_not_panic(
        cut in 0.0..1.0_f64,
        at in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..8),
    ) {
        let whole = file("legacy.pth");
        let place = |share: f64| (whole.len() as f64 * share) as usize;
        prop_assert!(open(&whole[..place(cut)]).is_err());
        prop_assert!(open(&[&whole[..], &[0]].concat()).is_err());
        let mut changed = whole.clone();
        at.iter().for_each(|(share, byte)| changed[place(*share)] = *byte);
        if let Ok(mut archive) = open(&changed) {
            archive.arguments();
            for group in archive.groups() {
                let _ = archive.read(&group.path);
            }
        }
    }
}

#[test]
fn files_before_1_6_are_known_by_their_start() {
    let magic = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46];
    assert!(is_legacy(&[&[0x80, 2], &magic[..]].concat()));
    assert!(is_legacy(&[&[0x80, 4, 0x95, 13, 0, 0, 0, 0, 0, 0, 0], &magic[..]].concat()));
    assert!(!is_legacy(&[0x80, 4, 0x95]) && !is_legacy(&[0x80]) && !is_legacy(b"PK"));
}

#[test]
fn the_papers_file_is_read_under_its_own_name() {
    let (found, other) = (file("mae_pretrain_vit_base.pth"), file("odd.pth"));
    let mut found = open(&found).expect("a checkpoint");
    let mut other = open(&other).expect("a checkpoint");
    assert_eq!(found.read("model").expect("tensors"), other.read("model").expect("tensors"));
    assert_eq!(found.arguments(), other.arguments());
}

#[test]
fn every_model_in_a_file_is_found_and_its_arguments() {
    let bytes = file("groups.pth");
    let mut archive = open(&bytes).expect("a checkpoint");
    let groups = archive.groups();
    let paths: Vec<&str> = groups.iter().map(|group| group.path.as_str()).collect();
    assert_eq!(paths, ["teacher", "model_ema.state_dict", "model"]);
    let first = |archive: &mut Archive<_>, path: &str| {
        let loaded = archive.read(path).expect("tensors");
        loaded.tensors.into_iter().next().map(|(name, tensor)| (name, tensor.data[1]))
    };
    let embedding = "patch_embed.proj.weight";
    assert_eq!(first(&mut archive, "model"), Some((embedding.into(), 0.25)));
    assert_eq!(first(&mut archive, "teacher"), Some((embedding.into(), 1.25)));
    assert_eq!(first(&mut archive, "model_ema.state_dict"), Some((format!("module.{embedding}"), 2.25)));
    assert!(archive.read("optimizer.state.0").is_err());
    let choice = choose(&groups, None).expect("a choice");
    assert_eq!(
        (choice.path.as_str(), choice.others),
        ("model", vec!["teacher".into(), "model_ema.state_dict".into()])
    );
    let arguments = archive.arguments();
    let expected = serde_json::json!({
        "model": { "num_heads": 3, "img_size": [32, 64] }, "classes": ["a", "b"],
    });
    assert_eq!(arguments.len(), 1);
    assert_eq!((arguments[0].0, Json::Object(arguments[0].1.clone())), ("hyper_parameters", expected));
}

#[test]
fn a_whole_module_gives_what_its_state_dict_would() {
    let bytes = file("module.pth");
    let mut archive = open(&bytes).expect("a checkpoint");
    assert_eq!(archive.groups().len(), 1);
    let loaded = archive.read("net").expect("tensors");
    let names: Vec<&str> = loaded.tensors.keys().map(String::as_str).collect();
    let norm = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];
    let norm: Vec<String> = norm.iter().map(|name| format!("1.norm.{name}")).collect();
    let expected: Vec<&str> = ["0.bias", "0.weight"].into_iter().chain(norm.iter().map(String::as_str)).collect();
    assert_eq!(names, [&expected[..], &["1.table"]].concat());
    assert_eq!(loaded.tensors["0.weight"], NamedTensor { shape: vec![2, 2], data: vec![0.0, 1.0, 2.0, 3.0] });
    assert_eq!(loaded.tensors["1.table"].data, [0.0, 0.25, 0.5, 0.75]);
}

#[test]
fn other_types_are_read_or_told() {
    let bytes = file("kinds.pth");
    let loaded = open(&bytes).expect("a checkpoint").read("").expect("tensors");
    let values = |name: &str| loaded.tensors[name].data.clone();
    assert_eq!((values("uint16"), values("uint32")), (vec![1.0, 65535.0], vec![1.0, 2_147_483_648.0]));
    assert_eq!((values("uint64"), values("int8")), (vec![1.0, 1_099_511_627_776.0], vec![-128.0, 127.0]));
    assert_eq!((values("e5m2"), values("e4m3")), (vec![1.25, -57344.0], vec![1.375, -448.0]));
    let told: Vec<(&str, &str)> = loaded.unreadable.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert_eq!(
        told,
        [
            ("complex", "has the type torch.ComplexFloatStorage, which is not read"),
            ("fnuz", "has the type torch.float8_e4m3fnuz, which is not read"),
            ("meta", "is made by torch's _rebuild_meta_tensor_no_storage, which is not read"),
            ("sparse", "is made by torch's _rebuild_sparse_tensor, which is not read"),
        ]
    );
    let bytes = file("kinds-legacy.pth");
    let loaded = open(&bytes).expect("a checkpoint").read("").expect("tensors");
    assert_eq!(loaded.tensors["int8"].data, [-128.0, 127.0]);
    assert!(loaded.unreadable["complex"].contains("ComplexFloatStorage"));
}

/// A small file that means something huge: one list or module stands in many places.
#[test]
fn what_stands_in_many_places_fills_no_memory() {
    let begun = Instant::now();
    let layout = Layout { folder: "a".into(), extras: [false; 5], zip64: true, descriptors: true, checksums: true };
    let (one, storage, tensor) = one_tensor();
    // Everything of `one_tensor` but the end, and then an entry more.
    let with = |key: &str, value: &[u8]| {
        let key = [b"X", &(key.len() as u32).to_le_bytes()[..], key.as_bytes()].concat();
        let pickle = [&one[..one.len() - 1], b"(", &key, value, b"u."].concat();
        layout.archive(&pickle, &storage)
    };
    // Lists of a thousand times the list before.
    let mut value = b"](".to_vec();
    value.extend(b"K\x01".repeat(1000));
    value.extend(b"eq\x63");
    for _ in 0..3 {
        value.extend(b"0](");
        value.extend(b"h\x63".repeat(1000));
        value.extend(b"eq\x63");
    }
    let bytes = with("config", &[b"}X\x01\0\0\0k", &value[..], b"s"].concat());
    let mut archive = open(&bytes).expect("a checkpoint");
    assert!(archive.arguments().iter().all(|(_, values)| values.is_empty()));
    assert_eq!(archive.read("model").expect("tensors").tensors["w"], tensor);
    // Modules of twice the module before: c.m() with the state {_parameters: {}, _modules: {a: M, b: M}}.
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let mut value = b"Nq\x63".to_vec();
    for _ in 0..40 {
        value.extend(b"0cc\nm\n)\x81}(");
        value.extend([text("_parameters"), b"}".to_vec(), text("_modules"), b"}(".to_vec()].concat());
        value.extend([text("a"), b"h\x63".to_vec(), text("b"), b"h\x63".to_vec(), b"uubq\x63".to_vec()].concat());
    }
    let bytes = with("net", &value);
    assert_eq!(open(&bytes).expect("a checkpoint").read("model").expect("tensors").tensors["w"], tensor);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
