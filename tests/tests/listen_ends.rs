//! How `host listen` ends: exit code, what is said, what is kept (docs/edge.md has the table).

use anyhow::Context as _;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::Duration,
};
use tests::{parity_model, program, pty::Line, run, succeed, write_images};

/// A folder with `record.bin`: what `edge` sends for 12 images.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let root = tempfile::tempdir().expect("folder");
            parity_model(&root.path().join("model")).expect("model");
            write_images(&root.path().join("images"), 12).expect("images");
            let record = File::create(root.path().join("record.bin")).expect("file");
            let mut edge = Command::new(program("edge"));
            edge.args(["run", "--port", "-", "--source"]).arg(root.path().join("images"));
            edge.arg("--model").arg(root.path().join("model")).stdout(record).stderr(Stdio::null());
            assert!(edge.status().expect("edge").success());
            root
        })
        .path()
}

fn record() -> Vec<u8> {
    fs::read(folder().join("record.bin")).expect("record")
}

fn path(name: &str) -> String {
    folder().join(name).display().to_string()
}

fn listen(port: &str, out: &str, more: &[&str]) -> Command {
    let mut host = Command::new(program("host"));
    host.args(["listen", "--json", "--port", port, "--out", out]).args(more);
    host.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    host
}

/// Exit code, summary, and the last line of the messages.
fn ended(output: &Output) -> anyhow::Result<(Option<i32>, serde_json::Value, String)> {
    let (text, messages) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let summary = serde_json::from_str(&text).with_context(|| format!("{text}{messages}"))?;
    Ok((output.status.code(), summary, messages.lines().last().unwrap_or_default().to_owned()))
}

fn rows(out: &str) -> usize {
    fs::read_to_string(out).unwrap_or_default().lines().count().saturating_sub(1)
}

/// A listener on one end of a line, and a file that the other end reads from.
fn on_a_line(out: &str, more: &[&str]) -> anyhow::Result<(Line, Child, File)> {
    let line = Line::clean()?;
    let child = listen(&line.host, out, more).spawn()?;
    line.wait_for_listener()?;
    let board = File::options().write(true).open(&line.board)?;
    // The board's end passes bytes on as they are.
    assert!(Command::new("stty").args(["-F", &line.board, "raw", "-echo"]).status()?.success());
    Ok((line, child, board))
}

#[test]
fn a_port_that_vanishes_is_a_failure_that_keeps_what_came() -> anyhow::Result<()> {
    let record = record();
    for (name, more) in [("plain.csv", &[][..]), ("count.csv", &["--count", "16"])] {
        let out = path(name);
        let (mut line, child, mut board) = on_a_line(&out, more)?;
        // In the middle of a frame.
        board.write_all(&record[..record.len() / 2])?;
        sleep(Duration::from_millis(500));
        drop(board);
        line.cut();
        let (code, summary, message) = ended(&child.wait_with_output()?)?;
        assert_eq!(code, Some(1), "{summary} {message}");
        let features = summary["features"].as_u64().context("features")?;
        assert!((3..9).contains(&features) && rows(&out) == features as usize, "{summary}");
        assert_eq!((&summary["damaged_frames"], &summary["lost_frames"]), (&1.into(), &0.into()), "{summary}");
        assert!(message.contains("the port vanished") && message.contains(name), "{message}");
    }
    Ok(())
}

