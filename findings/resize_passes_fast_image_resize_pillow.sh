#!/usr/bin/env bash
# fast_image_resize 6.1.0 (Rust) and Pillow 13.0.0 resize in two passes with 8 bits between them. fast_image_resize does
# 8-bit images columns first, always. Pillow 13 does rows first, except where the height shrinks by more than twice as
# many pixels as the width: then columns first, too. A bicubic filter overshoots, so what is cut to 0..255 between the
# passes differs with the order, by several steps of 255 at hard edges. With the image transposed before and after,
# fast_image_resize agrees to 1 where the plain call does not, and the other way round.
# Seen: "wide 12 1", "edge 11 1", "tall 1 11" (pictures of 67x41, 46x67 and 41x67 to 24x24, which lose 17, 43 and 43 rows
# and 43, 22 and 17 columns; largest difference from Pillow of the plain call, and transposed); the test asks for at
# least 3 and at most 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
from PIL import Image
rng = np.random.default_rng(3)
for name, shape in (("wide", (41, 67)), ("edge", (67, 46)), ("tall", (67, 41))):
    a = (rng.integers(0, 2, shape) * 255).astype(np.uint8)
    open(f"{name}.in", "wb").write(a.tobytes())
    small = Image.fromarray(a).resize((24, 24), Image.Resampling.BICUBIC)
    open(f"{name}.out", "wb").write(np.asarray(small).tobytes())
PY
cargo init -q --name sizes . >/dev/null 2>&1
echo 'fast_image_resize = { version = "=6.1.0", default-features = false, features = ["std"] }' >>Cargo.toml
cat >src/main.rs <<'RUST'
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer, images::{TypedImage, TypedImageRef}, pixels::U8};

fn resized(data: &[u8], width: u32, height: u32) -> Vec<u8> {
    let source = TypedImageRef::<U8>::from_buffer(width, height, data).expect("source");
    let mut out = vec![0; 24 * 24];
    let mut target = TypedImage::<U8>::from_buffer(24, 24, &mut out).expect("target");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize_typed(&source, &mut target, &options).expect("resized");
    out
}

fn transposed(data: &[u8], width: usize) -> Vec<u8> {
    let height = data.len() / width;
    (0..data.len()).map(|i| data[i % height * width + i / height]).collect()
}

fn main() {
    for (name, width, height) in [("wide", 67, 41), ("edge", 46, 67), ("tall", 41, 67)] {
        let read = |what: &str| std::fs::read(format!("{name}.{what}")).expect("made before");
        let (data, pillow) = (read("in"), read("out"));
        let worst = |found: &[u8]| found.iter().zip(&pillow).map(|(a, b)| a.abs_diff(*b)).max().expect("pixels");
        let turned = transposed(&resized(&transposed(&data, width), height as u32, width as u32), 24);
        println!("{name} {} {}", worst(&resized(&data, width as u32, height as u32)), worst(&turned));
    }
}
RUST
found=$(cargo run -q)
echo "$found"
awk '$1 != "tall" && $2 >= 3 && $3 <= 1 { rows++ } $1 == "tall" && $2 <= 1 && $3 >= 3 { columns++ }
  END { exit !(rows == 2 && columns == 1) }' <<<"$found"
