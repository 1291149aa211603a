//! How far a training is, and `position.toml`, which also seals the other files of a checkpoint.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

/// The file of a checkpoint that holds the [`TrainState`].
pub const FILE: &str = "position.toml";

/// Parts of a pre-training's loss that are shown apart, where it has them: reconstruction and the joint term.
pub const PARTS: usize = 2;

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainState {
    /// Whole epochs done.
    pub epoch: usize,
    /// Iterations (optimizer steps) done in the epoch after them.
    pub iteration: usize,
    /// Optimizer steps done in all.
    pub step: usize,
    /// Sum of the losses of this epoch's iterations, added in their order; exact, so that the mean of an epoch is the
    /// same after a resume.
    #[serde(default)]
    pub loss_sum: f64,
    /// Number of losses in `loss_sum`.
    #[serde(default)]
    pub losses: usize,
    /// As `loss_sum` for the [parts](PARTS) of the losses, where they have any.
    #[serde(default, skip_serializing_if = "no_parts")]
    pub part_sums: [f64; PARTS],
    /// Images of the data, on which their order depends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Threads of the CPU that computed, on which the rounding of sums depends; none for another device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

fn no_parts(sums: &[f64; PARTS]) -> bool {
    *sums == [0.0; PARTS]
}

impl TrainState {
    /// Says on standard error what keeps a resumed training from being bit-identical to an uninterrupted one: another
    /// number of `images`, other `threads`.
    pub fn warn_of_change(&self, images: usize, threads: Option<usize>) {
        if let Some(before) = self.images.filter(|before| *before != images) {
            console::note!("warning: the data has {images} images and had {before}: their order is another one");
        }
        let on = |threads: Option<usize>| match threads {
            Some(1) => "one thread of the CPU".into(),
            Some(count) => format!("{count} threads of the CPU"),
            None => "another device than the CPU".to_owned(),
        };
        // Checkpoints of before `images` was recorded do not tell.
        if self.images.is_some() && self.threads != threads {
            let (before, now) = (on(self.threads), on(threads));
            console::note!(
                "warning: the checkpoint was computed on {before}, it goes on on {now}: sums will be rounded otherwise"
            );
        }
    }
}

/// SHA-256 of the other files, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Files {
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// Stands before the checksum of all that follows; the first line, so that no truncation goes unnoticed.
const SEAL: &str = "sha256 = \"";

/// Writes `position.toml` into `folder`, with the checksums of `files`, which are there already, and its own.
///
/// # Errors
/// Those of the file system.
pub fn seal(folder: &Path, state: &TrainState, files: &[&str]) -> anyhow::Result<()> {
    let mut sums = Files::default();
    for name in files {
        let path = folder.join(name);
        let sum = checksum(&path).with_context(|| format!("cannot read {}", path.display()))?;
        sums.files.insert((*name).to_owned(), sum);
    }
    let body = format!("{}\n{}", toml::to_string(state)?, toml::to_string(&sums)?);
    let text = format!("{SEAL}{}\"\n{body}", hex(&Sha256::digest(body.as_bytes())));
    fs::write(folder.join(FILE), text)?;
    Ok(())
}

/// Reads `position.toml` of `folder` and checks it and `files`. A checkpoint without checksums, as the first runs
/// have, is read as it is.
///
/// # Errors
/// If a file is missing, truncated or changed.
pub fn open(folder: &Path, files: &[&str]) -> anyhow::Result<TrainState> {
    let text = fs::read_to_string(folder.join(FILE)).with_context(|| format!("cannot read its {FILE}"))?;
    let changed = || format!("{FILE} is not as it was written");
    let sealed = text.strip_prefix(SEAL).and_then(|rest| rest.split_once("\"\n"));
    let body = match sealed {
        Some((sum, body)) if sum == hex(&Sha256::digest(body.as_bytes())) => body,
        None if !text.contains("[files]") => &text,
        _ => bail!(changed()),
    };
    let state = toml::from_str(body).map_err(|error| anyhow::anyhow!("{}", error.message()));
    let sums: Files = toml::from_str(body).with_context(changed)?;
    if sealed.is_some() {
        for name in files {
            let found = checksum(&folder.join(name)).with_context(|| format!("cannot read its {name}"))?;
            if sums.files.get(*name) != Some(&found) {
                bail!("{name} is not as it was written (its checksum differs)");
            }
        }
    }
    state.with_context(changed)
}

fn checksum(path: &Path) -> std::io::Result<String> {
    let (mut file, mut sha, mut buffer) = (fs::File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sha.finalize())),
            count => sha.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILES: [&str; 1] = ["data"];

    fn sealed(state: &TrainState) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("data"), [7; 40]).expect("data");
        seal(folder.path(), state, &FILES).expect("seal");
        folder
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_position_comes_back_bit_for_bit(
            epoch in 0_usize..1 << 40, step in 0_usize..1 << 40, losses in 0_usize..9, sum in 0.0_f64..1e9,
            images in proptest::option::of(0_usize..1 << 40),
        ) {
            let sums = TrainState { loss_sum: sum / 3.0, losses, part_sums: [sum, 0.1 * sum], ..TrainState::default() };
            let state = TrainState { epoch, iteration: losses, step, images, ..sums };
            let folder = sealed(&state);
            let read = open(folder.path(), &FILES).expect("whole");
            prop_assert_eq!(read.loss_sum.to_bits(), state.loss_sum.to_bits());
            prop_assert_eq!(read, state);
        }
    }

    #[test]
    fn no_truncation_and_no_flipped_bit_goes_unnoticed() {
        let state =
            TrainState { epoch: 12, iteration: 345, step: 6789, loss_sum: 0.1, losses: 345, ..TrainState::default() };
        let folder = sealed(&state);
        for name in [FILE, "data"] {
            let path = folder.path().join(name);
            let bytes = fs::read(&path).expect("file");
            for length in 0..bytes.len() {
                fs::write(&path, &bytes[..length]).expect("write");
                assert!(open(folder.path(), &FILES).is_err(), "{name} cut to {length}");
            }
            for place in 0..bytes.len() {
                for bit in [0, 3, 6] {
                    let mut changed = bytes.clone();
                    changed[place] ^= 1 << bit;
                    fs::write(&path, changed).expect("write");
                    assert!(open(folder.path(), &FILES).is_err(), "bit {bit} of byte {place} of {name}");
                }
            }
            fs::remove_file(&path).expect("remove");
            assert!(open(folder.path(), &FILES).is_err(), "{name} missing");
            fs::write(&path, bytes).expect("write");
        }
        assert_eq!(open(folder.path(), &FILES).expect("whole again"), state);
    }

    #[test]
    fn a_position_without_checksums_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join(FILE), "epoch = 1\niteration = 2\nstep = 3\n").expect("write");
        let state = open(folder.path(), &FILES).expect("old");
        assert_eq!(state, TrainState { epoch: 1, iteration: 2, step: 3, ..TrainState::default() });
    }
}