#[test]
fn the_end_of_a_recording_is_success_unless_more_was_asked_for() -> anyhow::Result<()> {
    let record = record();
    let all = [("all.csv", record.len(), 0), ("half.csv", record.len() / 2, 1), ("most.csv", record.len() - 1, 1)];
    for (name, cut, damaged) in all {
        let (file, out) = (path("cut.bin"), path(name));
        fs::write(&file, &record[..cut])?;
        let (code, summary, _) = ended(&listen(&file, &out, &[]).output()?)?;
        assert_eq!((code, &summary["damaged_frames"]), (Some(0), &damaged.into()), "{summary}");
        assert_eq!(summary["ending"], "end of input");
        let (code, more, message) = ended(&listen(&file, &out, &["--count", "13"]).output()?)?;
        assert_eq!((code, &more["features"]), (Some(1), &summary["features"]), "{message}");
        assert!(message.contains("of 13 features came") && message.contains("end of input"), "{message}");
        assert_eq!(rows(&out) as u64, summary["features"].as_u64().context("features")?);
    }
    // The same through standard input, and with a count that is met.
    let out = path("pipe.csv");
    let mut child = listen("-", &out, &["--count", "5"]).spawn()?;
    child.stdin.take().context("input")?.write_all(&record)?;
    let (code, summary, _) = ended(&child.wait_with_output()?)?;
    assert_eq!((code, &summary["features"], rows(&out)), (Some(0), &5.into(), 5), "{summary}");
    assert_eq!((&summary["damaged_frames"], &summary["ending"]), (&0.into(), &"all received".into()));
    let mut child = listen("-", &out, &["--count", "13"]).spawn()?;
    child.stdin.take().context("input")?.write_all(&record)?;
    assert_eq!(ended(&child.wait_with_output()?)?.0, Some(1));
    Ok(())
}

