//! `host ablate`: a sweep that is killed goes on where it was, and ends as if nothing had happened.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tests::{
    program,
    runs::{self, SMALL_MODEL},
    write_images,
};

const RECIPE: &str = "[train]
epochs = 30
batch_size = 8
warmup_epochs = 1
blr = 4.8e-2
";

/// Images by class and the preset, in a folder of their own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        write_images(&root.join("train"), 160)?;
        write_images(&root.join("test"), 40)?;
        fs::write(root.join("small.toml"), [SMALL_MODEL, RECIPE].concat())?;
        Ok(Self(root))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// `host ablate` in the folder `out`.
    fn ablate(&self, experiment: &str, out: &str, more: &[&str]) -> Command {
        let (out, config, train, test) =
            (self.path(out), self.path("small.toml"), self.path("train"), self.path("test"));
        let mut command = Command::new(program("host"));
        command.args(["ablate", experiment, "--out", &out, "--config", &config, "--train", &train, "--test", &test]);
        command.args(["--device", "cpu", "--checkpoint-seconds", "1", "--linear-method", "closed"]).args(more);
        // On which the rounding of sums depends.
        command.env("RAYON_NUM_THREADS", "2").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The lines of `results.csv`, by their fields.
    fn results(&self, out: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let text = fs::read_to_string(self.0.join(out).join("results.csv"))?;
        Ok(text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect())
    }
}

/// What a command that must succeed says on standard output.
fn finish(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8(runs::finish(command)?.stdout)?)
}

/// Waits until `ready`, while `child` is at work.
fn wait(child: &mut Child, ready: impl Fn() -> bool) -> anyhow::Result<()> {
    while !ready() {
        ensure!(child.try_wait()?.is_none(), "the sweep ended early");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Setting, seed, metric, value and loss of each line.
fn figures(lines: &[Vec<String>]) -> Vec<&[String]> {
    lines[1..].iter().map(|fields| &fields[1..6]).collect()
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() -> anyhow::Result<()> {
    let place = Place::new("ablate")?;
    let more = ["--values", "0.5,0.75", "--seeds", "2", "--finetune-epochs", "2", "--finetune-batch-size", "16"];
    finish(&mut place.ablate("mask-ratio", "whole", &more))?;
    let whole = place.results("whole")?;
    assert_eq!(whole.len(), 1 + 2 * 2 * 3);

    // Killed in the midst of the second training, after the first one's evaluations.
    let mut child = place.ablate("mask-ratio", "killed", &more).spawn()?;
    let (first, second) =
        (place.0.join("killed/runs/mask-random-0.5-seed-0"), place.0.join("killed/runs/base-seed-0"));
    wait(&mut child, || second.join("metrics.csv").exists())?;
    kill_process(Pid::from_child(&child), Signal::KILL)?;
    child.wait()?;
    let evaluated = fs::read(first.join("ablate.json"))?;
    assert_eq!(place.results("killed")?.len(), 1 + 3, "the results so far are there");

    // Stopped by Ctrl-C in the third.
    let mut child = place.ablate("mask-ratio", "killed", &more).spawn()?;
    let third = place.0.join("killed/runs/mask-random-0.5-seed-1");
    wait(&mut child, || third.join("metrics.csv").exists())?;
    kill_process(Pid::from_child(&child), Signal::INT)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("stopped"), "{text}");

    // What is left, and what of it is planned, before it is done.
    let plan = finish(&mut place.ablate("mask-ratio", "killed", &[&more[..], &["--plan", "--json"]].concat()))?;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    let plan = &plan["plan"];
    assert_eq!((&plan["runs"], &plan["runs_done"]), (&4.into(), &2.into()), "{plan}");
    assert!(plan["seconds"].as_f64() > Some(0.0) && plan["jobs"][0]["evaluations"][0]["done"] == true, "{plan}");
    let json = finish(&mut place.ablate("mask-ratio", "killed", &[&more[..], &["--json"]].concat()))?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(json["finished"], true);

    let killed = place.results("killed")?;
    assert_eq!(figures(&killed), figures(&whole), "as if it had not been stopped");
    assert_eq!(fs::read(first.join("ablate.json"))?, evaluated, "nothing is evaluated twice");
    let svg = fs::read_to_string(place.0.join("killed/figure.svg"))?;
    let means = json["means"].as_array().context("means")?;
    assert_eq!(means.len(), 2 * 3);
    for mean in means {
        let (value, seeds) = (mean["mean"].as_f64().context("mean")?, &mean["seeds"]);
        assert!(svg.contains(&format!(">{:.1}<", value * 100.0)) && *seeds == 2, "{mean} is not in {svg}");
    }
    for picture in ["figure.png", "reconstructions.png"] {
        let image = image::open(place.0.join("killed").join(picture))?.into_rgb8();
        assert!(image.width() > 400 && image.height() > 300, "{picture}");
    }

    // Seeds of another machine join in, once; those that are here too come from here.
    let (runs, file) = (place.path("killed/runs"), place.path("whole/results.csv"));
    let twice = [file.as_str(); 2].join(",");
    let one = ["--values", "0.5,0.75", "--evaluate", "knn", "--runs", &runs, "--join", &twice];
    let text = finish(&mut place.ablate("mask-ratio", "joined", &one))?;
    let joined = place.results("joined")?;
    let expected = whole[1..].iter().filter(|fields| fields[2] == "1" || fields[3] == "knn");
    assert_eq!(figures(&joined), expected.map(|fields| &fields[1..6]).collect::<Vec<_>>(), "{text}");
    let svg = fs::read_to_string(place.0.join("joined/figure.svg"))?;
    assert!(svg.contains("Mean and standard deviation of 2 seeds."), "{svg}");
    for (more, reason) in [(["--epochs", "29"], "pre-training took"), (["--limit", "20"], "knn took")] {
        let more = [&["--values", "0.5,0.75", "--join", &file][..], &more].concat();
        let output = place.ablate("mask-ratio", "other", &more).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(reason), "{text}");
    }
    let text = fs::read_to_string(&file)?;
    for (text, reason) in [
        ("one,two\n".to_owned(), "is no results.csv"),
        (text.replace("mask-ratio,", "target,"), "line 2: of the experiment target, not mask-ratio"),
        (text.replace(",knn,0.", ",knn,x."), "no number"),
        (text.replace(",knn,0.", ",knn,inf,0."), "13 fields instead of 12"),
        (format!("{}\n{}\n", whole[0].join(","), "mask-ratio,0.5,9,knn,NaN,,1,1,,1,0,now"), "not finite"),
    ] {
        fs::write(place.0.join("damaged.csv"), text)?;
        let more = ["--values", "0.5,0.75", "--join", &place.path("damaged.csv")];
        let output = place.ablate("mask-ratio", "other", &more).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(reason), "{text}");
    }

    // Other options are refused for what is trained, and done anew for what is evaluated.
    let output = place.ablate("mask-ratio", "killed", &[&more[..], &["--batch-size", "10"]].concat()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("train.batch_size was 8 and is 10 now"), "{text}");
    let fewer = ["--values", "0.5", "--evaluate", "knn", "--limit", "20"];
    let output = place.ablate("mask-ratio", "killed", &fewer).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("limit was null and is 20 now"), "{text}");
    Ok(())
}

