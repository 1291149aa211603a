//! What a training leaves for people to look at: `report.html`, `steps.csv`, TensorBoard events, kept evaluations.

use anyhow::{Context as _, ensure};
use std::{fs, path::Path};
use tests::{python, run, script, skip, succeed, write_images};

/// A name that a careless page would take for a tag.
const NAME: &str = "tiny <b> & \"more\"";

/// The numbers of the lines of a file of comma-separated values.
fn numbers(file: &Path) -> anyhow::Result<Vec<Vec<f64>>> {
    let text = fs::read_to_string(file)?;
    let parse = |line: &str| line.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>();
    text.lines().skip(1).map(parse).collect::<Result<_, _>>().with_context(|| text.clone())
}

/// Checks that every tag is closed in its order, that attributes are quoted and that nothing is fetched.
fn check_page(page: &str) -> anyhow::Result<()> {
    const VOID: [&str; 3] = ["meta", "img", "br"];
    ensure!(page.starts_with("<!DOCTYPE html>"));
    let body = page.replace("<!DOCTYPE html>", "");
    let mut open: Vec<String> = Vec::new();
    let mut rest = body.as_str();
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').context("a tag has no end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        ensure!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "`<{tag}>` is no tag");
        ensure!(tag.matches('"').count().is_multiple_of(2), "an attribute of `<{tag}>` is not closed");
        if tag.starts_with('/') {
            let last = open.pop();
            ensure!(last.as_deref() == Some(name), "`<{tag}>` closes {last:?}");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name.into());
        }
        for fetched in ["script", "link", "iframe", "object", "base"] {
            ensure!(name != fetched, "`<{tag}>`");
        }
        if name == "img" {
            ensure!(
                tag.contains("src=\"data:image/png;base64,") && tag.contains("alt=\""),
                "`<{name}>` without a picture"
            );
        }
    }
    ensure!(open.is_empty(), "{open:?} are not closed");
    for address in ["http://", "https://", "url(", "@import", "src=\"/", "href="] {
        ensure!(!page.contains(address), "the page refers to {address}");
    }
    Ok(())
}

/// Reads the events of a run back with TensorBoard's own reader; compares them with `steps.csv`.
fn check_events(folder: &Path) -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import tensorboard") else {
        skip("no Python with tensorboard (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    script(&python, "check_events.py", &[folder])?;
    Ok(())
}

/// Each figure of `metrics.csv` is the mean of the points of its epoch, weighted by their steps. `columns`: places in
/// `steps.csv` and in `metrics.csv`.
fn check_means(folder: &Path, columns: &[(usize, usize)]) -> anyhow::Result<()> {
    let (points, epochs) = (numbers(&folder.join("steps.csv"))?, numbers(&folder.join("metrics.csv"))?);
    for (fine, whole) in columns {
        let (mut before, mut sum) = (0.0, 0.0);
        for point in &points {
            sum += point[*fine] * (point[0] - before);
            before = point[0];
        }
        let mean = epochs.iter().map(|epoch| epoch[*whole]).sum::<f64>() / epochs.len() as f64;
        ensure!((sum / before - mean).abs() < 2e-6, "column {fine}: {points:?} {epochs:?}");
    }
    Ok(())
}

/// A small model that trains for two epochs, as a file in `folder`.
fn preset(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("small.toml");
    let text = "description = \"for a test\"\n[model]\nimage_height = 16\nimage_width = 16\npatch_size = 4\ndim = 16\n\
                depth = 1\nheads = 2\ndecoder_dim = 16\ndecoder_depth = 1\ndecoder_heads = 2\n[train]\nepochs = 2\n\
                batch_size = 8\nwarmup_epochs = 1\nsynthetic_images = 64\n";
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

#[test]
fn the_parts_of_a_loss_are_reported_apart() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let folder = root.path().join("run");
    let (config, out) = (preset(root.path())?, folder.display().to_string());
    let joint = ["--joint", "infonce", "--views", "2"];
    let start = ["pretrain", "--config", &config, "--out", &out, "--device", "cpu"];
    succeed("host", &[&start[..], &joint].concat());
    check_means(&folder, &[(2, 2), (6, 5), (7, 6)])?;
    check_events(&folder)?;
    let page = fs::read_to_string(folder.join("report.html"))?;
    check_page(&page)?;
    // The loss and its two parts each have a fine line beside that of the epochs; twice, for wide and narrow screens.
    ensure!(page.matches("<polyline class=\"fine\"").count() == 6, "{page}");
    // A resumed run goes on with the same columns.
    succeed("host", &["pretrain", "--resume", &out, "--epochs", "3", "--device", "cpu"]);
    ensure!(numbers(&folder.join("steps.csv"))?.iter().all(|line| line.len() == 8));
    check_events(&folder)
}

