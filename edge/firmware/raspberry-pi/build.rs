//! Hands the linker its script and the program its model.

use std::{env, fs, path::PathBuf};

fn main() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=kernel.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{}", folder.join("kernel.ld").display());
    }

    println!("cargo::rerun-if-env-changed=MODEL");
    let shipped = folder.join("../../../models/cifar-pico-32/encoder.native");
    let model = env::var_os("MODEL").map_or(shipped, |model| folder.join(model));
    println!("cargo::rerun-if-changed={}", model.display());
    match fs::read(&model) {
        Ok(bytes) if bytes.starts_with(b"MAENATV") => {}
        Ok(_) => println!("cargo::error={} is no encoder.native (`host export` makes them)", model.display()),
        Err(error) => println!(
            "cargo::error=cannot read {}: {error}; MODEL names the encoder.native to build in, `host export` makes \
             them",
            model.display()
        ),
    }
    println!("cargo::rustc-env=ENCODER_NATIVE={}", model.display());
}
