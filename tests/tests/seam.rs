//! `--seam-weight`, `--seam-gradient` and `host evaluate seam`.

use anyhow::{Context as _, ensure};
use std::{fs, path::Path};
use tests::{run, succeed, write_images};

const TINY: &str = "description = \"tiny\"
[model]
image_height = 16
image_width = 16
patch_size = 4
dim = 16
depth = 1
heads = 2
decoder_dim = 16
decoder_depth = 1
decoder_heads = 2
norm_pix_loss = true
[train]
epochs = 3
batch_size = 8
warmup_epochs = 1.0
blr = 0.01
";

fn train(root: &Path, name: &str, options: &[&str]) -> anyhow::Result<String> {
    let (config, data) = (root.join("tiny.toml"), root.join("images"));
    let out = root.join(name).display().to_string();
    fs::write(&config, TINY)?;
    let (config, data) = (config.display().to_string(), data.display().to_string());
    let args = ["pretrain", "--config", &config, "--data", &data, "--device", "cpu", "--out", &out];
    succeed("host", &[&args, options].concat());
    Ok(out)
}

#[test]
fn the_losses_are_recorded_change_the_training_and_are_measured() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let images = root.path().join("images");
    write_images(&images, 24)?;
    let images = images.display().to_string();
    let plain = train(root.path(), "plain", &[])?;
    let seam = train(root.path(), "seam", &["--seam-weight", "2", "--seam-gradient", "0.5"])?;
    let recorded = |run: &str| fs::read_to_string(Path::new(run).join("run.toml"));
    ensure!(!recorded(&plain)?.contains("seam"), "a run without them is written as before");
    ensure!(recorded(&seam)?.contains("[train.seam]\nweight = 2.0\ngradient = 0.5"), "{}", recorded(&seam)?);

    let measure = |run: &str| -> anyhow::Result<serde_json::Value> {
        let out =
            succeed("host", &["evaluate", "seam", "--model", run, "--test", &images, "--limit", "12", "--json"]);
        Ok(serde_json::from_str(&out)?)
    };
    let (one, other) = (measure(&plain)?, measure(&seam)?);
    ensure!(one["images"] == 12 && one == measure(&plain)?, "the same twice: {one}");
    for figures in [&one, &other] {
        let number = |key: &str| figures.pointer(key).and_then(serde_json::Value::as_f64).context("a number");
        let (near, far, all) = (number("/rmse/near")?, number("/rmse/far")?, number("/rmse/all")?);
        ensure!(near > 0.0 && far > 0.0 && all <= near.max(far) && all >= near.min(far), "{figures}");
        let (seam, original) = (number("/seam")?, number("/across_over_inside/original")?);
        ensure!((seam * original - number("/across_over_inside/reconstruction")?).abs() < 1e-9, "{figures}");
    }
    ensure!(one["seam"] != other["seam"], "the losses did nothing: {one}");
    ensure!(fs::read_dir(Path::new(&seam).join("evaluations"))?.count() == 1, "the result is kept");

    for wrong in [["--seam-weight=-1"], ["--seam-gradient=nan"]] {
        let output = run("host", &[&["pretrain", "--out", &format!("{plain}-wrong")], &wrong[..]].concat());
        ensure!(output.status.code() == Some(2), "{wrong:?}: {output:?}");
    }
    Ok(())
}
