//! The whole loop with the real programs: train, look, export, verify, encode on the "board", read over a serial
//! line.

use anyhow::Context as _;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};
use tests::{close, program, pty::Line, read_features, succeed, write_images};

/// A short training and its export, made once for all tests of this file.
fn trained() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole-loop");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("folder");
        let run = folder.join("run").display().to_string();
        let text = succeed(
            "host",
            &[
                "pretrain",
                "--out",
                &run,
                "--synthetic-images",
                "512",
                "--epochs",
                "3",
                "--batch-size",
                "64",
                "--device",
                "cpu",
            ],
        );
        assert!(text.contains("host export --run"), "it says what to do next:\n{text}");
        succeed("host", &["export", "--run", &run, "--out", &folder.join("model").display().to_string()]);
        write_images(&folder.join("images"), 24).expect("images");
        folder
    })
}

fn path(name: &str) -> String {
    trained().join(name).display().to_string()
}

#[test]
fn training_lowers_the_loss_and_leaves_a_complete_run_folder() {
    let metrics = std::fs::read_to_string(trained().join("run/metrics.csv")).expect("metrics");
    let losses: Vec<f64> =
        metrics.lines().skip(1).map(|line| line.split(',').nth(2).expect("loss").parse().expect("number")).collect();
    assert_eq!(losses.len(), 3);
    assert!(losses[2] < losses[0], "{losses:?}");
    assert!(trained().join("run/pictures/reconstruction.png").exists());
}

#[test]
fn reconstruct_draws_every_kind_of_mask() {
    let (out, images) = (path("picture.png"), path("images"));
    succeed("host", &["reconstruct", "--run", &path("run"), "--images", &images, "--limit", "3", "--out", &out]);
    let picture = image::open(&out).expect("a picture").into_rgb8();
    // Seven columns of three tiles with six-fold pixels: original, and mask and reconstruction for three kinds.
    assert!(picture.width() > 7 * 192 && picture.height() > 3 * 192, "{:?}", picture.dimensions());
    let gray = picture.pixels().filter(|pixel| pixel.0 == [128, 128, 128]).count();
    let tile = 192 * 192;
    // The preset removes half of each of three tiles a kind.
    assert!(gray as f64 > 0.49 * 9.0 * f64::from(tile), "{gray}");
}

#[test]
fn every_exported_form_comes_near_the_float_encoder() {
    for keep in ["1", "0.25"] {
        let args = [
            "verify",
            "--model",
            &path("model"),
            "--run",
            &path("run"),
            "--images",
            &path("images"),
            "--keep",
            keep,
            "--json",
        ];
        let json: serde_json::Value = serde_json::from_str(&succeed("host", &args)).expect("json");
        let forms = json["forms"].as_array().expect("forms");
        assert_eq!(forms.len(), 4);
        for (form, bound) in forms.iter().zip([0.999_999, 0.999, 0.99, 0.995]) {
            assert!(form["worst_cosine"].as_f64().expect("number") > bound, "{form}");
        }
        assert!(forms[0]["max_error"].as_f64().expect("number") < 1e-4, "{}", forms[0]);
    }
}

fn listen(line: &Line, out: &str, more: &[&str]) -> anyhow::Result<Child> {
    let child = Command::new(program("host"))
        .args(["listen", "--port", &line.host, "--out", out, "--json"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    line.wait_for_listener()?;
    Ok(child)
}

/// What a listener says that must end with `code`.
fn summary(child: Child, code: i32) -> anyhow::Result<serde_json::Value> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.code() == Some(code), "{text}{messages}");
    serde_json::from_str(&text).with_context(|| format!("{text}{messages}"))
}

#[test]
fn features_over_a_serial_line_equal_those_of_the_host() -> anyhow::Result<()> {
    // tract comes near the float encoder; the native encoder sends the bits that the host computes with it.
    let cases =
        [("1", "mean", "tract", "burn"), ("0.25", "cls", "tract", "burn"), ("0.25", "mean", "native", "native")];
    for (keep, pool, runtime, other) in cases {
        let line = Line::clean()?;
        let file = |name: &str| path(&format!("{name}-{pool}-{runtime}.npy"));
        let (received, expected) = (file("received"), file("expected"));
        let listener = listen(&line, &received, &["--count", "24"])?;
        let (model, images) = (path("model"), path("images"));
        succeed(
            "edge",
            &[
                "run",
                "--model",
                &model,
                "--source",
                &images,
                "--port",
                &line.board,
                "--keep",
                keep,
                "--pool",
                pool,
                "--runtime",
                runtime,
            ],
        );
        let summary = summary(listener, 0)?;
        assert_eq!(summary["features"], 24, "{summary}");
        for count in ["lost_frames", "damaged_frames", "incomplete_features"] {
            assert_eq!(summary[count], 0, "{summary}");
        }
        succeed(
            "host",
            &[
                "features",
                "--model",
                &path(if other == "burn" { "run" } else { "model" }),
                "--runtime",
                other,
                "--images",
                &images,
                "--keep",
                keep,
                "--pool",
                pool,
                "--out",
                &expected,
            ],
        );
        let tolerance = if other == "burn" { 1e-4 } else { 0.0 };
        close(&read_features(received.as_ref())?, &read_features(expected.as_ref())?, tolerance)?;
        let names = |path: &str| std::fs::read_to_string(path.replace(".npy", ".names.txt"));
        assert_eq!(names(&received)?, names(&expected)?);
    }
    Ok(())
}

