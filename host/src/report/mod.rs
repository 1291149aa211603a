//! `report.html`: what a run is, how far it came, what it learned and what it is worth, on one page.
//!
//! One file without scripts and without anything fetched: charts are SVG, pictures are data URIs. It is made from the
//! run folder's files alone, so it can be made again at any time.

pub mod chart;
pub mod evaluations;
pub mod events;
pub mod history;
pub mod html;
pub mod joint;
pub mod number;
pub mod record;
pub mod recorder;

use self::history::{Epoch, Point};
use crate::{
    clock, files,
    model::DecoderKind,
    objective::joint::{JointConfig, JointKind},
    pictures::over_time::{self, ORIGINALS, VISIBLE},
    preset::OptimizerKind,
    run::{DataSource, RunConfig, RunFolder},
    train::schedule::Schedule,
};
use anyhow::Context as _;
use chart::Chart;
use html::{facts, picture};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use number::{grouped, number, scientific};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The report's name in a run folder.
pub const FILE: &str = "report.html";
/// Most moments whose pictures are shown.
const PICTURES: usize = 8;
const STYLE: &str = include_str!("style.css");

/// Writes the report of `run`, whose configuration is `config`, into its folder. Returns its path.
///
/// # Errors
/// If the run's files cannot be read, or the report cannot be written. Damaged results of evaluations are named in
/// the report.
pub fn write(run: &RunFolder, config: &RunConfig) -> anyhow::Result<PathBuf> {
    let path = run.path().join(FILE);
    let page = page(run.path(), config).with_context(|| format!("making {}", path.display()))?;
    files::write_file(&path, page.into_string().as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn page(run: &Path, config: &RunConfig) -> anyhow::Result<Markup> {
    let (points, epochs, name) = (history::read(run)?, history::read_epochs(run)?, name(run));
    let (reconstructions, evaluations) = (reconstructions(run, config)?, evaluations::section(run)?);
    let summary = summary(config)?;
    let file = run.join("run.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name) ": training report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(&name, config, &points, &epochs))
                main {
                    (curves(config, &points, &epochs))
                    (reconstructions)
                    (evaluations)
                    section { h2 { "The run" } (facts("facts", &summary)) }
                    (epoch_table(&epochs))
                    section { details { summary { "Configuration (run.toml)" } pre { (text) } } }
                }
                footer { p { "Written by host " (env!("CARGO_PKG_VERSION")) " on " (clock::date()) "." } }
            }
        }
    })
}

