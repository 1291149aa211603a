//! Files of every kind, as Pillow reads them (tests/python/make_images.py makes them), and what is refused.

use imaging::{ImageError, Pixels, decode, open};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/images")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).expect("a file of tests/images")
}

/// Names and contents of the files that are read, in the order of their names.
fn files() -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("right")).expect("folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_suffix(".png").map(str::to_owned);
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.expect("entry"))).collect();
    names.sort();
    assert!(names.len() > 40);
    names.into_iter().map(|name| (name.clone(), file(&name))).collect()
}

/// Why a file is refused, without its pixels if it is not.
fn refusal(bytes: &[u8], what: &str) -> String {
    let Err(reason) = decode(bytes, 3) else { panic!("read: {what}") };
    reason
}

fn right(name: &str) -> Pixels {
    open(&folder().join("right").join(format!("{name}.png")), 3).expect("a PNG")
}

#[test]
fn every_kind_is_read_to_the_bit() {
    for (name, bytes) in files() {
        let found = decode(&bytes, 3).unwrap_or_else(|error| panic!("{name}: {error}"));
        let right = right(&name);
        assert_eq!((found.height, found.width), (right.height, right.width), "{name}");
        let worst = found.data.iter().zip(&right.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(worst, Some(0), "{name}");
    }
}

#[test]
fn turned_files_come_upright() {
    for name in ["turned.jpg", "turned.png", "turned.webp", "turned.tif"] {
        let image = decode(&file(name), 3).expect("an image");
        assert_eq!((image.height, image.width), (40, 24), "{name}");
    }
}

#[test]
fn channels_come_as_they_are_asked_for() {
    let rgb = decode(&file("baseline.jpg"), 3).expect("image");
    let grey =
        |p: &[u8; 3]| (f64::from(p[0]) * 0.299 + f64::from(p[1]) * 0.587 + f64::from(p[2]) * 0.114).round() as u8;
    let luma: Vec<u8> = rgb.data.as_chunks().0.iter().map(grey).collect();
    let found = decode(&file("baseline.jpg"), 1).expect("image");
    assert!(found.data.iter().zip(&luma).all(|(a, b)| a.abs_diff(*b) <= 1), "Rec. 601");
    assert_eq!(decode(&file("alpha.png"), 4).expect("image").data.as_chunks::<4>().0[0].len(), 4);
    let (seen, opaque) = (decode(&file("alpha.png"), 3).expect("image"), decode(&file("rgb.png"), 3).expect("image"));
    assert_eq!(seen, opaque, "alpha hides nothing");
}

/// Whatever is missing at the end, a file is refused, or as good as whole.
#[test]
fn files_that_are_cut_off_are_refused() {
    for (name, bytes) in files() {
        let whole = decode(&bytes, 3).expect("image");
        let refused = (0..bytes.len()).filter(|end| match decode(&bytes[..*end], 3) {
            Ok(image) => {
                assert_eq!(image, whole, "{name} of {end} bytes of {}", bytes.len());
                false
            }
            Err(reason) => {
                assert!(!reason.is_empty());
                true
            }
        });
        assert!(refused.count() > bytes.len() / 3, "{name}");
    }
}

#[test]
fn jpegs_without_an_end() {
    for name in ["baseline.jpg", "restarts.jpg", "grey.jpg", "half-wide.jpg"] {
        let (bytes, whole) = (file(name), right(name));
        let body = bytes.strip_suffix(&[0xFF, 0xD9]).expect("an end marker");
        assert_eq!(decode(body, 3), Ok(whole.clone()), "{name}: only the marker is missing");
        assert_eq!(decode(&[&bytes[..], b"and more"].concat(), 3), Ok(whole), "{name}: more behind it");
        let half = &body[..body.len() - body.len() / 8];
        assert_eq!(
            decode(&[half, &[0xFF, 0xD9]].concat(), 3),
            Err("it is cut off".into()),
            "{name}: an end too soon"
        );
        for filler in [0, 0xFF] {
            let filled = [half, &vec![filler; 3000][..]].concat();
            assert!(decode(&filled, 3).is_err(), "{name}: {filler} where the rest was never written");
        }
    }
    // All but the last of the scans would be a picture, too.
    let bytes = file("progressive.jpg");
    let scans: Vec<usize> = (0..bytes.len() - 1).filter(|at| bytes[*at..*at + 2] == [0xFF, 0xDA]).collect();
    assert!(scans.len() > 5);
    for scan in scans {
        assert_eq!(decode(&bytes[..scan], 3), Err("it is cut off".into()));
    }
}

#[test]
fn damage_is_no_panic() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    for (name, bytes) in files() {
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            if let Ok(image) = decode(&damaged, 3) {
                assert_eq!(image.data.len(), image.height * image.width * 3, "{name}");
            }
        }
    }
}

