//! Bad input: one line with the cause and what to do, the right exit code, nothing half-written.

use std::{fs, path::Path};
use tests::{parity_model, run, shards, write_images};

/// Runs a program that must fail with `code`, one line that contains all of `wanted`, and no panic.
fn refuse(name: &str, args: &[&str], code: i32, wanted: &[&str]) {
    let output = run(name, args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    let last = text.lines().rfind(|line| line.starts_with(&format!("{name}: "))).unwrap_or_else(|| panic!("{text}"));
    for wanted in wanted {
        assert!(last.contains(wanted), "{name} {args:?}: {last:?} lacks {wanted:?}");
    }
}

/// CRC-32/ISO-HDLC, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn pretrain_refuses_what_cannot_be_trained() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    fs::create_dir(path("empty")).expect("folder");
    fs::create_dir(path("broken")).expect("folder");
    for name in ["a.png", "b.jpg"] {
        fs::write(root.path().join("broken").join(name), "no image").expect("file");
    }
    write_images(&root.path().join("few"), 5).expect("images");
    let out = path("run");
    let pretrain = |more: &[&str], code, wanted: &[&str]| {
        let args = [&["pretrain", "--device", "cpu", "--out", &out], more].concat();
        refuse("host", &args, code, wanted);
        assert!(!Path::new(&out).exists(), "{more:?} left a run folder");
    };
    // What the parser of options refuses begins with its own word.
    let not_understood = |more: &[&str], wanted: &[&str]| {
        let output = run("host", &[&["pretrain"], more].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(wanted.iter().all(|wanted| line.contains(wanted)), "{more:?}: {line:?}");
    };
    pretrain(&["--data", &path("none")], 2, &["cannot read", "none", "--data"]);
    pretrain(&["--data", &path("empty")], 2, &["holds no image", "jpg"]);
    pretrain(&["--data", &path("broken")], 1, &["none of the 2 images", "damaged"]);
    pretrain(&["--data", &path("few")], 2, &["5 images", "--batch-size 5"]);
    for ratio in ["0", "1", "1.5", "-0.1", "nan"] {
        pretrain(&[&format!("--mask-ratio={ratio}")], 2, &["--mask-ratio", "between 0 and 1"]);
    }
    pretrain(&["--mask-ratio", "0.999"], 2, &["keeps none of 64 patches"]);
    for (range, wanted) in [
        ("1..0.15", "give the smaller share first"),
        ("0.5..1.5", "use numbers from 0 to 1"),
        ("-1..1", "use numbers from 0 to 1"),
        ("nan..1", "use numbers from 0 to 1"),
        ("0..0", "no patch would be visible"),
        ("0.5", "LO..HI, two numbers such as 0.15..1"),
        ("few..many", "LO..HI, two numbers such as 0.15..1"),
    ] {
        not_understood(&[&format!("--keep-range={range}")], &["--keep-range", wanted]);
    }
    not_understood(&["--keep-range", "0.15..1", "--mask-ratio", "0.5"], &["--keep-range", "--mask-ratio"]);
    not_understood(&["--resume", &path("few"), "--jitter", "1"], &["--resume", "--jitter"]);
    not_understood(&["--optimizer", "sgd"], &["--optimizer", "sgd"]);
    not_understood(&["--grey", "often"], &["--grey", "often"]);
    for (option, value, wanted) in [
        ("--jitter", "2.6", "between 0, which is off, and 2.5"),
        ("--jitter", "nan", "between 0, which is off, and 2.5"),
        ("--grey", "-0.1", "between 0, which is off, and 1"),
        ("--blur", "1.5", "between 0, which is off, and 1"),
        ("--solarise", "inf", "between 0, which is off, and 1"),
        ("--crop-area", "0", "above 0 and at most 1"),
        ("--crop-area", "1.1", "above 0 and at most 1"),
    ] {
        pretrain(&[&format!("{option}={value}")], 2, &[&format!("host: {option} "), wanted]);
    }
    pretrain(&["--crop-area", "0.1", "--augment", "fixed-crop"], 2, &["--crop-area", "--augment fixed-crop"]);
    pretrain(&["--jitter", "1", "--augment", "colour-jitter"], 2, &["colour-jitter is a jitter already", "--jitter"]);
    pretrain(&["--preset", "nano"], 2, &["no preset `nano`", "pico-32"]);
    pretrain(&["--preset", "own.toml"], 2, &["no preset `own.toml`", "--config own.toml"]);
    pretrain(&["--epochs", "0"], 2, &["--epochs"]);
    pretrain(&["--accumulate", "0"], 2, &["--accumulate", "at least 1"]);
    pretrain(&["--accumulate", "18446744073709551615"], 2, &["--accumulate", "too large"]);
    let few = path("few");
    pretrain(
        &["--data", &few, "--batch-size", "3", "--accumulate", "2"],
        2,
        &["5 images", "2 batches of 3", "--batch-size 2"],
    );
    let one = ["--recipe", "paper", "--data", &few, "--batch-size", "1", "--accumulate", "6"];
    pretrain(&one, 2, &["5 images", "--accumulate 6"]);
    pretrain(&["--checkpoint-seconds", "0"], 2, &["--checkpoint-seconds", "at least 1"]);
    pretrain(&["--checkpoint-steps", "0"], 2, &["--checkpoint-steps", "at least 1"]);
    pretrain(&["--keep-checkpoints", "0"], 2, &["--keep-checkpoints", "at least 1"]);
    let preset = |size: usize, patch: usize| {
        let text = include_str!("../../models/pico-32.toml");
        let text = text
            .replace("= 32\n", &format!("= {size}\n"))
            .replace("patch_size = 4", &format!("patch_size = {patch}"));
        fs::write(path("own.toml"), text).expect("file");
    };
    preset(32, 5);
    pretrain(&["--config", &path("own.toml")], 2, &["32x32", "not a whole number of patches"]);
    preset(4, 8);
    pretrain(&["--config", &path("own.toml")], 2, &["4x4", "smaller than one patch"]);
    preset(32, 4);
    let text = fs::read_to_string(path("own.toml")).expect("file").replace("dim = 128", "dim = 100000000");
    fs::write(path("own.toml"), text).expect("file");
    pretrain(&["--config", &path("own.toml")], 2, &["own.toml", "100000000", "parameters"]);
    fs::write(path("own.toml"), "what?").expect("file");
    pretrain(&["--config", &path("own.toml")], 2, &["own.toml is not a usable preset", "line 1"]);
    pretrain(&["--config", &path("missing.toml")], 2, &["cannot read", "missing.toml"]);
}

#[test]
fn shards_that_cannot_be_read_are_told_in_one_line() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    fs::create_dir(path("all")).expect("folder");
    shards::write_all(&root.path().join("all"), 3, 4).expect("shards");
    let whole = fs::read(path("all/train-001.tar")).expect("shard");
    let write = |name: &str, bytes: &[u8]| fs::write(path(name), bytes).expect("file");
    write("cut.tar", &whole[..whole.len() / 2]);
    write("words.tar", &b"no archive, but words ".repeat(60));
    write("empty.tar", b"");
    write("zeros.tar", &[0; 10240]);
    write("packed.tar", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let mut damaged = whole.clone();
    // The name in the second header.
    let second = (1..whole.len() / 512).find(|block| &whole[block * 512 + 257..][..5] == b"ustar").expect("header");
    damaged[second * 512] ^= 1;
    write("damaged.tar", &damaged);
    shards::write(&root.path().join("text.tar"), [("0.txt".to_owned(), &b"words"[..])]).expect("shard");
    shards::write(&root.path().join("broken.tar"), [("0.png".to_owned(), &b"no image"[..])]).expect("shard");
    fs::create_dir(path("odd")).expect("folder");
    for name in ["a.tar", "b.tar"] {
        fs::copy(path("all/train-000.tar"), root.path().join("odd").join(name)).expect("file");
    }
    let out = path("run");
    let pretrain = |data: &[&str], code, wanted: &[&str]| {
        let data: Vec<String> = data.iter().map(|name| path(name)).collect();
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        refuse(
            "host",
            &[&["pretrain", "--device", "cpu", "--out", &out, "--data"], &data[..]].concat(),
            code,
            wanted,
        );
        assert!(!Path::new(&out).exists(), "{data:?} left a run folder");
    };
    pretrain(&["all/train-{000..004}.tar"], 2, &["--data: there is no shard", "train-003.tar", "2 of the 5 named"]);
    pretrain(&["none.tar"], 2, &["--data: there is no shard", "none.tar"]);
    pretrain(&["all/*.tar"], 2, &["there is no shard", "leave out the quotes"]);
    pretrain(&["all/train-{002..000}.tar"], 2, &["{002..000}", "names nothing", "smaller number first"]);
    pretrain(&["all/train-{000,002}.tar"], 2, &["{000,002}", "no range", "{000..127}"]);
    pretrain(&["all/train-{000..002.tar"], 2, &["brace without its partner"]);
    pretrain(&["all/train-{0..99999999}.tar"], 2, &["more than 1000000 shards"]);
    pretrain(&["all/train-000.tar", "all/train-{000..001}.tar"], 2, &["train-000.tar is named twice"]);
    pretrain(&["all/train-000.tar", "odd"], 2, &["odd is no shard"]);
    pretrain(&["all"], 2, &["no image but tar archives", "--data '", "all/train-{000..002}.tar'"]);
    pretrain(&["odd"], 2, &["no image but tar archives", "odd/*.tar"]);
    pretrain(&["cut.tar"], 1, &["cut.tar is cut off at member", "again"]);
    pretrain(&["damaged.tar"], 1, &["damaged.tar is damaged at member 2"]);
    pretrain(&["empty.tar"], 1, &["empty.tar is empty"]);
    pretrain(&["words.tar"], 2, &["words.tar is no tar archive"]);
    pretrain(&["packed.tar"], 2, &["packed.tar is compressed with gzip", "gunzip <"]);
    pretrain(&["all/train-{000..002}.tar.gz"], 2, &["compressed with gzip", "gunzip <"]);
    pretrain(&["zeros.tar"], 2, &["no image (jpg, ", "zeros.tar", "1 shard without images"]);
    pretrain(&["text.tar"], 2, &["no image (jpg, ", "1 file of other kinds (.txt 1)"]);
    pretrain(&["broken.tar"], 1, &["none of the 1 images", "broken.tar", "damaged"]);
    pretrain(&["all/train-{000..002}.tar"], 2, &["12 images", "--batch-size 12"]);
    // What reads folders says so.
    let (shard, model) = (path("all/train-{000..002}.tar"), path("model"));
    parity_model(Path::new(&model)).expect("model");
    let npy = path("features.npy");
    let wanted = ["names a tar archive", "unpack it into a folder"];
    refuse("host", &["features", "--model", &model, "--images", &shard, "--out", &npy], 2, &wanted);
    let knn = ["evaluate", "knn", "--model", &model, "--train", &shard, "--test", &path("all/train-000.tar")];
    refuse("host", &knn, 2, &wanted);
    refuse("edge", &["run", "--model", &model, "--source", &path("all/train-000.tar")], 2, &wanted);
}

#[test]
fn cuda_without_cuda_says_what_is_missing() {
    if Path::new("/proc/driver/nvidia/version").exists() {
        return tests::skip("this machine has an NVIDIA driver, so asking for CUDA is no misuse");
    }
    refuse("host", &["pretrain", "--device", "cuda", "--out", "/nonexistent/run"], 2, &["no CUDA device", "driver"]);
}

#[test]
fn run_folders_are_protected_and_checked() {
    let root = tempfile::tempdir().expect("folder");
    let run = root.path().join("run").display().to_string();
    let out = root.path().join("out").display().to_string();
    refuse("host", &["export", "--run", &run, "--out", &out], 2, &["neither a run folder", "nor a model folder"]);
    refuse("host", &["pretrain", "--resume", &run], 2, &["no run folder", "run.toml"]);
    assert!(!Path::new(&run).exists(), "no lock is left where there is no run");
    let small = ["--synthetic-images", "16", "--batch-size", "16", "--epochs", "1", "--device", "cpu"];
    tests::succeed("host", &[&["pretrain", "--out", &run], &small[..]].concat());
    refuse("host", &[&["pretrain", "--out", &run], &small[..]].concat(), 2, &["holds a run already", "--resume"]);
    refuse("host", &["export", "--run", &run, "--out", &run], 2, &["is a run folder", "another folder"]);
    // What is in the way of an export is not a model: it stays.
    let precious = root.path().join("photos");
    write_images(&precious, 2).expect("images");
    let photos = precious.display().to_string();
    refuse("host", &["export", "--run", &run, "--out", &photos], 2, &["no model folder", "name another --out"]);
    assert_eq!(fs::read_dir(&precious).expect("folder").count(), 2);
    let no_png = ["reconstruct", "--run", &run, "--out", &photos];
    refuse("host", &no_png, 2, &["must end in .png"]);
    let picture = root.path().join("p.png").display().to_string();
    let ratio = ["reconstruct", "--run", &run, "--out", &picture, "--mask-ratio", "2"];
    refuse("host", &ratio, 2, &["--mask-ratio 2", "between 0 and 1"]);

    let checkpoint =
        fs::read_dir(root.path().join("run/checkpoints")).expect("folder").next().expect("one").expect("entry");
    let weights = checkpoint.path().join("model.safetensors");
    let bytes = fs::read(&weights).expect("file");
    for damaged in [&bytes[..bytes.len() / 2], b"", b"not a checkpoint at all"] {
        fs::write(&weights, damaged).expect("file");
        refuse("host", &["export", "--run", &run, "--out", &out], 1, &["no whole checkpoint", "model.safetensors"]);
        assert!(!Path::new(&out).exists());
    }
    let description = root.path().join("run/run.toml");
    let text = fs::read_to_string(&description).expect("file");
    fs::write(&description, text.replace("format = 1", "format = 9")).expect("file");
    refuse("host", &["export", "--run", &run, "--out", &out], 1, &["format 9", "reads format 1"]);
    fs::write(&description, "format = 1\nmodel = 3").expect("file");
    refuse(
        "host",
        &["reconstruct", "--run", &run, "--out", &picture],
        1,
        &["run.toml is not a usable run description"],
    );
}

#[test]
fn import_refuses_what_is_no_masked_autoencoder() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/mae-32");
    let shown = |name: &str| parity.join(name).display().to_string();
    let import = |checkpoint: &str, more: &[&str], code, wanted: &[&str]| {
        let out = path("run");
        let args = [&["import", "--checkpoint", checkpoint, "--out", &out], more].concat();
        refuse("host", &args, code, wanted);
        assert!(!Path::new(&out).exists(), "{checkpoint} left a run folder");
    };
    import(&path("none.pth"), &[], 2, &["cannot read", "none.pth"]);
    fs::write(path("text.pth"), "these are no weights").expect("file");
    import(&path("text.pth"), &[], 1, &["text.pth is neither a PyTorch checkpoint", "safetensors"]);
    fs::create_dir(path("empty")).expect("folder");
    import(&path("empty"), &[], 2, &["has no weights", "model.safetensors"]);
    import(&shown("../../checkpoints/legacy.pth"), &[], 1, &["legacy.pth", "no encoder", "13 tensors", "`dense`"]);
    import(&shown("../../checkpoints/odd.pth"), &[], 1, &["odd.pth", "no encoder", "13 tensors"]);
    import(&shown("checkpoint.pth"), &["--num-heads", "5"], 1, &["5 heads (--num-heads)", "the width 48"]);
    import(&shown("checkpoint.pth"), &["--image-size", "30"], 1, &["--image-size", "30x30"]);

    let bytes = fs::read(shown("checkpoint.pth")).expect("file");
    fs::write(path("cut.pth"), &bytes[..bytes.len() / 2]).expect("file");
    import(&path("cut.pth"), &[], 1, &["cannot read", "cut.pth", "no whole PyTorch file"]);
    let bytes = fs::read(shown("checkpoint.safetensors")).expect("file");
    fs::write(path("cut.safetensors"), &bytes[..bytes.len() / 2]).expect("file");
    import(&path("cut.safetensors"), &[], 1, &["cut.safetensors is not a whole safetensors file"]);

    let (mut tensors, _) = host::tensors::safetensors::read(&parity.join("checkpoint.safetensors")).expect("file");
    let one = tensors.remove("blocks.1.norm2.bias").expect("a tensor");
    let write = |tensors: &host::tensors::Tensors| {
        let file = root.path().join("wrong.safetensors");
        host::tensors::safetensors::write(&file, tensors, Default::default()).expect("file");
    };
    write(&tensors);
    import(&path("wrong.safetensors"), &[], 1, &["the number of heads", "48", "give --num-heads"]);
    let heads = ["--num-heads", "3", "--decoder-num-heads", "4"];
    import(&path("wrong.safetensors"), &heads, 1, &["wrong.safetensors", "`blocks.1.norm2.bias` is missing"]);
    let longer = host::tensors::NamedTensor { shape: vec![49], data: [&one.data[..], &[0.0]].concat() };
    tensors.insert("blocks.1.norm2.bias".into(), longer);
    write(&tensors);
    import(&path("wrong.safetensors"), &heads, 1, &["`blocks.1.norm2.bias` is [49] where [48] is needed"]);

    tests::succeed("host", &["import", "--checkpoint", &shown("checkpoint.pth"), "--out", &path("good")]);
    let again = ["import", "--checkpoint", &shown("checkpoint.pth"), "--out", &path("good")];
    refuse("host", &again, 2, &["holds a run already"]);
    let export = |out: &str, format: &str, wanted: &[&str]| {
        let args = ["export", "--run", &path("good"), "--format", format, "--out", out];
        refuse("host", &args, 2, wanted);
    };
    export(&path("weights"), "official", &["ends in .pth or .safetensors"]);
    export(&path("good"), "huggingface", &["no exported folder", "name another --out"]);
}