/// The folder's own name, also for paths such as `.`.
fn name(run: &Path) -> String {
    let whole = fs::canonicalize(run).unwrap_or_else(|_| run.into());
    whole.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

fn header(name: &str, config: &RunConfig, points: &[Point], epochs: &[Epoch]) -> Markup {
    let whole = epochs.last().map_or(0, |epoch| epoch.epoch);
    let done = points.last().map_or(0.0, |point| point.epoch).max(whole as f64);
    // A run that was prolonged may have more than its run.toml says.
    let total = config.train.epochs.max(whole);
    let state =
        if whole >= total { "finished".to_owned() } else { format!("{:.0} % done", 100.0 * done / total as f64) };
    let step = points.last().map_or(0, |point| point.step).max(epochs.last().map_or(0, |epoch| epoch.step));
    let mut figures = vec![
        ("Epochs".to_owned(), format!("{} of {total}", number((done * 10.0).floor() / 10.0))),
        ("Steps".to_owned(), grouped(step)),
    ];
    if let Some(loss) = epochs.last().map(|epoch| epoch.loss).or(points.last().map(|point| point.loss)) {
        figures.push(("Loss".into(), format!("{loss:.4}")));
    }
    if let Some(point) = points.last() {
        figures.push(("Time trained".into(), clock::duration(point.seconds)));
    }
    if !epochs.is_empty() {
        let mean = epochs.iter().map(|epoch| epoch.images_per_second).sum::<f64>() / epochs.len() as f64;
        figures.push(("Images a second".into(), grouped(mean.round() as usize)));
    }
    html! {
        header {
            h1 { (name) }
            p.soft { "Masked autoencoder, pre-training" }
            div.done {
                progress max=(total) value=(format_args!("{done:.2}")) aria-label="Epochs done" {}
                span.soft { (state) }
            }
            section { (facts("figures", &figures)) }
        }
    }
}

fn curves(config: &RunConfig, points: &[Point], epochs: &[Epoch]) -> Markup {
    let end = config.train.epochs as f64;
    let fine: Vec<_> = points.iter().map(|point| (point.epoch, point.loss)).collect();
    // An epoch's mean belongs to its middle.
    let main: Vec<_> = epochs.iter().map(|epoch| (epoch.epoch as f64 - 0.5, epoch.loss)).collect();
    let loss = Chart {
        title: "Training loss over the epochs",
        label: if config.train.joint.is_on() { "loss" } else { "loss: mean squared error on removed patches" },
        epochs: end,
        from_zero: false,
        fine: &fine,
        main: &main,
        marked: true,
    };
    let mut lr: Vec<_> = points.iter().map(|point| (point.epoch, point.lr)).collect();
    if lr.is_empty() {
        lr = epochs.iter().map(|epoch| (epoch.epoch as f64, epoch.lr)).collect();
    }
    if !lr.is_empty() && config.train.warmup_epochs > 0.0 {
        // The warm-up begins at zero.
        lr.insert(0, (0.0, 0.0));
    }
    let rate = Chart {
        title: "Learning rate over the epochs",
        label: "learning rate",
        epochs: end,
        from_zero: true,
        fine: &[],
        main: &lr,
        marked: false,
    };
    html! {
        section {
            h2 { "Loss" }
            figure {
                (loss.svg())
                figcaption {
                    span.key.main {} "mean of an epoch \u{2002} " span.key.fine {} "finer, from steps.csv"
                    @if let Some(most) = loss.above() {
                        br;
                        "The first steps, with losses up to " (number(most)) ", lie above the picture."
                    }
                }
            }
        }
        (joint::section(points, epochs, end))
        section { h2 { "Learning rate" } figure { (rate.svg()) } }
    }
}

/// The strips of fixed images, and the final picture if there is one.
fn reconstructions(run: &Path, config: &RunConfig) -> anyhow::Result<Markup> {
    let folder = run.join("pictures");
    let mut rows = Vec::new();
    for (file, name, alt) in [
        (ORIGINALS, "original", "The images themselves"),
        (VISIBLE, "visible", "The images with their removed patches gray"),
    ] {
        if let Some(png) = read_picture(&folder.join(file))? {
            rows.push((name.to_owned(), picture(&png, alt)));
        }
    }
    let drawn = over_time::list(&folder)?;
    for (epoch, path) in spread(&drawn, PICTURES) {
        if let Some(png) = read_picture(path)? {
            let alt = format!("The same images, their removed patches predicted after {epoch} epochs");
            rows.push((format!("epoch {epoch}"), picture(&png, &alt)));
        }
    }
    let last = read_picture(&folder.join("reconstruction.png"))?;
    let alt = "Other images at the end of the training: the original, then for random, block and grid masks the visible \
               patches and the reconstruction";
    Ok(html! {
        section {
            h2 { "Reconstructions" }
            @if rows.is_empty() && last.is_none() {
                p.soft { "No pictures yet." }
            } @else if config.model.norm_pix_loss {
                p.soft {
                    "Each removed patch is shown with its own mean and deviation, which this model does not predict."
                }
            }
            @if !rows.is_empty() {
                dl.strips {
                    @for (name, picture) in rows { dt { (name) } dd { (picture) } }
                }
            }
            @if let Some(png) = last {
                figure.final {
                    (picture(&png, alt))
                    figcaption {
                        "At the end: originals, then visible patches and reconstructions for random, block and grid masks."
                    }
                }
            }
        }
    })
}

/// At most `count` of `all`, evenly spread, the first and the last among them.
fn spread<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let shown = count.min(all.len());
    (0..shown).map(move |i| &all[i * (all.len() - 1) / (shown - 1).max(1)])
}

/// The bytes of a PNG; `None` if there is no such file, or another.
fn read_picture(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(bytes).filter(|bytes| html::png_size(bytes).is_some()))
}

