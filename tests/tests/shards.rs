//! Checkpoints in several files, through `host import`.

use host::tensors::{Tensors, is_encoder, safetensors};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::run;

/// The hash of the encoder in `tests/parity/mae-32`.
const MODEL: &str = "f3a430a4dcef4ad4";

struct Folder(tempfile::TempDir);

impl Folder {
    /// The model of `tests/parity/mae-32` in three parts, with their index.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("folder"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32/checkpoint.safetensors");
        let all = safetensors::read(&path).expect("parity").0;
        let all: Tensors = all.into_iter().filter(|(name, _)| is_encoder(name) || name == "pos_embed").collect();
        let mut map = serde_json::Map::new();
        for part in 0..3 {
            let tensors = all.iter().enumerate().filter(|(index, _)| index % 3 == part);
            let tensors: Tensors = tensors.map(|(_, (name, tensor))| (name.clone(), tensor.clone())).collect();
            tensors.keys().for_each(|name| drop(map.insert(name.clone(), Self::part(part).into())));
            safetensors::write(&folder.path(&Self::part(part)), &tensors, Default::default()).expect("file");
        }
        folder.index(&map);
        folder
    }

    fn part(part: usize) -> String {
        format!("model-{:05}-of-00003.safetensors", part + 1)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn index(&self, map: &serde_json::Map<String, serde_json::Value>) {
        let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        fs::write(self.path("model.safetensors.index.json"), index.to_string()).expect("file");
    }

    fn map(&self) -> serde_json::Map<String, serde_json::Value> {
        let text = fs::read_to_string(self.path("model.safetensors.index.json")).expect("file");
        let index: serde_json::Value = serde_json::from_str(&text).expect("json");
        index["weight_map"].as_object().expect("a map").clone()
    }

    fn import(&self, name: &str) -> (Option<i32>, String) {
        let (file, out) = (self.path(name).display().to_string(), self.path("run").display().to_string());
        let _ = fs::remove_dir_all(&out);
        let output = run("host", &["import", "--checkpoint", &file, "--num-heads", "3", "--out", &out]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    fn refused(&self, name: &str, code: i32, wanted: &[&str]) {
        let (found, text) = self.import(name);
        assert_eq!(found, Some(code), "{text}");
        assert!(!self.path("run").exists());
        wanted.iter().for_each(|wanted| assert!(text.contains(wanted), "{text:?} lacks {wanted:?}"));
    }
}

#[test]
fn parts_are_read_through_their_index() {
    let folder = Folder::new();
    for name in ["", "model.safetensors.index.json"] {
        let (code, text) = folder.import(name);
        assert!(code == Some(0) && text.contains(&format!("(model {MODEL})")), "{text}");
        assert!(text.contains("model.safetensors.index.json"), "{text}");
    }
    // Several models of parts lie in one folder: each has its index.
    fs::rename(folder.path("model.safetensors.index.json"), folder.path("other.index.json")).expect("renamed");
    let (code, text) = folder.import("other.index.json");
    assert!(code == Some(0) && text.contains(MODEL), "{text}");
}

#[test]
fn a_part_alone_says_that_it_is_one() {
    let folder = Folder::new();
    folder.refused(&Folder::part(1), 2, &["one of 3 parts", "name its folder, or", "model.safetensors.index.json"]);
    fs::remove_file(folder.path("model.safetensors.index.json")).expect("removed");
    folder.refused("", 2, &["several files", "model.safetensors.index.json", "download it"]);
    // The only part of one is a file like any other.
    fs::remove_file(folder.path(&Folder::part(2))).expect("removed");
    fs::rename(folder.path(&Folder::part(0)), folder.path("model-00001-of-00001.safetensors")).expect("renamed");
    folder.refused("model-00001-of-00001.safetensors", 1, &["model-00001-of-00001.safetensors"]);
}

#[test]
fn an_index_that_does_not_fit_its_parts_is_refused_with_what_is_wrong() {
    let folder = Folder::new();
    let map = folder.map();
    let with = |name: &str, place: &str| {
        let mut map = map.clone();
        map.insert(name.into(), place.into());
        folder.index(&map);
    };
    with("head.weight", &Folder::part(0));
    folder.refused("", 1, &["`head.weight` is not in model-00001-of-00003.safetensors"]);
    for outside in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        with("cls_token", outside);
        folder.refused("", 1, &["not one in its folder", outside]);
    }
    with("cls_token", "model-00004-of-00003.safetensors");
    folder.refused("", 1, &["part model-00004-of-00003.safetensors is missing"]);
    folder.index(&map);
    fs::copy(folder.path(&Folder::part(0)), folder.path(&Folder::part(1))).expect("copied");
    folder.refused("", 1, &["is not in model-00002-of-00003.safetensors"]);
    let only: serde_json::Map<_, _> = map.into_iter().filter(|(_, place)| *place != *Folder::part(1)).collect();
    let mut twice = only.clone();
    let first = only.iter().find(|(_, place)| **place == *Folder::part(0)).expect("a tensor").0;
    twice.insert(first.clone(), Folder::part(1).into());
    folder.index(&twice);
    folder.refused("", 1, &["and in another part, too"]);
    for text in ["{}", "[1]", "no JSON", "{\"weight_map\": [1]}", ""] {
        fs::write(folder.path("model.safetensors.index.json"), text).expect("file");
        folder.refused("", 1, &["no index of shards", "name a file of weights, or the folder"]);
    }
    fs::write(folder.path("config.json"), "{\"hidden_size\": 48}").expect("file");
    folder.refused("config.json", 1, &["config.json", "no index of shards"]);
    fs::write(folder.path(&Folder::part(0)), "damaged").expect("file");
    folder.index(&only);
    folder.refused("", 1, &["model-00001-of-00003.safetensors"]);
}

#[test]
fn what_is_no_file_of_weights_is_named() {
    let folder = Folder::new();
    let tar = [&[b'x'; 257][..], b"ustar  \0", &[0; 247]].concat();
    for (name, bytes, wanted) in [
        ("old.pth.tar", &tar[..], "a tar archive, as PyTorch wrote before 0.2"),
        ("packed.pth.gz", b"\x1f\x8b\x08\0", "compressed with gzip: unpack it"),
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("page.pth", b"\n<!DOCTYPE html><html>", "a web page"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("arrays.pkl", b"\x80\x04\x95\0", "a pickle, but none of torch.save"),
        ("text.pth", b"weights", "neither a PyTorch checkpoint (.pth) nor a safetensors file"),
        ("empty.pth", b"", "neither a PyTorch checkpoint (.pth) nor a safetensors file"),
    ] {
        fs::write(folder.path(name), bytes).expect("file");
        folder.refused(name, 1, &[name, wanted]);
    }
}
