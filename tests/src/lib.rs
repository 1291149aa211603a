//! What the end-to-end tests share: the programs, throw-away images, pseudo-terminals.

use anyhow::{Context as _, ensure};
use host::bench::check::Parity;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

pub mod pty;
pub mod qemu;
pub mod runs;
pub mod shards;
pub mod tinted;

/// Says on standard error that a test did not run, and why. With `MAE_TESTS_REQUIRE_ALL` set it fails instead.
///
/// # Panics
/// With `MAE_TESTS_REQUIRE_ALL`, where nothing may be skipped.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("MAE_TESTS_REQUIRE_ALL").is_none(), "nothing may be skipped here, but: {reason}");
    // The handle itself, because libtest captures only what the print macros write.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// The path of `host` or `edge`, built if need be.
///
/// # Panics
/// If they cannot be built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/test").to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--bins"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let status = build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).status().expect("cargo runs");
        assert!(status.success(), "the programs do not build");
        folder
    });
    folder.join(name)
}

/// A Python that can run `imports`: the one that the variable `given` names, the project's own, or the system's.
#[must_use]
pub fn python(given: &str, imports: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let candidates = [std::env::var_os(given).map(PathBuf::from), Some(own), Some(PathBuf::from("python3"))];
    candidates.into_iter().flatten().find(|python| {
        Command::new(python).args(["-c", imports]).output().is_ok_and(|output| output.status.success())
    })
}

/// Runs a script of `tests/python`, which must succeed; returns what it prints, and prints it.
///
/// # Errors
/// With its messages, if it fails or cannot be started.
pub fn script(python: &Path, name: &str, args: &[&Path]) -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let output = Command::new(python).arg(script).args(args).env("OMP_NUM_THREADS", "1").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    anyhow::ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn run(name: &str, args: &[&str]) -> Output {
    Command::new(program(name)).args(args).output().expect("the program starts")
}

/// Runs a program that must succeed; returns its standard output.
///
/// # Panics
/// With its messages, if it fails.
pub fn succeed(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {args:?} failed:\n{out}{err}");
    out.into_owned()
}

/// Writes `count` generated images of other sizes than any model's as PNG files, in folders by class.
///
/// # Errors
/// If they cannot be written.
pub fn write_images(folder: &Path, count: usize) -> anyhow::Result<()> {
    for index in 0..count {
        let (height, width) = (40 + index % 3 * 8, 40 + index % 4 * 6);
        let pixels = host::data::synthetic::image(99, index, height, width);
        let image = image::RgbImage::from_raw(width as u32, height as u32, pixels.data).context("pixels")?;
        let class = folder.join(format!("class-{}", index % 10));
        std::fs::create_dir_all(&class)?;
        image.save(class.join(format!("{index:04}.png")))?;
    }
    Ok(())
}

/// Reads a `.npy` file of features.
///
/// # Errors
/// If it is none.
pub fn read_features(path: &Path) -> anyhow::Result<ndarray::Array2<f32>> {
    ndarray_npy::read_npy(path).with_context(|| format!("{}", path.display()))
}

/// Checks that two arrays agree to `tolerance`.
///
/// # Errors
/// With the largest difference.
pub fn close(a: &ndarray::Array2<f32>, b: &ndarray::Array2<f32>, tolerance: f32) -> anyhow::Result<()> {
    ensure!(a.dim() == b.dim(), "{:?} against {:?}", a.dim(), b.dim());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    ensure!(worst <= tolerance, "the largest difference is {worst}");
    Ok(())
}

/// The smallest cosine between rows of two arrays of the same shape.
///
/// # Panics
/// If the shapes differ.
#[must_use]
pub fn worst_cosine(a: &ndarray::Array2<f32>, b: &ndarray::Array2<f32>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let rows = a.rows().into_iter().zip(b.rows());
    rows.map(|(a, b)| host::evaluate::verify::cosine(&a.to_vec(), &b.to_vec())).fold(1.0, f64::min)
}

/// A small model folder with the weights of `tests/parity`, made by the exporter.
///
/// # Errors
/// If it cannot be written.
pub fn parity_model(folder: &Path) -> anyhow::Result<()> {
    let parity = Parity::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32"))?;
    let hash = host::tensors::encoder_hash(&parity.checkpoint);
    let spec = parity.config(true).encoder_spec(common::normalize::PixelStats::IMAGENET, hash);
    host::export::write(
        folder,
        &spec,
        &parity.checkpoint,
        &host::export::precision::EncoderPrecision::ALL,
        "a test",
    )?;
    Ok(())
}
