#!/usr/bin/env bash
# zip 9.8.2 (Rust): where no offset is given, `ZipArchive::new` guesses where the archive begins: it tries the place
# where the directory would begin if nothing lay between it and the end record, and takes it if an entry's signature
# stands there. PyTorch writes zip64 records (56 + 20 bytes) into that gap even in small files. A first entry named
# NAME/data.pkl with a NAME of 21 letters has a header of 46 + 30 bytes in the directory, just as long, so that the
# second entry's signature is found: the offset comes out wrong and the archive is refused. `mae_pretrain_vit_base` has
# 21 letters. With `ArchiveOffset::Known(0)` every name is read; Python's zipfile reads all three.
# Seen: "20 ok ok", "21 InvalidArchive ok", "22 ok ok" (length of the name, default, known offset).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cargo init -q --name zips . >/dev/null 2>&1
cat >>Cargo.toml <<'TOML'
zip = { version = "=9.8.2", default-features = false }
crc32fast = "=1.5.0"
TOML
cat >src/main.rs <<'RUST'
use std::io::Cursor;
use zip::{ZipArchive, read::{ArchiveOffset, Config}, result::ZipError};

/// Two stored files, the directory, zip64 end record and locator, end record: all as APPNOTE.TXT describes them.
fn archive(folder: &str) -> Vec<u8> {
    let data = b"0123456789abcdef";
    let names = ["data.pkl", "version"].map(|name| format!("{folder}/{name}"));
    let mut out = Vec::new();
    let common = |out: &mut Vec<u8>, name: &str| {
        out.extend([0, 0, 0, 0, 0, 0, 0x21, 0]); // flags, method, time, date
        out.extend(crc32fast::hash(data).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend(0_u16.to_le_bytes());
    };
    let mut places = vec![];
    for name in &names {
        places.push(out.len() as u32);
        out.extend(b"PK\x03\x04");
        out.extend(20_u16.to_le_bytes());
        common(&mut out, name);
        out.extend(name.as_bytes());
        out.extend(data);
    }
    let directory = out.len() as u64;
    for (name, place) in names.iter().zip(places) {
        out.extend(b"PK\x01\x02");
        out.extend(45_u16.to_le_bytes());
        out.extend(20_u16.to_le_bytes());
        common(&mut out, name);
        out.extend([0; 10]); // no comment, disk 0, attributes
        out.extend(place.to_le_bytes());
        out.extend(name.as_bytes());
    }
    let (end, size) = (out.len() as u64, out.len() as u64 - directory);
    out.extend(b"PK\x06\x06");
    out.extend(44_u64.to_le_bytes());
    out.extend(45_u16.to_le_bytes());
    out.extend(45_u16.to_le_bytes());
    out.extend([0; 8]);
    for number in [2, 2, size, directory] {
        out.extend(number.to_le_bytes());
    }
    out.extend(b"PK\x06\x07");
    out.extend(0_u32.to_le_bytes());
    out.extend(end.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(b"PK\x05\x06");
    out.extend([0, 0, 0, 0, 2, 0, 2, 0]);
    out.extend((size as u32).to_le_bytes());
    out.extend((directory as u32).to_le_bytes());
    out.extend([0, 0]);
    out
}

fn said<T>(found: Result<T, ZipError>) -> String {
    match found {
        Ok(_) => "ok".into(),
        Err(error) => format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
    }
}

fn main() {
    for letters in [20, 21, 22] {
        let bytes = archive(&"n".repeat(letters));
        std::fs::write(format!("{letters}.zip"), &bytes).expect("written");
        let known = Config { archive_offset: ArchiveOffset::Known(0) };
        let first = said(ZipArchive::new(Cursor::new(&bytes)));
        println!("{letters} {first} {}", said(ZipArchive::with_config(known, Cursor::new(&bytes))));
    }
}
RUST
found=$(cargo run -q)
echo "$found"
[ "$found" = $'20 ok ok\n21 InvalidArchive ok\n22 ok ok' ]
python3 -c 'import zipfile; [zipfile.ZipFile(f"{n}.zip").testzip() and 1 / 0 for n in (20, 21, 22)]'
