//! Hands the linker the board's memory, and the program its model with the sizes that follow from it.

use edge::native::{Model, Shape};
use std::{env, error::Error, fs, path::PathBuf};

/// Tokens that are worked on together if the memory for it is there; `ROWS` changes it.
const ROWS: usize = 16;

fn main() {
    if let Err(error) = prepare() {
        println!("cargo::error={error}");
    }
}

fn prepare() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);

    println!("cargo::rerun-if-changed=boards");
    let chosen =
        |board: &&str| env::var_os(format!("CARGO_FEATURE_{}", board.to_uppercase().replace('-', "_"))).is_some();
    let boards: Vec<_> = ["mps2-an386", "mps2-an500"].into_iter().filter(chosen).collect();
    let [board] = boards[..] else {
        return Err(format!("choose one board, not {boards:?}: --no-default-features --features mps2-an500").into());
    };
    fs::copy(folder.join(format!("boards/{board}.x")), out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for argument in ["--nmagic", "-Tlink.x", "-Tdefmt.x"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }

    println!("cargo::rerun-if-env-changed=MODEL");
    let shipped = folder.join("../../../models/cifar-pico-32/encoder.native");
    let path = env::var_os("MODEL").map_or(shipped, |model| folder.join(model));
    println!("cargo::rerun-if-changed={}", path.display());
    let read = fs::read(&path).map_err(|error| {
        format!(
            "cannot read {}: {error}; MODEL names the encoder.native to build in, `host export` makes them",
            path.display()
        )
    });
    let bytes = Aligned::new(&read?);
    let model = Model::parse(bytes.get()).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("cargo::rustc-env=ENCODER_NATIVE={}", path.display());

    let shape = Shape::of(model.spec())?;
    let most = number("MAX_VISIBLE", shape.patches)?.clamp(1, shape.patches);
    let rows = number("ROWS", ROWS)?;
    let image = shape.patches * shape.patch_dim;
    fs::write(
        out.join("sizes.rs"),
        format!(
            "/// Values of an image.\npub const IMAGE: usize = {image};\n\
             /// Patches of an image.\npub const PATCHES: usize = {};\n\
             /// Patches that may be visible.\npub const MAX_VISIBLE: usize = {most};\n\
             /// Values of so many patches.\npub const VISIBLE: usize = {};\n\
             const SHAPE: edge::native::Shape = edge::native::{shape:?};\n\
             /// Lines of the encoder's workspace.\n\
             pub const WORKSPACE: usize = SHAPE.workspace(MAX_VISIBLE, {rows}, 1);\n",
            shape.patches,
            most * shape.patch_dim,
        ),
    )?;
    Ok(())
}

/// A number from the environment.
fn number(name: &str, usual: usize) -> Result<usize, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={name}");
    match env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} is no number").into()),
        Err(_) => Ok(usual),
    }
}

/// Bytes at a multiple of 4, where a model must lie.
struct Aligned(Vec<u32>, usize);

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_ne_bytes(word)
        };
        Self(bytes.chunks(4).map(word).collect(), bytes.len())
    }

    fn get(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }
}
