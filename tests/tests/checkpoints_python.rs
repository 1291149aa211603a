//! Checkpoints in the libraries they are for: torch, transformers and timm read what `host` writes, and `host`
//! computes what they compute.

use anyhow::{Context as _, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use common::mask::{Mask, len_keep};
use host::{
    model::{BurnEncoder, Mae, MaskBatch, weights},
    run::{RunFolder, load_encoder},
    tensors::safetensors,
};
use ndarray::{Array1, Array2, Array3, ArrayD};
use ndarray_npy::{read_npy, write_npy};
use std::{path::Path, process::Command};
use tests::{python, skip, succeed};

fn script(python: &Path, args: &[&Path]) -> anyhow::Result<String> {
    tests::script(python, "check_checkpoints.py", args)
}

/// Prediction `[B * L * P]` and loss of the autoencoder in a run folder. `patches`: `[B, L, P]`; `noise`: `[B, L]`.
fn forward(
    run: &Path,
    patches: (Vec<f32>, [usize; 3]),
    noise: &[f32],
    ratio: f64,
) -> anyhow::Result<(Vec<f32>, f32)> {
    let (folder, config) = RunFolder::open(run)?;
    let (device, grid) = (Device::flex(), config.model.grid()?);
    let model = weights::load_tensors(Mae::new(&config.model, 0, &device)?, &folder.load()?.model, &grid)?;
    let (length, kept) = (grid.patches(), len_keep(grid.patches(), ratio));
    let masks = noise.chunks_exact(length).map(|noise| Mask::from_noise(noise, kept)).collect();
    let masks = MaskBatch::from_masks(masks).context("masks")?;
    let output = model.forward(Tensor::from_data(TensorData::new(patches.0, patches.1), &device), &masks);
    let read = |error| anyhow::anyhow!("{error:?}");
    Ok((output.pred.try_into_vec_as::<f32>().map_err(read)?, output.loss.into_scalar()))
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn values(path: &Path) -> anyhow::Result<(Vec<f32>, Vec<usize>)> {
    let array: ArrayD<f32> = read_npy(path).with_context(|| path.display().to_string())?;
    let shape = array.shape().to_vec();
    Ok((array.into_iter().collect(), shape))
}

#[test]
fn python_reads_what_is_exported() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import safetensors, timm, torch, transformers") else {
        skip("no Python with torch, transformers and timm (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32");
    let checkpoint = parity.join("checkpoint.pth").display().to_string();
    succeed("host", &["import", "--checkpoint", &checkpoint, "--out", &text("run")]);
    for (format, out) in [
        ("official", "official.pth"),
        ("official", "official.safetensors"),
        ("huggingface", "huggingface"),
        ("timm", "timm"),
    ] {
        succeed("host", &["export", "--run", &text("run"), "--format", format, "--out", &text(out)]);
    }
    succeed("host", &["import", "--checkpoint", &text("timm"), "--out", &text("encoder-run")]);
    succeed("host", &["export", "--run", &text("encoder-run"), "--format", "huggingface", "--out", &text("encoder")]);

    let (batch, _) = safetensors::read(&parity.join("forward.safetensors"))?;
    let patches = (batch["patches"].data.clone(), [4, 64, 48]);
    let (pred, loss) = forward(&path("run"), patches, &batch["noise"].data, 0.75)?;
    write_npy(path("pred.npy"), &Array3::from_shape_vec((4, 64, 48), pred)?)?;
    write_npy(path("loss.npy"), &Array1::from_vec(vec![loss]))?;
    let text = script(&python, &[Path::new("check"), root.path(), &parity])?;
    assert_eq!(text.matches(", fine").count(), 11, "{text}");
    Ok(())
}

#[test]
fn what_python_writes_computes_the_same_here() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import safetensors, timm, torch, transformers") else {
        skip("no Python with torch, transformers and timm (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name);
    script(&python, &[Path::new("make"), root.path()])?;
    let patches = values(&path("patches.npy"))?.0;
    let (noise, pred, loss) =
        (values(&path("noise.npy"))?.0, values(&path("pred.npy"))?.0, values(&path("loss.npy"))?.0);
    // Hugging Face's two styles of names, with learned positions in both halves.
    for folder in ["files", "memory"] {
        let (checkpoint, run) = (path(folder), path(&format!("{folder}-run")));
        let shown = [checkpoint.display().to_string(), run.display().to_string()];
        let text = succeed("host", &["import", "--checkpoint", &shown[0], "--out", &shown[1]]);
        assert!(text.contains("stored table") && text.contains("num_attention_heads in config.json"), "{text}");
        let (found, found_loss) = forward(&run, (patches.clone(), [2, 36, 48]), &noise, 0.5)?;
        let errors = (worst(&found, &pred), (found_loss - loss[0]).abs());
        println!("{folder}: largest difference of the prediction {:e}, of the loss {:e}", errors.0, errors.1);
        assert!(errors.0 < 2e-5 && errors.1 < 1e-5, "{errors:?}");
    }
    // timm's, with learned positions, those of the class token included, and a classifier that is left out.
    let shown = [path("timm").display().to_string(), path("timm-run").display().to_string()];
    let text = succeed("host", &["import", "--checkpoint", &shown[0], "--out", &shown[1]]);
    assert!(text.contains("head          10 classes") && text.contains("cls (global_pool in config.json)"), "{text}");
    assert!(text.contains("mean [0.5, 0.5, 0.5]"), "{text}");
    let (spec, tensors) = load_encoder(&path("timm-run"))?;
    let ids: Vec<u32> = (0..2).flat_map(|_| 0..36).collect();
    let features = BurnEncoder::new(&spec, &tensors)?.encode(&patches, &ids, 36)?;
    let (tokens, _) = values(&path("timm.npy"))?;
    for (features, tokens) in features.iter().zip(tokens.chunks_exact(37 * 64)) {
        let tokens = Array2::from_shape_vec((37, 64), tokens.to_vec())?;
        let mean = tokens.slice(ndarray::s![1.., ..]).mean_axis(ndarray::Axis(0)).context("patches")?.to_vec();
        assert!(worst(&features.cls, &tokens.row(0).to_vec()) < 2e-5);
        assert!(worst(&features.mean, &mean) < 2e-5);
    }
    Ok(())
}

#[test]
fn classifiers_of_python_run_on_the_board_and_go_back() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import PIL, safetensors, timm, torch, transformers") else {
        skip("no Python with torch, transformers and timm (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    script(&python, &[Path::new("make"), root.path()])?;
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(root.path().join("scores.json"))?)?;
    let classes: Vec<&str> =
        expected["classes"].as_array().into_iter().flatten().filter_map(|c| c.as_str()).collect();
    for (file, model, pooling) in [
        ("timm-avg", "timm-avg", "mean-norm"),
        ("timm-token", "timm-token", "cls"),
        ("timm-mean", "timm-mean", "mean"),
        ("vit", "vit", "cls"),
        ("official.pth", "timm-avg", "mean-norm"),
    ] {
        let (run, folder) = (path(&format!("{file}-run")), path(&format!("{file}-model")));
        let mut import = vec!["import", "--checkpoint", "", "--out", &run];
        let checkpoint = path(file);
        import[2] = &checkpoint;
        std::fs::write(root.path().join("classes.txt"), classes.join("\n"))?;
        let names = path("classes.txt");
        if file == "official.pth" {
            // Such a file states neither of them.
            import.extend(["--num-heads", "2", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--classes", &names]);
        }
        let text = succeed("host", &import);
        assert!(
            text.contains(&format!("pooling       {pooling} (")) && text.contains("head          4 classes"),
            "{text}"
        );
        succeed("host", &["export", "--run", &run, "--out", &folder, "--precisions", "f32"]);
        let frames = Command::new(tests::program("edge"))
            .args(["run", "--model", &folder, "--source", &path("pictures"), "--port", "-", "--head"])
            .output()?;
        ensure!(frames.status.success(), "{}", String::from_utf8_lossy(&frames.stderr));
        std::fs::write(root.path().join("frames"), frames.stdout)?;
        let rows = path("rows.jsonl");
        succeed("host", &["listen", "--port", &path("frames"), "--out", &rows]);
        let text = std::fs::read_to_string(&rows)?;
        assert_eq!(text.lines().count(), 6);
        for (line, scores) in text.lines().zip(expected["scores"][model].as_array().into_iter().flatten()) {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let scores: Vec<f64> = scores.as_array().into_iter().flatten().filter_map(|v| v.as_f64()).collect();
            let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).context("scores")?;
            assert_eq!(row["class"].as_str(), Some(classes[best]), "{file}");
            assert!(
                row["score"].as_f64().is_some_and(|score| (score - scores[best]).abs() < 1e-3),
                "{row} {scores:?}"
            );
        }
        let (format, out) = match file {
            "vit" => ("huggingface", path("again-vit")),
            "official.pth" => ("official", path("again-official.pth")),
            timm => ("timm", path(&format!("again-{timm}"))),
        };
        succeed("host", &["export", "--run", &run, "--format", format, "--out", &out]);
    }
    let text = script(&python, &[Path::new("classifiers"), root.path()])?;
    assert_eq!(text.matches(", fine").count(), 14, "{text}");
    Ok(())
}
