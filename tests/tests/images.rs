//! Folders as people have them, read by the real programs: each row of docs/images.md that names this file.

use ndarray::Array2;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};
use tests::{read_features, run, succeed, worst_cosine};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn model() -> String {
    root().join("models/cifar-pico-32").display().to_string()
}

/// A file of tests/images, put into `folder` under a name.
fn put(folder: &Path, name: &str, file: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::copy(root().join("tests/images").join(file), path).expect("file");
}

/// What `host features` and `edge run` say on standard error about a folder, and the host's features. Both must
/// succeed and skip as many images.
fn read(folder: &Path) -> (String, String, Array2<f32>) {
    let (images, out) = (folder.display().to_string(), folder.with_extension("npy").display().to_string());
    let host =
        run("host", &["features", "--model", &model(), "--images", &images, "--runtime", "native", "--out", &out]);
    let edge = run("edge", &["run", "--model", &model(), "--source", &images]);
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(host.status.success() && edge.status.success(), "{}{}", text(&host), text(&edge));
    let features = read_features(Path::new(&out)).expect("features");
    let sent = format!("sent     {} features", features.nrows());
    assert!(text(&edge).contains(&sent), "{sent}: {}", text(&edge));
    (text(&host), text(&edge), features)
}

/// Lines that begin with `skipped`.
fn skipped(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("skipped ")).collect()
}

#[test]
fn one_line_says_what_is_not_read() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().join("images");
    for (name, file) in [
        ("a/0.png", "rgb.png"),
        ("a/._0.png", "rgb.png"),
        ("a/.ipynb_checkpoints/0-checkpoint.png", "rgb.png"),
        ("__MACOSX/a/._0.png", "rgb.png"),
        ("b/1.tif", "wide.tif"),
        ("b/2.gif", "first.gif"),
        ("b/3.jpeg", "baseline.jpg"),
    ] {
        put(&folder, name, file);
    }
    fs::write(folder.join("labels.csv"), "0.png,1\n").expect("file");
    fs::create_dir(folder.join("empty")).expect("folder");
    let (host, edge, features) = read(&folder);
    assert_eq!(features.nrows(), 3);
    let expected = format!(
        "skipped  1 image of kinds that are not read (.gif 1; convert to JPEG or PNG), \
         1 file of other kinds (.csv 1), 3 hidden in {}",
        folder.display()
    );
    assert_eq!((skipped(&host), skipped(&edge)), (vec![&expected[..]], vec![&expected[..]]));
    // A folder of images alone is read without a word.
    let (host, edge, _) = read(&folder.join("a"));
    assert_eq!((skipped(&host).len(), skipped(&edge).len()), (1, 1), "hidden names of a sub-folder");
    fs::remove_dir_all(folder.join("a/.ipynb_checkpoints")).expect("folder");
    fs::remove_file(folder.join("a/._0.png")).expect("file");
    let (host, edge, _) = read(&folder.join("a"));
    assert!(skipped(&host).is_empty() && skipped(&edge).is_empty(), "{host}{edge}");
}

