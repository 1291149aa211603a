#!/usr/bin/env bash
# safetensors 0.8.0 (Rust): `serialize` of no tensors with an empty map of metadata makes a header that `deserialize`
# of the same version refuses; with no map, or with one entry in it, it is read.
# Seen: "None ok", "Some(0) InvalidHeader...", "Some(1) ok".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cargo init -q --name empty . >/dev/null 2>&1
echo 'safetensors = "=0.8.0"' >>Cargo.toml
cat >src/main.rs <<'RUST'
use safetensors::{SafeTensors, serialize, tensor::TensorView};
use std::collections::HashMap;

fn main() {
    let one = HashMap::from([("a".to_owned(), "b".to_owned())]);
    for metadata in [None, Some(HashMap::new()), Some(one)] {
        let shown = metadata.as_ref().map(HashMap::len);
        let bytes = serialize(Vec::<(String, TensorView<'_>)>::new(), metadata).expect("written");
        let read = SafeTensors::deserialize(&bytes);
        println!("{shown:?} {}", read.map_or_else(|error| format!("{error:?}"), |_| "ok".into()));
    }
}
RUST
found=$(cargo run -q)
echo "$found"
grep -qx 'None ok' <<<"$found"
grep -qE '^Some\(0\) InvalidHeader' <<<"$found"
grep -qx 'Some(1) ok' <<<"$found"