#[test]
fn a_run_reports_itself_and_a_resumed_one_goes_on() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let folder = root.path().join(NAME);
    let run_arg = folder.display().to_string();
    let config = preset(root.path())?;
    let text = succeed("host", &["pretrain", "--config", &config, "--out", &run_arg, "--device", "cpu"]);
    assert!(text.contains("report.html"), "{text}");
    let report = folder.join("report.html");
    let first = fs::read_to_string(&report)?;
    check_page(&first)?;
    assert!(first.contains("<title>tiny &lt;b&gt; &amp; &quot;more&quot;: training report</title>"));
    // Both curves, for wide and for narrow screens.
    assert_eq!(first.matches("<svg ").count(), 4);
    assert!(first.contains("<polyline class=\"main\""));
    // Originals, visible patches, the first and the last epoch, and the final picture.
    assert_eq!(first.matches("<img ").count(), 5);
    let points = numbers(&folder.join("steps.csv"))?;
    assert_eq!(points.last().context("a point")?[..2], [16.0, 2.0]);

    check_means(&folder, &[(2, 2)])?;
    check_events(&folder)?;

    // What lies beyond the checkpoint, as after a kill, is done again and must not stay.
    fs::write(
        folder.join("steps.csv"),
        fs::read_to_string(folder.join("steps.csv"))? + "99,12.0,9.9,1e-3,1.0,1.0\n",
    )?;
    fs::copy(folder.join("pictures/epoch-0001.png"), folder.join("pictures/epoch-0012.png"))?;
    succeed("host", &["pretrain", "--resume", &run_arg, "--epochs", "4", "--device", "cpu"]);
    let second = fs::read_to_string(&report)?;
    check_page(&second)?;
    assert!(second.contains("4 of 4") && !second.contains("epoch 12<"));
    let resumed = numbers(&folder.join("steps.csv"))?;
    assert_eq!(resumed[..points.len()], points);
    assert!(resumed.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][5] <= pair[1][5]), "{resumed:?}");
    assert_eq!(resumed.last().context("a point")?[0], 32.0);
    assert!(!folder.join("pictures/epoch-0012.png").exists() && folder.join("pictures/epoch-0004.png").exists());
    assert_eq!(fs::read_dir(folder.join("tensorboard"))?.count(), 2);
    check_events(&folder)?;

    // Steps that are done again, because their checkpoint is lost, take the place of the first ones in TensorBoard
    // too.
    fs::remove_dir_all(folder.join("checkpoints/step-00000032"))?;
    succeed("host", &["pretrain", "--resume", &run_arg, "--epochs", "4", "--device", "cpu"]);
    assert_eq!(numbers(&folder.join("steps.csv"))?.last().context("a point")?[0], 32.0);
    check_events(&folder)?;

    // An evaluation is kept, and the report shows it; another folder's is not.
    let images = root.path().join("images");
    write_images(&images, 20)?;
    let images = images.display().to_string();
    succeed("host", &["evaluate", "knn", "--model", &run_arg, "--train", &images, "--test", &images, "--k", "1"]);
    let third = fs::read_to_string(&report)?;
    check_page(&third)?;
    assert!(third.contains("k nearest neighbours") && third.contains("100.00 %"));
    let kept: Vec<_> = fs::read_dir(folder.join("evaluations"))?.collect::<Result<_, _>>()?;
    let result: serde_json::Value = serde_json::from_slice(&fs::read(kept[0].path())?)?;
    assert_eq!(result["kind"], "knn");
    assert_eq!(result["rows"][0]["accuracy"], 1.0);
    assert!(result["command"].as_str().context("command")?.starts_with("host evaluate knn --model '"), "{result}");

    // The page can be made again from the folder alone, also with a damaged result in it.
    fs::write(folder.join("evaluations/linear-20200101-000000.json"), "{")?;
    fs::remove_file(&report)?;
    succeed("host", &["report", "--run", &run_arg]);
    let fourth = fs::read_to_string(&report)?;
    check_page(&fourth)?;
    assert!(fourth.contains("linear-20200101-000000.json") && fourth.contains("damaged"));
    Ok(())
}

#[test]
fn a_report_of_no_run_is_misuse() {
    let output = run("host", &["report", "--run", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
}