#[test]
fn hidden_folders_are_no_classes() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().join("images");
    for name in ["a/0.png", "a/1.png", "b/2.png", "b/3.png", ".ipynb_checkpoints/0.png", "__MACOSX/a/0.png"] {
        put(&folder, name, "rgb.png");
    }
    fs::create_dir(folder.join("empty")).expect("folder");
    let (images, out) = (folder.display().to_string(), root.path().join("tuned").display().to_string());
    succeed(
        "host",
        &[
            "evaluate",
            "finetune",
            "--model",
            &model(),
            "--train",
            &images,
            "--test",
            &images,
            "--epochs",
            "1",
            "--batch-size",
            "2",
            "--device",
            "cpu",
            "--out",
            &out,
        ],
    );
    let description = fs::read_to_string(root.path().join("tuned/finetune.toml")).expect("description");
    assert!(description.contains(r#"classes = ["a", "b"]"#), "{description}");
}

#[test]
fn links_are_followed_and_loops_end() {
    let root = tempfile::tempdir().expect("folder");
    let (folder, other) = (root.path().join("images"), root.path().join("other"));
    put(&folder, "a/0.png", "rgb.png");
    put(&other, "1.png", "rgb.png");
    put(&other, "2.jpg", "baseline.jpg");
    for (target, link) in [
        (other.clone(), folder.join("b")),
        (folder.clone(), folder.join("a/loop")),
        (root.path().into(), folder.join("around")),
        (other.join("none.png"), folder.join("gone.png")),
    ] {
        symlink(target, link).expect("link");
    }
    let (host, edge, features) = read(&folder);
    assert_eq!(features.nrows(), 3);
    let wanted = "skipped  1 broken link, 2 links to folders that are read by another path in ";
    assert!(skipped(&host)[0].starts_with(wanted) && skipped(&edge)[0].starts_with(wanted), "{host}{edge}");
}

#[test]
fn truncated_files_are_skipped_and_named() {
    let root = tempfile::tempdir().expect("folder");
    let folder = root.path().join("images");
    put(&folder, "whole.jpg", "baseline.jpg");
    for file in
        ["baseline.jpg", "progressive.jpg", "restarts.jpg", "rgb.png", "rgb.tif", "lossy.webp", "rgb.bmp", "rgb.ppm"]
    {
        let bytes = fs::read(self::root().join("tests/images").join(file)).expect("file");
        fs::write(folder.join(format!("cut-{file}")), &bytes[..bytes.len() * 7 / 10]).expect("file");
    }
    let (host, edge, features) = read(&folder);
    assert_eq!(features.nrows(), 1);
    for text in [&host, &edge] {
        let named = text.lines().filter(|line| line.contains("cut-") && line.contains("skipped")).count();
        assert_eq!(named, 8, "{text}");
    }
    assert!(host.contains("8 images skipped in all") && edge.contains("; 8 skipped"), "{host}{edge}");
}

/// Turned by a tag, without Huffman tables, of 16 bits, in CMYK, under another name: the features are those of what
/// Pillow makes of the file.
#[test]
fn features_of_all_kinds_are_those_of_what_pillow_reads() {
    let root = tempfile::tempdir().expect("folder");
    let (folder, right) = (root.path().join("images"), root.path().join("right"));
    let files = fs::read_dir(self::root().join("tests/images/right")).expect("folder");
    let names: Vec<String> = files
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .map(|name| name.strip_suffix(".png").expect("a PNG").to_owned())
        .collect();
    for name in &names {
        put(&folder, name, name);
        put(&right, name, &format!("right/{name}.png"));
    }
    let (host, edge, features) = read(&folder);
    assert!(skipped(&host).is_empty() && skipped(&edge).is_empty(), "{host}{edge}");
    let (_, _, expected) = read(&right);
    assert_eq!(features.nrows(), names.len());
    assert!(worst_cosine(&features, &expected) > 0.999_999);
}

#[test]
fn a_folder_without_images_says_what_is_there() {
    let root = tempfile::tempdir().expect("folder");
    put(root.path(), "a/1.gif", "first.gif");
    fs::write(root.path().join("a/2.heic"), "x").expect("file");
    let images = root.path().display().to_string();
    for (name, args) in [
        ("host", ["features", "--model", &model(), "--images", &images, "--out", "unused.npy"].to_vec()),
        ("edge", ["run", "--model", &model(), "--source", &images].to_vec()),
    ] {
        let output = run(name, &args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("holds no image") && text.contains("(.gif 1, .heic 1; convert"), "{text}");
    }
}

/// `command`, by somebody who may not read everything: the superuser of a test machine may.
fn by_nobody(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if rustix::process::geteuid().is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

#[test]
fn a_folder_that_may_not_be_read_is_named() {
    let root = tempfile::tempdir().expect("folder");
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    allow(root.path(), 0o755);
    // Where nobody can come, too.
    let (edge, model) = (root.path().join("edge"), root.path().join("model"));
    fs::copy(tests::program("edge"), &edge).expect("program");
    fs::create_dir(&model).expect("folder");
    for name in ["model.toml", "encoder.native"] {
        fs::copy(Path::new(&self::model()).join(name), model.join(name)).expect("model");
    }
    let folder = root.path().join("images");
    put(&folder, "open/0.png", "rgb.png");
    put(&folder, "closed/0.png", "rgb.png");
    allow(&folder.join("closed"), 0);
    let output = by_nobody(Command::new(&edge).current_dir(root.path()))
        .args(["run", "--model", "model", "--runtime", "native", "--source", "images"])
        .output()
        .expect("edge");
    allow(&folder.join("closed"), 0o755);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("sent     1 features"), "{text}");
    let line = skipped(&text);
    assert!(line.len() == 1 && line[0].contains("1 unreadable folder (images/closed: "), "{text}");
}
