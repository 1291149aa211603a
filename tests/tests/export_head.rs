//! `host export --head`: a head that was trained on a run's features goes with the exported model.

use anyhow::{Context as _, ensure};
use std::fs;
use tests::{run, succeed, write_images};

const SMALL: &str = "description = \"small\"\n[model]\nimage_height = 16\nimage_width = 16\npatch_size = 4\ndim = 32\n\
                     depth = 1\nheads = 2\ndecoder_dim = 16\ndecoder_depth = 1\ndecoder_heads = 2\n[train]\n\
                     epochs = 1\nbatch_size = 8\nwarmup_epochs = 0\nsynthetic_images = 32\n";

#[test]
fn a_head_of_the_runs_features_is_exported_with_it_and_another_is_not() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    fs::write(path("small.toml"), SMALL)?;
    write_images(&root.path().join("train"), 60)?;
    write_images(&root.path().join("test"), 20)?;
    for (run, seed) in [("run", "1"), ("other", "2")] {
        let config = path("small.toml");
        let args = ["pretrain", "--config", &config, "--device", "cpu", "--seed", seed, "--out", &path(run)];
        succeed("host", &args);
        let linear =
            ["evaluate", "linear", "--model", &path(run), "--train", &path("train"), "--test", &path("test")];
        let head = path(&format!("{run}.safetensors"));
        succeed("host", &[&linear[..], &["--method", "closed", "--out-head", &head]].concat());
    }
    let (model, head) = (path("model"), path("run.safetensors"));
    let export = |head: &str| {
        let args = ["export", "--run", &path("run"), "--out", &model, "--forms", "f32", "--head", head];
        run("host", &args)
    };

    // What is in the way is said before anything is written.
    let other = path("other.safetensors");
    for (head, code, wanted) in
        [(&other, 2, "was trained on the encoder"), (&path("none.safetensors"), 2, "does not exist")]
    {
        let output = export(head);
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code) && text.contains(wanted), "{head}: {text}");
        ensure!(!root.path().join("model").exists(), "{head}: a model was written");
    }

    let output = export(&head);
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains("head.safetensors (10 classes)"), "{text}");
    ensure!(fs::read(path("model/head.safetensors"))? == fs::read(&head)?, "the head was changed");

    // On a "board" it says what it said on the run's features, which tract computes to 1e-4.
    let board = ["run", "--model", &model, "--source", &path("test"), "--runtime", "tract", "--port", "-", "--head"];
    let stream = run("edge", &board);
    ensure!(stream.status.success(), "{}", String::from_utf8_lossy(&stream.stderr));
    fs::write(path("stream.bin"), stream.stdout)?;
    succeed("host", &["listen", "--port", &path("stream.bin"), "--out", &path("board.csv")]);
    let text = fs::read_to_string(path("board.csv"))?;
    let classes: Vec<(&str, &str)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
            Some((*fields.get(1)?, *fields.get(5)?))
        })
        .collect::<Option<_>>()
        .context("name and class")?;
    ensure!(classes.len() == 20, "{text}");
    let spec = *edge::model_folder::ModelFolder::open(model.as_ref())?.spec();
    let head = edge::head_file::HeadFile::open(model.as_ref(), &spec)?;
    succeed(
        "host",
        &["features", "--model", &path("run"), "--images", &path("test"), "--pool", "mean", "--out", &path("f.npy")],
    );
    let features = tests::read_features(path("f.npy").as_ref())?;
    for (features, (name, class)) in features.rows().into_iter().zip(classes) {
        let found = head.head()?.classify(&features.to_vec())?;
        ensure!(head.description().classes[found.class as usize] == class, "{name}: {class}, {found:?}");
    }
    Ok(())
}
