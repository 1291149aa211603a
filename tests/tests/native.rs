//! The native runtime in the programs: from the exporter to features, what its options do, how misuse is told.

use host::link::{Event, Reader};
use std::{fs, path::Path};
use tests::{close, parity_model, read_features, run, succeed, worst_cosine, write_images};

/// A model folder and images.
struct Made {
    root: tempfile::TempDir,
}

impl Made {
    fn new() -> anyhow::Result<Self> {
        let root = tempfile::tempdir()?;
        parity_model(&root.path().join("model"))?;
        write_images(&root.path().join("images"), 12)?;
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    /// Features by `edge run` through `host listen`, and the runtime that the board named.
    fn board(&self, more: &[&str]) -> anyhow::Result<(ndarray::Array2<f32>, String)> {
        let (model, images) = (self.path("model"), self.path("images"));
        let args = ["run", "--model", &model, "--source", &images, "--port", "-", "--pool", "mean"];
        let output = run("edge", &[&args[..], more].concat());
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(self.path("record.bin"), &output.stdout)?;
        succeed("host", &["listen", "--port", &self.path("record.bin"), "--out", &self.path("board.npy")]);
        let mut reader = Reader::new(&output.stdout[..]);
        let runtime = loop {
            match reader.next_event()? {
                Event::Hello(hello) => break hello.runtime.to_string(),
                Event::Ended(_) => anyhow::bail!("no greeting"),
                _ => {}
            }
        };
        Ok((read_features(self.path("board.npy").as_ref())?, runtime))
    }

    /// Features by `host features`.
    fn host(&self, more: &[&str]) -> anyhow::Result<ndarray::Array2<f32>> {
        let (model, images, out) = (self.path("model"), self.path("images"), self.path("host.npy"));
        let args = ["features", "--model", &model, "--images", &images, "--pool", "mean", "--out", &out];
        succeed("host", &[&args[..], more].concat());
        read_features(out.as_ref())
    }
}

#[test]
fn the_board_computes_what_the_host_computes_and_near_the_float_encoder() -> anyhow::Result<()> {
    let made = Made::new()?;
    for keep in ["1", "0.25"] {
        let keep = ["--keep", keep];
        let with = |more: &[&'static str]| [&keep[..], more].concat();
        let float = made.host(&keep)?;
        let native = made.host(&with(&["--runtime", "native"]))?;
        let (board, runtime) = made.board(&keep)?;
        assert!(runtime.starts_with("native "), "native is the default where it is there: {runtime}");
        assert_eq!(board, native);
        let cosine = worst_cosine(&board, &float);
        assert!(cosine > 0.999, "{cosine}");
        assert!(board != float, "8 bits are not the float encoder");
        for more in [&["--kernels", "portable"][..], &["--threads", "2"], &["--runtime", "native", "--threads", "3"]]
        {
            assert_eq!(made.board(&with(more))?.0, board, "{more:?} changes a bit");
        }
        let (tract, runtime) = made.board(&with(&["--precision", "f32"]))?;
        assert_eq!(runtime, "tract f32");
        close(&tract, &float, 1e-4)?;
    }
    Ok(())
}

#[test]
fn misuse_of_the_native_runtime_is_explained() -> anyhow::Result<()> {
    let made = Made::new()?;
    let (model, images, without) = (made.path("model"), made.path("images"), made.path("without"));
    let refuse = |name: &str, args: &[&str], code: i32, wanted: &[&str]| {
        let output = run(name, args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(wanted.iter().all(|part| text.contains(part)) && text.lines().count() == 1, "{args:?}: {text}");
    };
    let edge = |more: &[&str], code, wanted: &[&str]| {
        refuse("edge", &[&["run", "--source", &images, "--port", "-", "--model"], more].concat(), code, wanted);
    };
    edge(&[&model, "--kernels", "quantum"], 2, &["quantum", "portable"]);
    edge(&[&model, "--threads", "0"], 2, &["--threads must be at least 1"]);
    edge(&[&model, "--runtime", "native", "--precision", "int8"], 2, &["--precision is for --runtime tract"]);
    edge(&[&model, "--runtime", "tract", "--kernels", "portable"], 2, &["--kernels is for --runtime native"]);
    edge(&[&model, "--precision", "f32", "--threads", "2"], 2, &["--threads is for --runtime native"]);
    refuse("edge", &["bench", "--model", &model, "--kernels", "x", "--rounds", "1"], 2, &["--kernels x"]);
    let features = ["features", "--model", &model, "--images", &images, "--out", &made.path("f.npy")];
    let both = ["--runtime", "native", "--precision", "w8"];
    refuse("host", &[&features[..], &both].concat(), 2, &["--precision is for --runtime tract"]);

    // A model folder of an earlier version.
    fs::create_dir(&without)?;
    for file in ["encoder.onnx", "encoder.w8.onnx", "encoder.int8.onnx"] {
        fs::copy(Path::new(&model).join(file), Path::new(&without).join(file))?;
    }
    let text = fs::read_to_string(Path::new(&model).join("model.toml"))?;
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("native_sha256")).collect();
    fs::write(Path::new(&without).join("model.toml"), text.join("\n"))?;
    edge(&[&without, "--runtime", "native"], 2, &["has no native encoder", "--runtime tract"]);
    let info = succeed("edge", &["info", "--model", &without]);
    assert!(info.contains("encoder.onnx") && !info.contains("native"), "{info}");
    assert!(run("edge", &["run", "--source", &images, "--port", "-", "--model", &without]).status.success());

    // Damage.
    let native = Path::new(&model).join("encoder.native");
    let good = fs::read(&native)?;
    assert!(succeed("edge", &["info", "--model", &model]).contains("encoder.native"));
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        bytes
    };
    let cases: [(Vec<u8>, &str); 5] = [
        (damaged(3), "no native encoder"),
        (damaged(7), "version"),
        (damaged(40), "header is damaged"),
        (damaged(good.len() - 9), "data is damaged"),
        (good[..good.len() / 2].to_vec(), "cut off"),
    ];
    for (bytes, wanted) in cases {
        fs::write(&native, bytes)?;
        edge(&[&model], 1, &["encoder.native", wanted]);
        refuse("edge", &["info", "--model", &model], 1, &["encoder.native"]);
    }
    fs::remove_file(&native)?;
    edge(&[&model], 1, &["cannot read", "encoder.native"]);
    Ok(())
}

#[test]
fn the_bench_of_encoding_reports_every_figure() -> anyhow::Result<()> {
    let made = Made::new()?;
    let model = made.path("model");
    let args = ["bench", "encode", "--model", &model, "--visible", "4,16,64", "--rounds", "2", "--json"];
    // A program that is no Python: the rivals that need one are named as missing.
    let report: serde_json::Value =
        serde_json::from_str(&succeed("host", &[&args[..], &["--python", "/bin/false"]].concat()))?;
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["contender"].as_str()).collect();
    assert_eq!(
        names,
        [
            "native",
            "native",
            "native",
            "tract f32",
            "tract f32",
            "tract f32",
            "tract int8",
            "tract int8",
            "tract int8"
        ]
    );
    for row in rows {
        assert!(row["ms"]["median"].as_f64() > Some(0.0) && row["cosine"].as_f64() > Some(0.99), "{row}");
    }
    assert_eq!(report["ratios"].as_array().map(Vec::len), Some(6));
    for parts in report["parts"].as_array().expect("parts") {
        let shares = parts["parts"].as_array().expect("parts").iter().filter_map(|part| part["share"].as_f64());
        let sum: f64 = shares.sum();
        assert!((0.8..1.2).contains(&sum), "{parts}");
        assert!(parts["peak_gops"].as_f64() > Some(0.0), "{parts}");
    }
    assert_eq!(report["shares"][2]["of_time"], 1.0, "{report}");
    assert!(report["board"]["startup_ms"]["median"].as_f64() > Some(0.0), "{report}");
    assert!(report["missing"].to_string().contains("onnxruntime"), "{report}");
    for (more, wanted) in [("--visible=65", "64 patches"), ("--rounds=0", "--rounds"), ("--kernels=x", "--kernels x")]
    {
        let output = run("host", &["bench", "encode", "--model", &model, more]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(wanted), "{text}");
    }
    Ok(())
}