#[test]
fn edge_refuses_bad_models_sources_and_ports() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    parity_model(&root.path().join("model")).expect("model");
    write_images(&root.path().join("images"), 3).expect("images");
    fs::create_dir(path("broken")).expect("folder");
    fs::write(root.path().join("broken/a.png"), "no image").expect("file");
    let (model, images) = (path("model"), path("images"));
    let edge = |more: &[&str], code, wanted: &[&str]| {
        refuse("edge", &[&["run", "--port", "-"], more].concat(), code, wanted)
    };
    edge(&["--model", &images, "--source", &images], 2, &["no model folder", "host export"]);
    edge(&["--model", &model, "--source", &path("none")], 2, &["cannot read", "none"]);
    edge(&["--model", &model, "--source", &path("broken")], 1, &["none of the 1 images"]);
    for keep in ["0", "1.01", "-1", "nan"] {
        edge(&["--model", &model, "--source", &images, &format!("--keep={keep}")], 2, &["--keep"]);
    }
    edge(&["--model", &model, "--source", &images, "--keep", "0.5", "--select", "all"], 2, &["--select all"]);
    let port = ["run", "--model", &model, "--source", &images, "--port", "/dev/ttyNONE"];
    refuse("edge", &port, 2, &["/dev/ttyNONE does not exist", "present"]);
    refuse("host", &["listen", "--port", "/dev/ttyNONE"], 2, &["/dev/ttyNONE does not exist", "present"]);
    refuse("edge", &["bench", "--model", &model, "--rounds", "0"], 2, &["--rounds"]);
    refuse("host", &["verify", "--model", &model, "--images", &images, "--limit", "0"], 2, &["--limit"]);
    let no_npy = ["features", "--model", &model, "--images", &images, "--out", &path("f.txt")];
    refuse("host", &no_npy, 2, &["must end in .npy"]);
    for (set, count) in [("train", 2), ("test", 3)] {
        write_images(&root.path().join(set), count).expect("images");
    }
    let unlike = ["evaluate", "knn", "--model", &model, "--train", &path("train"), "--test", &path("test")];
    refuse("host", &unlike, 2, &["class class-2", "the same class folders"]);

    // A description that another encoder belongs to, and one without an encoder.
    let description = root.path().join("model/model.toml");
    let text = fs::read_to_string(&description).expect("file");
    fs::write(&description, text.replace("image_height = 32", "image_height = 64")).expect("file");
    let tract = ["--model", &model, "--source", &images, "--runtime", "tract"];
    edge(&tract, 1, &["[64, 48]", "[128, 48]", "export it again"]);
    edge(&tract[..4], 1, &["encoder.native", "another model", "copy the model again"]);
    let (encoder, _) = text.split_once("[sha256]").expect("the last table");
    let encoder: String =
        encoder.lines().filter(|line| !line.starts_with("native")).map(|line| line.to_owned() + "\n").collect();
    fs::write(&description, format!("{encoder}[sha256]\n")).expect("file");
    edge(&["--model", &model, "--source", &images], 1, &["model.toml is damaged", "names no form"]);
    fs::write(&description, text).expect("file");

    let onnx = root.path().join("model/encoder.onnx");
    let bytes = fs::read(&onnx).expect("file");
    fs::write(&onnx, &bytes[..bytes.len() - 100]).expect("file");
    edge(&tract, 1, &["encoder.onnx is damaged", "checksum"]);
    let native = root.path().join("model/encoder.native");
    let bytes = fs::read(&native).expect("file");
    fs::write(&native, &bytes[..bytes.len() - 100]).expect("file");
    edge(&tract[..4], 1, &["encoder.native", "copy the model again"]);
    fs::write(root.path().join("model/model.toml"), "format = 4").expect("file");
    edge(&["--model", &model, "--source", &images], 1, &["format 4", "reads format 1"]);
}