#[test]
fn on_a_noisy_line_no_wrong_feature_is_accepted() -> anyhow::Result<()> {
    // Every 4001st byte is lost, every 2801st has a flipped bit, every 5003rd is followed by a stray zero.
    let mut line = Line::new(Box::new(|count, byte| match count {
        count if count % 4001 == 700 => vec![],
        count if count % 2801 == 500 => vec![byte ^ 0x10],
        count if count % 5003 == 1000 => vec![byte, 0],
        _ => vec![byte],
    }))?;
    let (received, expected) = (path("noisy.npy"), path("quiet.npy"));
    let listener = listen(&line, &received, &[])?;
    let (model, images) = (path("model"), path("images"));
    succeed("edge", &["run", "--model", &model, "--source", &images, "--port", &line.board, "--repeat", "4"]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    line.cut();
    let summary = summary(listener, 1)?;
    let count = summary["features"].as_u64().context("count")?;
    assert!((20..96).contains(&count), "{summary}");
    assert!(summary["damaged_frames"].as_u64().context("count")? > 5, "{summary}");

    succeed("host", &["features", "--model", &model, "--images", &images, "--runtime", "native", "--out", &expected]);
    let (received_rows, expected_rows) = (read_features(received.as_ref())?, read_features(expected.as_ref())?);
    let names = |path: &str| std::fs::read_to_string(path.replace(".npy", ".names.txt"));
    let order: Vec<String> = names(&expected)?.lines().map(str::to_owned).collect();
    for (row, name) in received_rows.rows().into_iter().zip(names(&received)?.lines()) {
        let place = order.iter().position(|known| known == name).with_context(|| format!("{name} was never sent"))?;
        assert_eq!(row, expected_rows.row(place), "{name}");
    }
    Ok(())
}

#[test]
fn a_vanished_port_keeps_what_came_before() -> anyhow::Result<()> {
    let mut line = Line::clean()?;
    let out = path("cut.csv");
    let listener = listen(&line, &out, &[])?;
    let (model, images) = (path("model"), path("images"));
    succeed("edge", &["run", "--model", &model, "--source", &images, "--port", &line.board]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    line.cut();
    let summary = summary(listener, 1)?;
    assert_eq!(summary["features"], 24, "{summary}");
    assert!(summary["ending"].as_str().context("ending")?.contains("port"), "{summary}");
    assert_eq!(std::fs::read_to_string(out)?.lines().count(), 25);
    Ok(())
}

#[test]
fn a_stream_on_standard_output_can_be_recorded_and_read_later() -> anyhow::Result<()> {
    let record = trained().join("record.bin");
    let output = Command::new(program("edge"))
        .args(["run", "--model", &path("model"), "--source", &path("images"), "--port", "-", "--precision", "int8"])
        .stdout(std::fs::File::create(&record)?)
        .output()?;
    assert!(output.status.success());
    let out = path("record.jsonl");
    let text = succeed("host", &["listen", "--port", &record.display().to_string(), "--out", &out]);
    assert!(text.starts_with("received 24 features"), "{text}");
    assert_eq!(std::fs::read_to_string(out)?.lines().count(), 24);
    Ok(())
}

#[test]
fn ctrl_c_saves_and_resume_finishes() -> anyhow::Result<()> {
    let run = path("interrupted");
    let mut child = Command::new(program("host"))
        .args(["pretrain", "--out", &run, "--synthetic-images", "640", "--epochs", "4", "--batch-size", "32"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The first epoch's line in metrics.csv shows that the training is under way.
    let metrics = Path::new(&run).join("metrics.csv");
    while !metrics.exists() {
        anyhow::ensure!(child.try_wait()?.is_none(), "the training ended early");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("--resume"), "{text}");
    let text = succeed("host", &["pretrain", "--resume", &run]);
    assert!(text.contains("done     in"), "{text}");
    let epochs: Vec<String> = std::fs::read_to_string(&metrics)?
        .lines()
        .skip(1)
        .map(|line| line.split(',').take(2).collect::<Vec<_>>().join(","))
        .collect();
    assert_eq!(epochs, ["1,20", "2,40", "3,60", "4,80"], "no epoch is missing or doubled");
    Ok(())
}
