//! `host evaluate finetune` and `partial`: they learn, go on where they were stopped, and train what they should.

use anyhow::Context as _;
use common::{model::PositionKind, position::sincos_2d_table};
use host::tensors::{Tensors, safetensors};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};
use tests::{close, parity_model, program, read_features, runs, succeed, tinted};

/// Images by class and a small encoder, made once for all tests of this file.
fn made() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("finetune");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("folder");
        tinted::write(&folder.join("train"), 160).expect("images");
        tinted::write(&folder.join("test"), 80).expect("images");
        parity_model(&folder.join("model")).expect("model");
        folder
    })
}

fn path(name: &str) -> String {
    made().join(name).display().to_string()
}

fn args(how: &str, out: &str, more: &[&str]) -> Vec<String> {
    let [model, train, test] = ["model", "train", "test"].map(path);
    let all = ["evaluate", how, "--model", &model, "--train", &train, "--test", &test, "--out", out];
    let all = all.iter().chain(["--device", "cpu"].iter()).chain(more);
    all.map(|arg| (*arg).to_owned()).collect()
}

fn succeed_with(args: &[String]) -> String {
    succeed("host", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The parameters of the newest checkpoint.
fn newest(run: &str) -> anyhow::Result<Tensors> {
    Ok(safetensors::read(&runs::newest(run.as_ref())?.join("model.safetensors"))?.0)
}

#[test]
fn finetuning_learns_and_its_folder_serves_as_a_model() -> anyhow::Result<()> {
    let plain =
        ["--mixup", "0", "--cutmix", "0", "--rand-augment", "off", "--random-erasing", "0", "--drop-path", "0"];
    for pool in ["mean", "cls"] {
        let run = path(&format!("learned-{pool}"));
        // One with the table of positions trained, as by default, and one without.
        let positions = if pool == "mean" { "on" } else { "off" };
        let more = ["--epochs", "6", "--batch-size", "16", "--blr", "2e-2", "--pool", pool, "--json"];
        let more: Vec<&str> = more.iter().chain(&["--train-positions", positions]).copied().collect();
        let more: Vec<&str> = more.iter().chain(&plain).copied().collect();
        let json: serde_json::Value = serde_json::from_str(&succeed_with(&args("finetune", &run, &more)))?;
        // Chance is 25 %.
        let row = &json["rows"][0];
        let accuracy = row["accuracy"].as_f64().context("accuracy")?;
        assert!(accuracy > 0.6, "{json}");
        assert!(row["best_accuracy"].as_f64() >= Some(accuracy) && json["finished"] == true, "{json}");
        let classes = json["classes"].as_array().context("classes")?;
        let right = classes.iter().filter_map(|class| Some(class["accuracy"].as_f64()? * class["images"].as_f64()?));
        assert_eq!((classes.len(), right.sum::<f64>().round()), (4, (accuracy * 80.0).round()), "{json}");
        let metrics = std::fs::read_to_string(Path::new(&run).join("metrics.csv"))?;
        assert_eq!(metrics.lines().count(), 7, "{metrics}");

        let (model, images) = (path(&format!("exported-{pool}")), path("test"));
        succeed("host", &["export", "--run", &run, "--out", &model]);
        let features = |model: &str, runtime: &str| {
            let out = path(&format!("{pool}-{runtime}.npy"));
            succeed(
                "host",
                &["features", "--model", model, "--images", &images, "--runtime", runtime, "--out", &out],
            );
            read_features(out.as_ref())
        };
        let (burn, tract) = (features(&run, "burn")?, features(&model, "tract")?);
        close(&burn, &tract, 1e-4)?;
        // The head reads these features: with it they classify as the fine-tuning said.
        let spec = *edge::model_folder::ModelFolder::open(model.as_ref())?.spec();
        let table = newest(&run)?.remove("pos_embed");
        if positions == "on" {
            assert_eq!(spec.position, PositionKind::Stored);
            let (table, fixed) = (table.context("a table")?, sincos_2d_table(&spec.grid()?, 48, true));
            let moved = table.data.iter().zip(&fixed).filter(|(a, b)| a != b).count();
            // At the lowest layer's rate, but nothing is pruned: every row is a patch of every image, or the class
            // token.
            assert_eq!(moved, 65 * 48);
        } else {
            assert_eq!((spec.position, table), (PositionKind::SinCos2d, None));
        }
        let head = edge::head_file::HeadFile::open(model.as_ref(), &spec)?;
        assert_eq!((head.description().classes.len(), head.description().pooling), (4, spec.pooling));
        let right = tract.rows().into_iter().enumerate().filter(|(index, row)| {
            let found = head.head().and_then(|head| head.classify(&row.to_vec()));
            // Twenty images a class, in the order of their paths.
            found.is_ok_and(|found| found.class as usize == index / 20)
        });
        assert_eq!(right.count(), (accuracy * 80.0).round() as usize);

        // As a file of PyTorch, and back: the same features, head and names of classes.
        let (file, again, folder) =
            (path(&format!("{pool}.pth")), path(&format!("{pool}-again")), path(&format!("{pool}-folder")));
        succeed("host", &["export", "--run", &run, "--format", "official", "--out", &file]);
        succeed("host", &["import", "--checkpoint", &file, "--out", &again]);
        close(&features(&again, "burn")?, &burn, 1e-6)?;
        succeed("host", &["export", "--run", &again, "--out", &folder]);
        let other = edge::head_file::HeadFile::open(folder.as_ref(), &spec)?;
        assert_eq!((other.parts(), &other.description().classes), (head.parts(), &head.description().classes));
    }
    Ok(())
}

#[test]
fn a_stopped_finetuning_goes_on_to_the_same_weights() -> anyhow::Result<()> {
    let (whole, stopped) = (path("whole"), path("stopped"));
    // Every source of randomness is on.
    let more = ["--epochs", "4", "--batch-size", "16", "--keep", "0.5", "--seed", "3"];
    succeed_with(&args("finetune", &whole, &more));
    let mut child = Command::new(program("host"))
        .args(args("finetune", &stopped, &more))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let metrics = Path::new(&stopped).join("metrics.csv");
    while !metrics.exists() {
        anyhow::ensure!(child.try_wait()?.is_none(), "the training ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("--resume"), "{text}");
    succeed("host", &["evaluate", "finetune", "--resume", &stopped, "--device", "cpu"]);
    runs::ensure_same(stopped.as_ref(), whole.as_ref())?;
    assert_eq!(std::fs::read_to_string(metrics)?.lines().count(), 5);
    Ok(())
}

#[test]
fn partial_finetuning_changes_exactly_its_part() -> anyhow::Result<()> {
    let (out, (_, before)) = (path("partial"), host::export::read_back(&made().join("model"))?);
    let more = ["--blocks", "0,0.5,1", "--epochs", "1", "--batch-size", "20", "--blr", "1e-2", "--pool", "cls"];
    let more: Vec<&str> = more.iter().chain(&["--limit", "80", "--test-limit", "40", "--json"]).copied().collect();
    let json: serde_json::Value = serde_json::from_str(&succeed_with(&args("partial", &out, &more)))?;
    let blocks: Vec<f64> =
        json["rows"].as_array().context("rows")?.iter().filter_map(|row| row["blocks"].as_f64()).collect();
    assert_eq!(blocks, [0.0, 0.5, 1.0], "{json}");
    for (blocks, trained) in
        [("0", &[][..]), ("0.5", &["blocks.1.norm2", "blocks.1.mlp", "norm"]), ("1", &["blocks.1", "norm"])]
    {
        let after = newest(&format!("{out}/blocks-{blocks}"))?;
        for (name, tensor) in &before {
            let expected = trained.iter().any(|part| name.starts_with(&format!("{part}.")));
            assert_eq!(*tensor != after[name], expected, "--blocks {blocks}: {name}");
        }
        assert!(after["head.bias"].data.iter().any(|bias| *bias != 0.0), "the head is trained");
    }
    // The same command again finds all done.
    let again: serde_json::Value = serde_json::from_str(&succeed_with(&args("partial", &out, &more)))?;
    assert_eq!(again, json);
    Ok(())
}