#[test]
fn what_is_no_image_is_called_so() {
    let ftyp = |brand: &[u8; 4]| [&[0, 0, 0, 24], &b"ftyp"[..], brand, &[0; 12]].concat();
    let refused: [(Vec<u8>, &str); 14] = [
        (Vec::new(), "it is empty"),
        (vec![0; 4096], "zeros only"),
        (b"id,label\n1,cat\n".to_vec(), "begins as no image does"),
        (b"<!DOCTYPE html><title>404</title>".to_vec(), "a web page"),
        (b"\n  <svg xmlns=".to_vec(), "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "git lfs pull"),
        (vec![0, 5, 0x16, 7, 0, 2, 0, 0], "macOS"),
        (ftyp(b"heic"), "it is HEIC, which is not read: convert it to JPEG or PNG"),
        (ftyp(b"avif"), "AVIF"),
        (ftyp(b"isom"), "a film"),
        (b"\0\0\0\x0CJXL \r\n\x87\n".to_vec(), "JPEG XL"),
        (b"%PDF-1.7".to_vec(), "PDF"),
        (file("first.gif"), "GIF"),
        (file("float.tif"), "floating-point"),
    ];
    for (bytes, reason) in refused {
        let error = refusal(&bytes, reason);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let bytes = file("baseline.jpg");
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a frame");
    for (offset, value, reason) in [
        (1, 0xC3, "lossless"),
        (1, 0xC9, "arithmetic coding"),
        (1, 0xC6, "hierarchical"),
        (4, 12, "12 bits"),
        (9, 2, "makes no sense"),
        (14, 0x31, "unusual sampling"),
    ] {
        let mut other = bytes.clone();
        other[frame + offset] = value;
        let error = refusal(&other, reason);
        assert!(error.contains(reason), "{error}");
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// A few bytes that declare 60,000 x 60,000 pixels are refused before memory for them is asked for.
#[test]
fn giants_are_refused() {
    let mut png = file("rgb.png");
    png[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let mut bmp = file("rgb.bmp");
    bmp[18..26].copy_from_slice(&[0x60, 0xEA, 0, 0, 0x60, 0xEA, 0, 0]);
    let jpeg = |name: &str, marker: u8| {
        let mut bytes = file(name);
        let frame = bytes.windows(2).position(|pair| pair == [0xFF, marker]).expect("a frame");
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
        bytes
    };
    let mut tiff = file("wide-rgb.tif");
    for tag in [1, 0] {
        // Little-endian entries of 12 bytes begin at 10 with those of width and height.
        tiff[10 + 12 * tag + 8..][..4].copy_from_slice(&60_000_u32.to_le_bytes());
    }
    for (what, bytes) in [
        ("png", png),
        ("bmp", bmp),
        ("jpeg", jpeg("baseline.jpg", 0xC0)),
        ("progressive", jpeg("progressive.jpg", 0xC2)),
        ("tiff", tiff),
        ("pnm", b"P6 60000 60000 255\n\0\0\0".to_vec()),
    ] {
        let error = refusal(&bytes, what);
        assert!(error.contains("60000x60000 pixels"), "{what}: {error}");
    }
}

#[test]
fn content_counts_and_names_do_not() {
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().join("a.png");
    fs::write(&path, file("baseline.jpg")).expect("file");
    assert_eq!(open(&path, 3).expect("an image"), right("baseline.jpg"));
    fs::write(&path, b"x").expect("file");
    assert!(matches!(open(&path, 3), Err(ImageError::Decode { .. })));
    assert!(matches!(open(&root.path().join("none.png"), 3), Err(ImageError::Io { .. })));
}