#[test]
fn a_full_disk_or_a_line_of_noise_leaves_nothing_half_written() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    let noise: Vec<u8> = (0..50_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(path("noise.bin"), noise).expect("file");
    refuse(
        "host",
        &["listen", "--port", &path("noise.bin"), "--out", &path("f.npy")],
        1,
        &["no feature came", "--baud"],
    );
    assert!(!Path::new(&path("f.npy")).exists() && !Path::new(&path("f.names.txt")).exists());
    refuse("host", &["listen", "--port", &path("noise.bin"), "--out", &path("f.dat")], 2, &[".npy, .csv or .jsonl"]);
    // A whole frame of another protocol: the version byte is 9, the checksum right (docs/wire.md).
    let mut body = vec![9, 1, 1, 1];
    body.extend_from_slice(&crc32(&body).to_le_bytes());
    assert!(!body.contains(&0), "no zero, so that COBS is one length byte in front");
    let frame = [&[0, body.len() as u8 + 1], &body[..], &[0]].concat();
    fs::write(path("foreign.bin"), frame).expect("file");
    let foreign = ["listen", "--port", &path("foreign.bin"), "--out", &path("f.npy")];
    refuse("host", &foreign, 1, &["protocol 9", "the same version on both"]);
    assert!(!Path::new(&path("f.npy")).exists() && !Path::new(&path("f.names.txt")).exists());

    parity_model(&root.path().join("model")).expect("model");
    write_images(&root.path().join("images"), 3).expect("images");
    let stream = run("edge", &["run", "--model", &path("model"), "--source", &path("images"), "--port", "-"]);
    fs::write(path("record.bin"), stream.stdout).expect("file");
    #[cfg(target_os = "linux")]
    {
        // A disk that is full from the start.
        std::os::unix::fs::symlink("/dev/full", path("full.csv")).expect("link");
        let args = ["listen", "--port", &path("record.bin"), "--out", &path("full.csv")];
        refuse("host", &args, 1, &["cannot write", "0 features before"]);
        let output = std::process::Command::new(tests::program("edge"))
            .args(["run", "--model", &path("model"), "--source", &path("images"), "--port", "-"])
            .stdout(fs::File::options().write(true).open("/dev/full").expect("/dev/full"))
            .output()
            .expect("edge starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("failed after 0 features"), "{text}");
    }
}

#[test]
fn finetuning_refuses_what_cannot_be_trained() {
    let root = tempfile::tempdir().expect("folder");
    let path = |name: &str| root.path().join(name).display().to_string();
    parity_model(&root.path().join("model")).expect("model");
    write_images(&root.path().join("images"), 20).expect("images");
    fs::create_dir_all(path("flat")).expect("folder");
    fs::copy(root.path().join("images/class-0/0000.png"), root.path().join("flat/a.png")).expect("copy");
    fs::create_dir_all(path("other/class-x")).expect("folder");
    fs::copy(root.path().join("images/class-0/0000.png"), root.path().join("other/class-x/a.png")).expect("copy");
    let (model, images, out) = (path("model"), path("images"), path("run"));
    let refused = |how: &str, more: &[&str], code, wanted: &[&str]| {
        let given = |option: &str| more.contains(&option);
        let mut args = vec!["evaluate", how, "--device", "cpu", "--out", &out];
        for (option, value) in [("--model", &model), ("--train", &images), ("--test", &images)] {
            args.extend(if given(option) { vec![] } else { vec![option, value.as_str()] });
        }
        args.extend(more);
        refuse("host", &args, code, wanted);
        assert!(!Path::new(&out).exists(), "{more:?} left a folder");
    };
    let finetune = |more: &[&str], wanted: &[&str]| refused("finetune", more, 2, wanted);
    finetune(&[], &["20 images", "--batch-size 20"]);
    finetune(&["--model", &images], &["run.toml", "model.toml"]);
    finetune(&["--train", &path("none")], &["cannot read", "--train"]);
    finetune(&["--train", &path("flat")], &["outside class folders"]);
    finetune(&["--test", &path("other"), "--batch-size", "4"], &["class-x", "same class folders"]);
    finetune(&["--epochs", "0"], &["--epochs"]);
    finetune(&["--layer-decay", "0"], &["--layer-decay"]);
    finetune(&["--layer-decay", "1.5"], &["--layer-decay"]);
    finetune(&["--drop-path", "1"], &["--drop-path"]);
    finetune(&["--mixup=-1"], &["--mixup"]);
    finetune(&["--cutmix", "nan"], &["--cutmix"]);
    finetune(&["--random-erasing", "2"], &["--random-erasing"]);
    finetune(&["--label-smoothing", "1"], &["--label-smoothing"]);
    finetune(&["--keep", "0"], &["--keep"]);
    finetune(&["--limit", "0"], &["--limit"]);
    for blocks in ["3", "1.5", "nan"] {
        refused("partial", &["--batch-size", "4", "--blocks", blocks], 2, &["--blocks", "up to 2"]);
    }
    // The last of a list, before anything is trained.
    refused("partial", &["--batch-size", "4", "--blocks", "0,1,7"], 2, &["--blocks 7"]);

    let none = ["evaluate", "finetune", "--device", "cpu"];
    refuse("host", &none, 2, &["--model DIR is needed"]);
    refuse("host", &["evaluate", "finetune", "--resume", &model], 2, &["finetune.toml"]);
}
