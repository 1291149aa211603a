//! A head trained on frozen features, on the "board" and over the line: its classes are the host's own.

use anyhow::Context as _;
use ndarray::{Array1, Array2};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};
use tests::{parity_model, program, pty::Line, read_features, run, succeed, write_images};

/// Fields of a line of CSV without line breaks in it.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut inside) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '"' => inside = !inside,
            ',' if !inside => fields.push(String::new()),
            letter => fields.last_mut().expect("one at least").push(letter),
        }
    }
    fields
}

#[test]
fn a_board_names_the_class_that_the_host_would() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let path = |name: &str| root.path().join(name).display().to_string();
    parity_model(&root.path().join("model"))?;
    write_images(&root.path().join("train"), 60)?;
    write_images(&root.path().join("test"), 30)?;
    let (model, test) = (path("model"), path("test"));

    // No head yet.
    let board = ["run", "--model", &model, "--source", &test, "--runtime", "tract", "--port"];
    let output = run("edge", &[&board[..], &["-", "--head"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("head.safetensors does not exist") && text.contains("--save-head"), "{text}");

    let linear = ["evaluate", "linear", "--model", &model, "--train", &path("train"), "--test", &test];
    let more =
        ["--method", "closed", "--precision", "f32", "--save-head", "--confusion", &path("confusion.png"), "--json"];
    let json: serde_json::Value = serde_json::from_str(&succeed("host", &[&linear[..], &more].concat()))?;
    let accuracy = json["rows"][0]["accuracy"].as_f64().context("accuracy")?;
    let classes = json["classes"].as_array().context("classes")?;
    let right = classes.iter().map(|class| class["accuracy"].as_f64().unwrap() * class["images"].as_f64().unwrap());
    assert_eq!(right.sum::<f64>().round(), (accuracy * 30.0).round(), "{json}");
    assert!(accuracy > 0.15, "ten kinds of pictures: better than chance: {json}");
    let picture = image::open(path("confusion.png"))?;
    assert!(picture.width() > 400 && picture.height() > 400);

    // What the 8-bit forms cost in accuracy.
    let verify = ["verify", "--model", &model, "--images", &test, "--limit", "4", "--train", &path("train")];
    let json: serde_json::Value =
        serde_json::from_str(&succeed("host", &[&verify[..], &["--test", &test, "--json"]].concat()))?;
    let knn: Vec<(&str, f64)> = json["knn"]
        .as_array()
        .context("knn")?
        .iter()
        .filter_map(|row| Some((row["name"].as_str()?, row["accuracy"].as_f64()?)))
        .collect();
    assert_eq!(
        knn.iter().map(|row| row.0).collect::<Vec<_>>(),
        ["burn f32", "tract f32", "tract w8", "tract int8", "native"]
    );
    assert!(knn.iter().all(|row| (row.1 - knn[0].1).abs() < 0.2), "{knn:?}");

    // Over a serial line.
    let line = Line::clean()?;
    let (received, expected) = (path("received.csv"), path("expected.npy"));
    let listener = Command::new(program("host"))
        .args(["listen", "--port", &line.host, "--count", "30", "--out", &received, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    line.wait_for_listener()?;
    succeed("edge", &[&board[..], &[&line.board, "--head", "--pool", "cls"]].concat());
    let output = listener.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // The host's own: features of the head's pooling, times the weights in the file.
    let tract = ["--runtime", "tract", "--pool", "mean"];
    let features = ["features", "--model", &model, "--images", &test, "--out", &expected];
    succeed("host", &[&features[..], &tract].concat());
    let (tensors, metadata) = host::tensors::safetensors::read(&root.path().join("model/head.safetensors"))?;
    let description: serde_json::Value = serde_json::from_str(&metadata["head"])?;
    let names: Vec<&str> =
        description["classes"].as_array().context("names")?.iter().flat_map(|n| n.as_str()).collect();
    let weights = Array2::from_shape_vec((10, 48), tensors["weight"].data.clone())?;
    let logits = read_features(expected.as_ref())?.dot(&weights.t()) + &Array1::from(tensors["bias"].data.clone());

    let text = fs::read_to_string(&received)?;
    let rows: Vec<Vec<String>> = text.lines().map(fields).collect();
    assert_eq!(rows[0][..8], ["frame", "name", "kept", "patches", "micros", "class", "score", "f0"]);
    assert_eq!((rows.len(), rows[1].len()), (31, 7 + 48));
    let mut agree = 0;
    for (row, logits) in rows[1..].iter().zip(logits.rows()) {
        let class = (0..10).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).context("ten classes")?;
        let sum: f32 = logits.iter().map(|logit| (logit - logits[class]).exp()).sum();
        let score: f32 = row[6].parse()?;
        assert_eq!(row[5], names[class], "{row:?}");
        assert!((score - 1.0 / sum).abs() < 1e-4, "{score} {}", 1.0 / sum);
        agree += u32::from(row[1].starts_with(&format!("{}/", row[5])));
    }
    assert!((f64::from(agree) - accuracy * 30.0).abs() < 1.5, "{agree} of 30 right on the board, {accuracy} here");

    // The same stream, recorded, as .npy with a file of classes.
    let stream = run("edge", &[&board[..], &["-", "--head", &model]].concat());
    fs::write(path("record.bin"), stream.stdout)?;
    succeed("host", &["listen", "--port", &path("record.bin"), "--out", &path("f.npy")]);
    let classes = fs::read_to_string(path("f.classes.csv"))?;
    let of_npy: Vec<Vec<String>> = classes.lines().skip(1).map(fields).collect();
    let of_csv: Vec<Vec<String>> =
        rows[1..].iter().map(|row| vec![row[1].clone(), row[5].clone(), row[6].clone()]).collect();
    assert_eq!(of_npy, of_csv);
    assert_eq!(read_features(Path::new(&path("f.npy")))?.nrows(), 30);

    // A head of another encoder is refused, on the board and by the packer.
    let toml = root.path().join("model/model.toml");
    let text = fs::read_to_string(&toml)?;
    let (before, after) = text.split_once("hash = \"").context("hash")?;
    fs::write(&toml, format!("{before}hash = \"0000000000000000{}", &after[16..]))?;
    let output = run("edge", &[&board[..], &["-", "--head"]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("was trained on the encoder") && text.contains("0000000000000000"), "{text}");
    Ok(())
}

#[test]
fn impossible_evaluations_are_refused() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    parity_model(&root.path().join("model")).expect("model");
    write_images(&root.path().join("train"), 20).expect("images");
    let (model, images) = (path("model"), path("train"));
    let refuse = |how: &str, model: &str, more: &[&str], wanted: &[&str]| {
        let sets = ["evaluate", how, "--model", model, "--train", &images, "--test", &images];
        let output = run("host", &[&sets[..], more].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {text}");
        assert!(wanted.iter().all(|wanted| text.contains(wanted)) && !text.contains("panicked"), "{more:?}: {text}");
    };
    refuse("linear", &images, &["--save-head"], &["--save-head", "model folder"]);
    refuse("linear", &model, &["--out-head", "head.bin"], &["--out-head", ".safetensors"]);
    refuse("linear", &model, &["--confusion", "a.jpg"], &["--confusion", ".png"]);
    refuse("linear", &model, &["--method", "closed", "--epochs", "3"], &["--method lars"]);
    refuse("linear", &model, &["--method", "lars", "--blr", "0"], &["--blr"]);
    refuse("linear", &model, &["--limit", "0"], &["--limit"]);
    refuse("knn", &model, &["--k", "5,0"], &["--k"]);
    refuse("knn", &model, &["--runtime", "burn", "--precision", "w8"], &["--precision"]);
    refuse("knn", &model, &["--precision", "bf16,int8"], &["--precision in 8 bits", "--runtime tract"]);
    refuse("knn", &model, &["--runtime", "tract", "--precision", "bf16"], &["--precision bf16", "--runtime burn"]);
    refuse("knn", &images, &["--precision", "w8"], &["no model folder"]);
}