#[test]
fn silence_and_ctrl_c_end_with_what_came() -> anyhow::Result<()> {
    let record = record();
    let half = record.len() / 2;
    for (name, more, code) in
        [("silent.csv", &["--timeout", "1"][..], 0), ("short.csv", &["--timeout", "1", "--count", "12"], 1)]
    {
        let out = path(name);
        let (_line, child, mut board) = on_a_line(&out, more)?;
        board.write_all(&record[..half])?;
        let (found, summary, message) = ended(&child.wait_with_output()?)?;
        assert_eq!((found, &summary["damaged_frames"]), (Some(code), &1.into()), "{summary} {message}");
        assert_eq!(rows(&out) as u64, summary["features"].as_u64().context("features")?);
    }
    // Nothing at all is a failure.
    let out = path("nothing.csv");
    let (_line, child, _board) = on_a_line(&out, &["--timeout", "1"])?;
    let (code, _, message) = ended(&child.wait_with_output()?)?;
    assert!(code == Some(1) && message.contains("no feature came"), "{message}");
    assert!(!Path::new(&out).exists());
    // Ctrl-C is what the user wants, however much was to come.
    let out = path("stopped.csv");
    let (_line, child, mut board) = on_a_line(&out, &["--count", "12"])?;
    board.write_all(&record[..half])?;
    sleep(Duration::from_millis(500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let (code, summary, _) = ended(&child.wait_with_output()?)?;
    assert_eq!((code, &summary["ending"], &summary["damaged_frames"]), (Some(0), &"stopped".into(), &1.into()));
    assert_eq!(rows(&out) as u64, summary["features"].as_u64().context("features")?);
    Ok(())
}

#[test]
fn a_pipe_that_says_nothing_can_be_given_up() -> anyhow::Result<()> {
    let record = record();
    let named = path("fifo");
    assert!(Command::new("mkfifo").arg(&named).status()?.success());
    for (name, port, stop) in [("t.csv", "-", false), ("c.csv", "-", true), ("f.csv", named.as_str(), false)] {
        let out = path(name);
        let more: &[&str] = if stop { &[] } else { &["--timeout", "1"] };
        let mut child = listen(port, &out, more).spawn()?;
        let mut input = child.stdin.take().context("input")?;
        let mut fifo = (port == named).then(|| File::options().write(true).open(&named)).transpose()?;
        fifo.as_mut()
            .map_or(&mut input as &mut dyn std::io::Write, |fifo| fifo)
            .write_all(&record[..record.len() / 2])?;
        if stop {
            sleep(Duration::from_millis(500));
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
        }
        // The other end stays open all the while.
        let (code, summary, message) = ended(&child.wait_with_output()?)?;
        assert_eq!((code, &summary["damaged_frames"]), (Some(0), &1.into()), "{name}: {summary} {message}");
        assert_eq!(rows(&out) as u64, summary["features"].as_u64().context("features")?);
        drop(input);
    }
    // A named pipe that nobody writes to.
    let output = listen(&named, &path("n.csv"), &["--timeout", "1"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[test]
fn speeds_and_control_lines_that_cannot_be_are_refused() -> anyhow::Result<()> {
    let said = |output: Output| (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    let (record, images, model) = (path("record.bin"), path("images"), path("model"));
    for args in [
        &["listen", "--port", &record, "--baud", "0"][..],
        &["listen", "--port", "-", "--baud", "0"],
        &["listen", "--port", "/dev/ptmx", "--baud", "0", "--images", &images],
    ] {
        let (code, text) = said(run("host", args));
        assert!(code == Some(2) && text.contains("--baud must be at least 1"), "{args:?} {code:?} {text}");
    }
    let (code, text) = said(run("edge", &["run", "--model", &model, "--source", &images, "--baud", "0"]));
    assert!(code == Some(2) && text.contains("--baud must be at least 1"), "{code:?} {text}");
    for option in ["--dtr", "--rts"] {
        for port in [record.as_str(), "-"] {
            let (code, text) = said(run("host", &["listen", "--port", port, option, "off"]));
            assert!(code == Some(2) && text.contains("no serial port, which --dtr and --rts are for"), "{text}");
        }
        // A pseudo-terminal has no such lines: only who asks for them is told.
        let line = Line::clean()?;
        let (code, text) = said(run("host", &["listen", "--port", &line.host, option, "off", "--timeout", "1"]));
        let name = option[2..].to_uppercase();
        assert!(code == Some(1) && text.contains(&format!("cannot switch {name}")), "{text}");
    }
    Ok(())
}

#[test]
fn a_name_is_one_line_whatever_is_in_it() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let images = root.path().join("images");
    write_images(&images, 1)?;
    let source = images.join("class-0/0000.png");
    let (names, lines) =
        (["a\nb.png", "c\\n\td.png", "\u{1b}[31me.png"], [r"a\nb.png", r"c\\n\td.png", r"\u{1b}[31me.png"]);
    let many = root.path().join("many");
    fs::create_dir(&many)?;
    for name in names {
        fs::copy(&source, many.join(name))?;
    }
    let of = |name: &str| root.path().join(name).display().to_string();
    let (many, model) = (many.display().to_string(), path("model"));
    succeed("host", &["features", "--model", &model, "--images", &many, "--out", &of("h.npy")]);
    let stream = Command::new(program("edge"))
        .args(["run", "--model", &model, "--source", &many, "--port", "-"])
        .output()?
        .stdout;
    fs::write(of("r.bin"), stream)?;
    for out in ["l.npy", "l.csv", "l.jsonl"] {
        succeed("host", &["listen", "--port", &of("r.bin"), "--out", &of(out)]);
    }
    let read = |name: &str| fs::read_to_string(PathBuf::from(of(name)));
    let mut sorted: Vec<&str> = lines.to_vec();
    sorted.sort_unstable();
    for file in ["h.names.txt", "l.names.txt"] {
        let text = read(file)?;
        let mut found: Vec<&str> = text.lines().collect();
        found.sort_unstable();
        assert_eq!(found, sorted, "{file}");
    }
    let csv = read("l.csv")?;
    assert_eq!(csv.lines().count(), 4, "{csv}");
    for line in lines {
        assert!(csv.contains(&format!(",\"{line}\",")), "{csv}");
    }
    // JSON has escapes of its own: the name itself is there.
    let found: Vec<String> = read("l.jsonl")?
        .lines()
        .map(|row| {
            Ok(serde_json::from_str::<serde_json::Value>(row)?["name"].as_str().unwrap_or_default().to_owned())
        })
        .collect::<anyhow::Result<_>>()?;
    assert!(names.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
    Ok(())
}
