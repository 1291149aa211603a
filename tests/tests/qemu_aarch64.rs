//! The program built for ARM boards, under QEMU, against the one for this machine.

use common::wire::Feature;
use host::link::{Event, Reader};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tests::{parity_model, program, skip, write_images};

/// All features of a recorded stream.
fn features(stream: &[u8]) -> Vec<Feature> {
    let (mut reader, mut features) = (Reader::new(stream), Vec::new());
    loop {
        match reader.next_event().expect("the same version") {
            Event::Feature(feature) => features.push(feature),
            Event::Ended(_) => break,
            _ => {}
        }
    }
    assert_eq!((reader.counts().lost, reader.counts().damaged), (0, 0));
    features
}

#[test]
fn features_on_arm_equal_those_of_this_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = root.join("target/aarch64-unknown-linux-gnu/release/edge");
    let arm = std::env::var_os("EDGE_AARCH64").map_or(built, PathBuf::from);
    if Command::new("qemu-aarch64").arg("--version").output().is_err() {
        return skip("no qemu-aarch64 on this machine (Debian: apt-get install qemu-user)");
    }
    if !arm.exists() {
        return skip(&format!("{} is not built (docs/edge.md says how)", arm.display()));
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    parity_model(&folder.path().join("model")).expect("model");
    write_images(&folder.path().join("images"), 6).expect("images");
    let (model, images) = (path("model"), path("images"));
    for (form, keep) in [("f32", "0.5"), ("w8", "0.25"), ("int8", "1"), ("native", "0.5"), ("native", "1")] {
        let option = if form == "native" { "--runtime" } else { "--precision" };
        let args = ["run", "--model", &model, "--source", &images, "--port", "-", "--keep", keep, option, form];
        let native = Command::new(program("edge")).args(args).output().expect("edge starts");
        let mut emulator = Command::new("qemu-aarch64");
        emulator.args(["-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu"]).arg(&arm).args(args);
        let emulated = emulator.output().expect("QEMU starts");
        assert!(emulated.status.success(), "{}", String::from_utf8_lossy(&emulated.stderr));
        let (native, emulated) = (features(&native.stdout), features(&emulated.stdout));
        assert_eq!((native.len(), emulated.len()), (6, 6));
        for (a, b) in native.iter().zip(&emulated) {
            assert_eq!((&a.name, a.kept, a.values.len()), (&b.name, b.kept, b.values.len()));
            let worst = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // In int8 a last bit of f32 can move an activation by one of 127 steps.
            let tolerance = match form {
                "native" => 0.0,
                "int8" => 5e-2,
                _ => 1e-4,
            };
            assert!(worst <= tolerance, "{form} of {}: {worst}", a.name);
        }
    }
}
