//! The model against the official implementation's numbers (`tests/parity/mae-32`), on the CPU with every kind of
//! operations: the very checks of `host bench check`.

use burn::tensor::Device;
use host::{
    bench::check::{self, Check, Setup},
    model::ops::Ops,
    tensors::safetensors,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn parity() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/mae-32"))
}

fn checks(folder: &Path, ops: Ops) -> Vec<Check> {
    let setup = Setup { folder: folder.into(), device: Device::flex(), cuda: false, ops };
    check::run(&setup, &|_| ()).expect("the checks run")
}

fn all_pass(ops: Ops) {
    let checks = checks(&parity(), ops);
    for check in &checks {
        let at = check.at.as_deref().unwrap_or_default();
        println!("{:<44} {:>10.2e} {:>10.1e} {at}", check.name, check.difference, check.tolerance);
    }
    let failed: Vec<_> = checks.iter().filter(|check| !check.passed()).collect();
    assert!(failed.is_empty(), "{ops:?}: {failed:#?}");
}

#[test]
fn fused_operations_equal_the_official_implementation() {
    all_pass(Ops::Fused);
}

#[test]
fn plain_operations_equal_the_official_implementation() {
    all_pass(Ops::Plain);
}

#[test]
fn bf16_stays_within_its_bounds() {
    all_pass(Ops::Bf16);
}

/// A copy of the parity files, with one value of one tensor changed.
fn with_wrong_value(file: &str, name: &str, by: f32) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("folder");
    for entry in fs::read_dir(parity()).expect("parity files") {
        let path = entry.expect("entry").path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().expect("name"))).expect("copy");
        }
    }
    let path = copy.path().join(file);
    let (mut tensors, metadata) = safetensors::read(&path).expect("file");
    tensors.get_mut(name).expect("tensor").data[5] += by;
    safetensors::write(&path, &tensors, metadata).expect("written");
    copy
}

#[test]
fn a_wrong_number_is_found() {
    for (file, name, by, wanted) in [
        ("position_tables.safetensors", "d48_grid8", 1e-6, "position tables"),
        ("forward.safetensors", "ids_restore", 1.0, "masks"),
        ("forward.safetensors", "latent", 1e-4, "latent"),
        ("forward.safetensors", "latent_all_visible", 1e-4, "every patch visible, class token"),
        ("gradients.safetensors", "cls_token", 1e-2, "gradients (relative)"),
    ] {
        let folder = with_wrong_value(file, name, by);
        let checks = checks(folder.path(), Ops::Fused);
        let failed: Vec<&str> = checks.iter().filter(|c| !c.passed()).map(|c| c.name.as_str()).collect();
        assert!(failed.contains(&wanted) && failed.len() <= 2, "{file} {name}: {failed:?}");
    }
    // A wrong weight shows in all that follows from it.
    let folder = with_wrong_value("checkpoint.safetensors", "decoder_pred.bias", 1e-2);
    let checks = checks(folder.path(), Ops::Plain);
    for name in ["prediction", "loss, pixels", "gradients (relative)", "AdamW, losses of 5 steps"] {
        assert!(checks.iter().any(|check| check.name == name && !check.passed()), "{name}: {checks:#?}");
    }
}