#[test]
fn experiments_share_runs_and_each_makes_its_figure() -> anyhow::Result<()> {
    let place = Place::new("ablate-all")?;
    let runs = place.path("runs");
    let more = ["--runs", &runs, "--epochs", "1", "--finetune-epochs", "1", "--finetune-batch-size", "16"];
    let [knn, seam, none] = [&["--evaluate", "knn"][..], &["--evaluate", "knn,seam"], &[]];
    for (experiment, values, how, shown) in [
        ("mask-kind", "random:0.75,grid:0.75", knn, "grid 75"),
        ("decoder-depth", "1,2", knn, "blocks of the decoder"),
        ("decoder-width", "8,16", knn, "width of the decoder"),
        ("mask-token", "decoder,encoder", knn, "encoder with mask tokens"),
        ("target", "pixels+norm,high-pass:1.5+norm", knn, "high-pass 1.5, normalised"),
        ("augmentation", "none,fixed-crop,random-crop,colour-jitter", knn, "colour jitter"),
        ("schedule", "1,2", knn, "epochs of pre-training"),
        ("partial", "0,0.5,all", none, ">0.5<"),
        ("seam", "0:0,4:1", seam, "weight 4, gradient 1"),
    ] {
        let more = [&more[..], &["--values", values], how].concat();
        finish(&mut place.ablate(experiment, experiment, &more)).context(experiment)?;
        let lines = place.results(experiment)?;
        let metrics = if experiment == "seam" { 5 } else { 1 };
        assert_eq!(lines.len(), 1 + values.split(',').count() * metrics, "{lines:?}");
        let svg = fs::read_to_string(place.0.join(experiment).join("figure.svg"))?;
        assert!(svg.contains(shown), "{experiment}: {svg}");
    }
    // One run of the preset itself for all, and one for each other setting.
    let count = fs::read_dir(&runs)?.count();
    assert_eq!(count, 1 + 1 + 1 + 1 + 1 + 1 + 3 + 1 + 1);
    Ok(())
}
