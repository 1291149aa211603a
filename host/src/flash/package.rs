//! What a board gets: the program, the model and a test image.

use super::FlashError;
use crate::data::synthetic;
use anyhow::{Context as _, bail};
use edge::{
    head_file::{FILE_NAME as HEAD, HeadFile},
    model_folder::ModelFolder,
};
use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::Path,
    process::Command,
};
use tempfile::NamedTempFile;

/// Refuses what is no program for the board.
pub(super) fn check_program(path: &Path, any_machine: bool) -> Result<(), FlashError> {
    let mut header = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        other => other.map_err(|error| FlashError::Unreadable { path: path.into(), error })?,
    }
    let elf = header.starts_with(b"\x7fELF");
    // e_machine of the ELF header, little-endian: 183 is AArch64.
    let machine = u16::from_le_bytes([header[18], header[19]]);
    match (elf, any_machine || machine == 183) {
        (false, _) => Err(FlashError::NoProgram(path.into())),
        (true, false) => Err(FlashError::OtherMachine(path.into())),
        (true, true) => Ok(()),
    }
}

/// A tar archive of the program, the model `folder` at `model`, and a test image.
pub(super) fn archive(program: &Path, model: &Path, folder: &ModelFolder) -> anyhow::Result<NamedTempFile> {
    let staging = tempfile::tempdir().context("no room for temporary files")?;
    let to = |name: &str| staging.path().join(name);
    let copy = |from: &Path, name: &str| {
        fs::copy(from, to(name)).map(drop).with_context(|| format!("cannot read {}", from.display()))
    };
    fs::create_dir(to("model"))?;
    copy(program, "edge")?;
    copy(&model.join("model.toml"), "model/model.toml")?;
    for (file, _) in folder.files() {
        folder.read_file(file)?;
        copy(&model.join(file), &format!("model/{file}"))?;
    }
    if model.join(HEAD).exists() {
        HeadFile::open(model, folder.spec())?;
        copy(&model.join(HEAD), &format!("model/{HEAD}"))?;
    }
    let spec = folder.spec();
    let pixels = synthetic::image(0, 0, spec.image_height as usize, spec.image_width as usize);
    image::RgbImage::from_raw(pixels.width as u32, pixels.height as u32, pixels.data)
        .context("the test image has no area")?
        .save(to("test.png"))?;
    let archive = NamedTempFile::new().context("no room for temporary files")?;
    let status = Command::new("tar")
        .arg("cf")
        .arg(archive.path())
        .arg("-C")
        .arg(staging.path())
        .args(["--mode=755", "edge", "model", "test.png"])
        .status()
        .context("cannot run `tar`; is it installed?")?;
    if !status.success() {
        bail!("`tar` could not pack the program and the model");
    }
    Ok(archive)
}
