//! `host explore`: the page's questions and answers over HTTP, bad ones too, and the page itself in a browser.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tests::{program, run, skip, succeed, write_images};

/// A tiny trained run, 12 patches of 8x8.
fn tiny_run(root: &Path) -> anyhow::Result<PathBuf> {
    let (preset, run) = (root.join("tiny.toml"), root.join("tiny & <run>"));
    fs::write(
        &preset,
        "description = \"for a test\"\n[model]\nimage_height = 24\nimage_width = 32\npatch_size = 8\ndim = 16\ndepth = 2\n\
         heads = 2\ndecoder_dim = 16\ndecoder_depth = 1\ndecoder_heads = 2\n[train]\nepochs = 1\nbatch_size = 8\n\
         warmup_epochs = 1\nsynthetic_images = 40\n",
    )?;
    let (config, out) = (preset.display().to_string(), run.display().to_string());
    succeed("host", &["pretrain", "--config", &config, "--out", &out, "--device", "cpu"]);
    Ok(run)
}

/// The program while it serves; killed if a test fails.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(run: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program("host"));
        command.arg("explore").arg("--run").arg(run).args(["--port", "0"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("piped")?).read_line(&mut line)?;
        let address = line.trim().to_owned();
        let served = Self { child, address };
        ensure!(served.address.starts_with("http://127.0.0.1:"), "it says {line:?}");
        Ok(served)
    }

    fn host(&self) -> &str {
        self.address.trim_start_matches("http://").trim_end_matches('/')
    }

    /// Status, head and body of the answer to one request.
    fn send(&self, request: &[u8]) -> anyhow::Result<(u16, String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.host())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("an answer without a head")?;
        let head = String::from_utf8(answer[..end].to_vec())?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, head, answer[end + 4..].to_vec()))
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let (host, length) = (self.host(), body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let (status, _, body) = self.send(&[head.as_bytes(), body].concat())?;
        Ok((status, body))
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.ask("GET", path, b"")?;
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    fn look(&self, image: &str, mask: Value, more: Value) -> anyhow::Result<Value> {
        let mut question = json!({"image": image, "mask": mask, "block": 1, "neighbours": 5, "query": "visible"});
        let fields = question.as_object_mut().context("an object")?;
        fields.extend(more.as_object().context("an object")?.clone());
        let (status, body) = self.ask("POST", "/api/look", question.to_string().as_bytes())?;
        ensure!(status == 200, "{question}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// A request that must be refused with `status` and a reason that contains `wanted`.
    fn refused(&self, method: &str, path: &str, body: &[u8], status: u16, wanted: &str) -> anyhow::Result<()> {
        let (found, answer) = self.ask(method, path, body)?;
        let shown = String::from_utf8_lossy(&answer);
        ensure!(found == status, "{method} {path}: {found} {shown}");
        let reason: Value = serde_json::from_slice(&answer).with_context(|| shown.clone().into_owned())?;
        let reason = reason["error"].as_str().context("an error without a reason")?;
        ensure!(reason.contains(wanted), "{method} {path}: {reason:?} lacks {wanted:?}");
        Ok(())
    }

    fn wait_for_index(&self) -> anyhow::Result<Value> {
        let start = Instant::now();
        loop {
            let index = self.get("/api/index")?;
            if index["finished"] == true {
                return Ok(index);
            }
            ensure!(start.elapsed() < Duration::from_secs(60), "{index}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses Ctrl-C; what it said on standard error.
    fn stop(mut self) -> anyhow::Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(start.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut text = String::new();
        self.child.stderr.as_mut().context("piped")?.read_to_string(&mut text)?;
        ensure!(status.code() == Some(0), "{status}: {text}");
        ensure!(!text.contains("panicked"), "{text}");
        Ok(text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

#[test]
fn the_page_s_questions_are_answered_and_bad_ones_refused() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let (run_folder, images) = (tiny_run(root.path())?, root.path().join("images"));
    write_images(&images, 30)?;
    fs::write(images.join("class-0/broken.png"), "no image")?;
    let served = Served::start(&run_folder, &["--images", &images.display().to_string()])?;

    let model = served.get("/api/model")?;
    assert_eq!((&model["name"], &model["rows"], &model["cols"]), (&json!("tiny & <run>"), &json!(3), &json!(4)));
    assert_eq!((&model["images"], &model["epochs"]), (&json!(31), &json!(1)));
    let list = served.get("/api/images/0")?;
    // The fourth is the broken one.
    let id = list[0]["id"].as_str().context("an ID")?.to_owned();
    assert!(list.as_array().is_some_and(|list| list.len() == 24) && list[0]["class"].is_string(), "{list}");
    let index = served.wait_for_index()?;
    assert_eq!((&index["done"], &index["broken"], &index["bytes"]), (&json!(31), &json!(1), &json!(30 * 16 * 4)));

    // What is removed changes what is seen, and only that.
    let drawn = |kind: &str, ratio: f64, seed: u64| json!({"drawn": {"kind": kind, "ratio": ratio, "seed": seed}});
    let first = served.look(&id, drawn("random", 0.5, 1), json!({"original": true}))?;
    let again = served.look(&id, drawn("random", 0.5, 1), json!({}))?;
    for field in ["removed", "predicted", "loss", "attention", "visible"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    assert!(first["original"].is_string() && again["original"].is_null());
    let other = served.look(&id, drawn("random", 0.5, 2), json!({}))?;
    assert!(other["removed"] != first["removed"] && other["predicted"] != first["predicted"]);
    let removed = numbers(&first["removed"]);
    assert_eq!((removed.len(), removed.iter().sum::<f64>()), (12, 6.0));
    // The same mask by hand is the same mask.
    let ids: Vec<usize> = (0..12).filter(|i| removed[*i] == 1.0).collect();
    let painted = served.look(&id, json!({"removed": ids}), json!({}))?;
    assert_eq!((&painted["removed"], painted["attention"][0].as_array().map(Vec::len)), (&first["removed"], Some(7)));
    let (a, b) = (painted["loss"].as_f64().context("loss")?, first["loss"].as_f64().context("loss")?);
    assert!((a - b).abs() < 1e-4 * b, "{a} {b}");
    let one = served.look(&id, json!({"removed": ids[1..]}), json!({}))?;
    assert!(one["predicted"] != painted["predicted"]);
    for head in first["attention"].as_array().context("heads")? {
        assert!((numbers(head).iter().sum::<f64>() - 1.0).abs() < 1e-4, "{head}");
    }
    let before = served.look(&id, drawn("random", 0.5, 1), json!({"block": 0}))?;
    assert!(before["attention"] != first["attention"] && before["predicted"] == first["predicted"]);

    // The whole of an image that is dropped in again is nearest to itself in the folder, which a mask may change.
    let file = fs::read(images.join("class-3/0013.png"))?;
    let (status, body) = served.ask("POST", "/api/image", &file)?;
    let dropped: Value = serde_json::from_slice(&body)?;
    assert_eq!((status, &dropped["id"]), (200, &json!("u1")));
    let near = served.look("u1", drawn("block", 0.75, 0), json!({"query": "whole"}))?;
    let found = &near["neighbours"][0];
    assert_eq!((&found["name"], &found["class"]), (&json!("class-3/0013.png"), &json!("class-3")));
    assert!(found["cosine"].as_f64().is_some_and(|cosine| (cosine - 1.0).abs() < 1e-4), "{found}");
    let id_of_it = found["id"].as_str().context("an ID")?;
    let own = served.look(id_of_it, drawn("block", 0.75, 0), json!({"query": "whole"}))?;
    assert_eq!(own["neighbours"].as_array().map(Vec::len), Some(5));
    assert!(own["neighbours"].as_array().into_iter().flatten().all(|other| other["id"] != id_of_it), "{own}");
    let (status, png) = served.ask("GET", "/image/u1.png", b"")?;
    let picture = image::load_from_memory(&png)?;
    assert_eq!((status, picture.width(), picture.height()), (200, 32, 24));

    // Misuse: a reason each, and the program goes on.
    let post =
        |body: &str, status, wanted: &str| served.refused("POST", "/api/look", body.as_bytes(), status, wanted);
    for body in ["", "{", "[]", "null", "{\"image\": 3}", "\u{1}"] {
        post(body, 400, "the question cannot be read")?;
    }
    let question = |image: &str, mask: Value, block: i64| {
        json!({"image": image, "mask": mask, "block": block, "neighbours": 5, "query": "visible"}).to_string()
    };
    post(&question("u9", drawn("random", 0.5, 0), 0), 404, "drop it again")?;
    post(&question("g31", drawn("random", 0.5, 0), 0), 404, "no image g31")?;
    post(&question("../x", drawn("random", 0.5, 0), 0), 404, "is no image")?;
    post(&question(&id, drawn("random", 0.99, 0), 0), 422, "leaves none of 12 patches")?;
    post(&question(&id, drawn("random", -1.0, 0), 0), 422, "ratio -1")?;
    post(&question(&id, drawn("checkers", 0.5, 0), 0), 400, "checkers")?;
    post(&question(&id, json!({"removed": [12]}), 0), 422, "no patch 12")?;
    post(&question(&id, json!({"removed": (0..12).collect::<Vec<_>>()}), 0), 422, "one visible patch")?;
    post(&question(&id, drawn("random", 0.5, 0), 2), 422, "no block 2")?;
    post(&question(&id, drawn("random", 0.5, 0), -1), 400, "the question cannot be read")?;
    post(&" ".repeat((256 << 10) + 1), 413, "at most 262144")?;
    served.refused("POST", "/api/image", b"no image", 422, "cannot be shown")?;
    served.refused("POST", "/api/image", &file[..file.len() / 2], 422, "cannot be shown")?;
    served.refused("GET", "/image/g9999.png", b"", 404, "no image g9999")?;
    let broken = (0..31).find(|i| served.ask("GET", &format!("/image/g{i}.png"), b"").is_ok_and(|(s, _)| s == 422));
    assert!(broken.is_some(), "the broken image is told from others");
    served.refused("GET", "/etc/passwd", b"", 404, "nothing at")?;
    served.refused("POST", "/", b"", 405, "takes GET")?;
    served.refused("GET", "/api/look", b"", 405, "takes POST")?;
    let host = served.host();
    for (headers, wanted) in [
        ("Host: evil.example".to_owned(), "403"),
        (format!("Host: {host}\r\nOrigin: http://evil.example"), "403"),
        (format!("Host: {host}\r\nSec-Fetch-Site: cross-site"), "403"),
        (format!("Host: {host}\r\nContent-Length: x"), "400"),
    ] {
        let (status, _, _) =
            served.send(format!("GET /api/model HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n").as_bytes())?;
        assert_eq!(status.to_string(), wanted, "{headers}");
    }
    let (status, _, _) = served.send(b"\x16\x03\x01 no HTTP\r\n\r\n")?;
    assert_eq!(status, 400);
    assert_eq!(served.get("/api/model")?, model);

    // The same port again.
    let port = host.rsplit_once(':').context("a port")?.1;
    let folder = run_folder.display().to_string();
    let second = run("host", &["explore", "--run", &folder, "--port", port]);
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("port {port} is in use")) && text.contains("--port"), "{text}");
    served.stop()?;
    Ok(())
}

#[test]
fn a_run_without_its_images_still_opens_and_what_is_no_run_does_not() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let run_folder = tiny_run(root.path())?;
    let file = run_folder.join("run.toml");
    let text = fs::read_to_string(&file)?;
    let moved = text.replace("data = \"synthetic\"", "data = { folder = \"/nowhere/at all\" }");
    ensure!(moved != text, "{text}");
    fs::write(&file, moved)?;
    let served = Served::start(&run_folder, &[])?;
    assert_eq!(served.get("/api/images/7")?, json!([]));
    assert_eq!(served.wait_for_index()?["total"], json!(0));
    write_images(&root.path().join("images"), 1)?;
    let (_, body) = served.ask("POST", "/api/image", &fs::read(root.path().join("images/class-0/0000.png"))?)?;
    assert_eq!(serde_json::from_slice::<Value>(&body)?["id"], json!("u1"));
    let looked = served.look("u1", json!({"removed": []}), json!({}))?;
    assert!(looked["loss"].is_null() && looked["neighbours"] == json!([]), "{looked}");
    let text = served.stop()?;
    assert!(text.contains("/nowhere/at all") && text.contains("--images"), "{text}");

    let (empty, folder) = (root.path().display().to_string(), run_folder.display().to_string());
    let refused = |args: &[&str], wanted: &str| {
        let output = run("host", &[&["explore"], args].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(wanted), "{args:?}: {} {text}", output.status);
    };
    refused(&["--run", &empty], "is no run folder");
    refused(&["--run", &folder, "--port", "0", "--images", "/nowhere/at all"], "cannot read");
    refused(&["--run", &folder, "--port", "65536"], "65536");
    refused(&["--run", &folder, "--limit", "0"], "--limit must be at least 1");
    Ok(())
}

/// The page's elements after a headless browser ran its script.
fn rendered(browser: &Path, address: &str) -> anyhow::Result<String> {
    let profile = tempfile::tempdir()?;
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=8000", "--dump-dom", address])
        .output()?;
    let page = String::from_utf8(output.stdout)?;
    ensure!(page.contains("<body"), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(page)
}

/// The value of a `data-` attribute of the page's body.
fn data<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let body = page.split_once("<body")?.1.split_once('>')?.0;
    Some(body.split_once(&format!("data-{name}=\""))?.1.split_once('"')?.0)
}

#[test]
fn the_page_shows_a_reconstruction_in_a_browser() -> anyhow::Result<()> {
    let names = ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"];
    let works =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(browser) = names.iter().find(|name| works(name)) else {
        skip("no chromium (apt-get install chromium-headless-shell)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let served = Served::start(&tiny_run(root.path())?, &[])?;
    served.wait_for_index()?;
    let show = |hash: &str| rendered(Path::new(browser), &format!("{}#{hash}", served.address));

    // As it opens: the mask of training on the first image, a quarter of 12 patches kept.
    let page = show("")?;
    assert_eq!(data(&page, "error"), None, "{page}");
    let found = ["state", "removed", "kind", "heads", "neighbours", "index"].map(|name| data(&page, name));
    assert_eq!(found, [Some("ready"), Some("9"), Some("random"), Some("2"), Some("12"), Some("40")], "{page}");
    assert!(page.contains("tiny &amp; &lt;run&gt;") && page.contains("9 of 12 removed"), "{page}");
    assert!(data(&page, "ms").is_some_and(|ms| ms.parse::<f64>().is_ok_and(|ms| ms > 0.0)), "{page}");

    // Its address says what is shown: patches 0, 1 and 6 removed by hand, another image.
    let page = show("image=g5&mask=340&block=0&query=whole")?;
    let found = ["state", "removed", "kind", "image", "error"].map(|name| data(&page, name));
    assert_eq!(found, [Some("ready"), Some("3"), Some("painted"), Some("g5"), None], "{page}");
    // Nonsense in the address is left aside.
    let page = show("image=g99&mask=zz&block=9&kind=x&ratio=-5&seed=1e9")?;
    let found = ["state", "removed", "kind", "image"].map(|name| data(&page, name));
    assert_eq!(found, [Some("ready"), Some("9"), Some("random"), Some("g0")], "{page}");
    served.stop()?;
    Ok(())
}