/// Model and recipe in a few lines.
fn summary(config: &RunConfig) -> anyhow::Result<Vec<(String, String)>> {
    let (model, train, grid) = (&config.model, &config.train, config.model.grid()?);
    let data = match &config.data {
        DataSource::Synthetic => format!("{} images of the embedded generator", grouped(train.synthetic_images)),
        data @ (DataSource::Folder(_) | DataSource::Shards(_)) => data.to_string(),
    };
    let (patches, kept) = (grid.patches(), train.visible_in_words(grid.patches()));
    let predicted = match train.predict_ratio {
        1.0 => String::new(),
        ratio => format!(", {} % of the others predicted", number(100.0 * ratio)),
    };
    let peak = Schedule::scaled_lr(train.blr, train.images_a_step());
    let lines = [
        ("Data", data),
        (
            "Images",
            format!(
                "{} × {} pixels, {} channels; {patches} patches of {p} × {p}",
                model.image_width,
                model.image_height,
                model.channels,
                p = model.patch_size
            ),
        ),
        ("Encoder", format!("{} wide, {} blocks, {} heads", model.dim, model.depth, model.heads)),
        (
            "Decoder",
            format!(
                "{} wide, {} blocks, {} heads{}",
                model.decoder_dim,
                model.decoder_depth,
                model.decoder_heads,
                if model.decoder == DecoderKind::Cross { ", cross-attention to visible tokens" } else { "" }
            ),
        ),
        ("Target", format!("{}{}", train.target, if model.norm_pix_loss { ", each patch normalised" } else { "" })),
        ("Masks", format!("{}, {kept} of {patches} patches visible{predicted}", train.mask.name())),
        ("Objective", objective(&train.joint)),
        (
            "Recipe",
            format!(
                "{} epochs, {} images a step; {}, learning rate up to {}, warm-up {} {}, weight decay {}; seed {}",
                train.epochs,
                train.images_a_step(),
                match train.optimizer {
                    OptimizerKind::AdamW => "AdamW",
                    OptimizerKind::Muon => "Muon and AdamW",
                },
                scientific(peak),
                number(train.warmup_epochs),
                if train.warmup_epochs == 1.0 { "epoch" } else { "epochs" },
                number(train.weight_decay),
                train.seed
            ),
        ),
        ("Device", config.device.clone()),
        ("Program", format!("host {}", config.host_version)),
    ];
    Ok(lines.map(|(name, value)| (name.to_owned(), value)).into())
}

/// What is minimised, in words.
#[must_use]
pub fn objective(joint: &JointConfig) -> String {
    let reconstruction = match joint.reconstruction_weight {
        0.0 => None,
        1.0 => Some("reconstruction".to_owned()),
        weight => Some(format!("{} × reconstruction", number(weight))),
    };
    let joint = joint.is_on().then(|| {
        let name = match joint.kind {
            JointKind::None => "",
            JointKind::Sigreg => "SIGReg",
            JointKind::Infonce => "InfoNCE",
        };
        let factor = if joint.weight == 1.0 { String::new() } else { format!("{} × ", number(joint.weight)) };
        format!("{factor}{name} on {} views of each image", joint.views)
    });
    [reconstruction, joint].into_iter().flatten().collect::<Vec<_>>().join(" + ")
}

fn epoch_table(epochs: &[Epoch]) -> Markup {
    html! {
        @if !epochs.is_empty() {
            section {
                details {
                    summary { "Figures of every epoch (metrics.csv)" }
                    div.table {
                        table {
                            thead {
                                tr {
                                    th.n scope="col" { "epoch" }
                                    th.n scope="col" { "step" }
                                    th.n scope="col" { "loss" }
                                    th.n scope="col" { abbr title="learning rate" { "lr" } }
                                    th.n scope="col" { "images/s" }
                                }
                            }
                            tbody {
                                @for Epoch { epoch, step, loss, lr, images_per_second, .. } in epochs {
                                    tr {
                                        th.n scope="row" { (epoch) }
                                        td.n { (grouped(*step)) }
                                        td.n { (format_args!("{loss:.4}")) }
                                        td.n { (format_args!("{lr:.2e}")) }
                                        td.n { (grouped(images_per_second.round().max(0.0) as usize)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pictures_are_chosen_with_the_first_and_the_last() {
        let all: Vec<usize> = (1..=20).collect();
        let some: Vec<usize> = spread(&all, 8).copied().collect();
        assert_eq!((some.len(), some[0], some[7]), (8, 1, 20));
        assert_eq!(spread(&all[..3], 8).count(), 3);
        assert_eq!(spread(&all[..1], 8).count(), 1);
        assert_eq!(spread(&all[..0], 8).count(), 0);
    }

    #[test]
    fn accumulated_batches_count_as_the_one_that_the_trainer_steps_with() {
        let recipe = |batch: &str| {
            let config: RunConfig = toml::from_str(&format!(
                "format = 1\nhost_version = \"0\"\ndevice = \"a device\"\ndata = \"synthetic\"\n[pixels]\n\
                 mean = [0.5, 0.5, 0.5, 0.0]\nstd = [0.5, 0.5, 0.5, 1.0]\n[model]\nimage_height = 8\nimage_width = 8\n\
                 patch_size = 4\ndim = 8\ndepth = 1\nheads = 1\ndecoder_dim = 8\ndecoder_depth = 1\n\
                 decoder_heads = 1\n[train]\nepochs = 2\nwarmup_epochs = 1\nblr = 1e-3\n{batch}\n"
            ))
            .expect("a run.toml");
            let lines = summary(&config).expect("a summary");
            lines.into_iter().find(|(name, _)| name == "Recipe").expect("a recipe").1
        };
        let parts = recipe("batch_size = 64\naccumulate = 8");
        assert_eq!(parts, recipe("batch_size = 512"));
        assert!(parts.contains("512 images a step") && parts.contains("learning rate up to 2 × 10⁻³"), "{parts}");
    }
}
