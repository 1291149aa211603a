//! `host import`.

use crate::{
    formats::{
        classifier::Classifier,
        error::ImportError,
        finding::{Assumption, Finding, Heads, Provenance},
        import::{Imported, OTHERS, import},
        infer::Given,
        source::{self, SourceError},
    },
    preset::Preset,
    run::{DataSource, Origin, RunConfig, RunFolder, TrainState},
};
use anyhow::{Context as _, anyhow};
use clap::ArgAction;
use common::model::{EncoderSpec, Pooling};
use console::{called, misuse};
use edge::head_file::{self, HeadDescription, HeadFile};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Options of `host import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .pth, .bin or .safetensors file, or a folder of timm or Hugging Face.
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: PathBuf,
    /// The run folder to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Of several models in the file the one in this dictionary (`teacher`), or with this in front of its names.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Attention heads of the encoder [default: as the files say, else those of the published model of this width].
    #[arg(long, value_name = "N")]
    num_heads: Option<usize>,
    /// Attention heads of the decoder [default: as the files say, else heads 32 wide].
    #[arg(long, value_name = "N")]
    decoder_num_heads: Option<usize>,
    /// Height and width of the images that the model was trained with [default: as the files say, else a square].
    #[arg(long, value_name = "HxW", value_parser = size)]
    trained_size: Option<(usize, usize)>,
    /// Use the model with images of this height and width, or with square ones; positions are interpolated.
    #[arg(long, value_name = "HxW|N", value_parser = size)]
    image_size: Option<(usize, usize)>,
    /// Which tables of positions the model gets.
    #[arg(long, value_enum, default_value = "file")]
    positions: Positions,
    /// Whether the model predicts normalised patches [default: as the files say, else true].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    norm_pix_loss: Option<bool>,
    /// Mean of each channel, in units of 255 [default: as the files say, else ImageNet's].
    #[arg(long, value_name = "M,...", value_delimiter = ',', requires = "std", allow_negative_numbers = true)]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, in units of 255.
    #[arg(long, value_name = "S,...", value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// Names of a classifier's classes, one a line in their order [default: as the files say, else numbers].
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `--positions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Positions {
    /// The file's.
    File,
    /// The fixed sine-cosine tables in their place.
    Fixed,
}

/// `224`, or `16x64`: height and width.
fn size(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number of pixels"));
    match text.split_once('x') {
        Some((height, width)) => Ok((side(height)?, side(width)?)),
        None => side(text).map(|side| (side, side)),
    }
}

impl Args {
    /// What the options say about the checkpoint.
    fn given(&self) -> anyhow::Result<Given> {
        let number = |value: &f32| value.is_finite();
        let pixels = self.mean.clone().zip(self.std.clone());
        if let Some((mean, std)) = &pixels
            && !(mean.iter().all(number) && std.iter().all(|value| number(value) && *value > 0.0))
        {
            return Err(misuse("--mean must be numbers, and --std numbers above 0"));
        }
        let classes = self.classes.as_ref().map(|path| -> anyhow::Result<Vec<String>> {
            let text =
                fs::read_to_string(path).map_err(|error| misuse(format!("--classes {}: {error}", path.display())))?;
            Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
        });
        Ok(Given {
            heads: self.num_heads,
            decoder_heads: self.decoder_num_heads,
            norm_pix_loss: self.norm_pix_loss,
            trained_size: self.trained_size,
            image_size: self.image_size,
            pixels,
            fixed_positions: self.positions == Positions::Fixed,
            classes: classes.transpose()?,
            key: self.key.clone(),
        })
    }
}

/// Makes a run folder of a checkpoint of another program.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    // Before a large file is read.
    let checkpoints = fs::read_dir(args.out.join("checkpoints"));
    if args.out.join("run.toml").exists() && checkpoints.is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(misuse(format!("{} holds a run already: name another --out", args.out.display())));
    }
    let given = args.given()?;
    let source = source::open(&args.checkpoint, args.key.as_deref()).map_err(unreadable)?;
    let file = source.file.clone();
    let count = source.tensors.len();
    let imported =
        import(source, &given).map_err(explained).with_context(|| format!("cannot use {}", file.display()))?;
    let (run, config) = run_folder(&args.out, &file, &imported)?;
    let spec = run.load_encoder(&config)?.0;
    if let Some(head) = &imported.head {
        run.save_head(&head_file(head, &spec, &file)?)?;
    }
    let Imported { names, named, decoder, head, findings, assumptions, notes, warnings, .. } = imported;
    let mut warned: Vec<String> = assumptions.iter().map(assumed).collect();
    warned.extend(
        warnings.iter().map(|warning| format!("{warning}: --positions fixed puts the fixed tables in their place")),
    );
    for warning in &warned {
        console::note!("warning: {warning}");
    }
    if args.json {
        let finding = |finding: &Finding| {
            let Finding { name, value, .. } = finding;
            serde_json::json!({ "name": name, "value": value, "origin": origin(name, &finding.origin) })
        };
        let findings: Vec<_> = findings.iter().map(finding).collect();
        let json = serde_json::json!({
            "file": file, "names": names, "named": named, "tensors": count, "decoder": decoder, "findings": findings,
            "notes": notes, "warnings": warned, "run": args.out, "model": spec.hash.to_string(),
            "classes": head.map(|head| head.classes),
        });
        console::say!("{json}");
        return Ok(());
    }
    let parts = if decoder { "encoder and decoder" } else { "encoder only" };
    console::say!("read          {} ({count} tensors, {names} names, {parts})", file.display());
    console::say!("names         {named}");
    for Finding { name, value, origin: from } in &findings {
        console::say!("{name:<13} {value} ({})", origin(name, from));
    }
    for note in &notes {
        let option = if note.starts_with(OTHERS) { " (--key NAME takes one of them)" } else { "" };
        console::say!("note          {note}{option}");
    }
    let (out, host) = (args.out.display(), called("host"));
    console::say!("run           {out} (model {})", spec.hash);
    console::say!("next          {host} evaluate knn --model {out} --train DIR --test DIR");
    console::say!("              {host} export --run {out} --out models/NAME");
    Ok(())
}

/// Makes the run folder, with the model as its only checkpoint.
fn run_folder(out: &Path, file: &Path, imported: &Imported) -> anyhow::Result<(RunFolder, RunConfig)> {
    let mut preset = Preset { model: imported.config.clone(), ..Preset::named("base-224")? };
    preset.train.mask_ratio = imported.mask_ratio;
    let origin = Origin {
        file: file.into(),
        names: imported.names.into(),
        decoder: imported.decoder,
        pooling: Some(imported.pooling).filter(|pooling| *pooling != Pooling::Mean),
    };
    let config = RunConfig::new(preset, DataSource::Synthetic, "none: imported".into());
    let config = RunConfig { pixels: imported.pixels, imported: Some(origin), ..config };
    let run = RunFolder::create(out, &config)?;
    run.training().save(&imported.tensors, &Default::default(), TrainState::default(), 1)?;
    Ok((run, config))
}

/// The head of a classifier as a model folder keeps it. `spec`: its encoder's.
fn head_file(head: &Classifier, spec: &EncoderSpec, file: &Path) -> anyhow::Result<HeadFile> {
    let description = HeadDescription {
        format: head_file::FORMAT,
        encoder: spec.hash,
        pooling: spec.pooling,
        classes: head.classes.clone(),
        keep: 1.0,
        made_by: format!("host {} import of {}", env!("CARGO_PKG_VERSION"), file.display()),
        accuracy: None,
        sha256: String::new(),
    };
    HeadFile::new(description, head.weights.clone(), head.bias.clone())
        .map_err(|reason| anyhow!("the head in {} cannot be used: {reason}", file.display()))
}

/// An assumption as a warning, with the option that says otherwise.
fn assumed(Assumption { name, taken, others }: &Assumption) -> String {
    let instead = match (*name, others.as_str()) {
        ("pooling", others) => return format!("{name} is assumed: {taken}; it could also be {others}"),
        (_, "") => String::new(),
        (_, others) => format!("; {others}"),
    };
    let what = match *name {
        "image" => "the image size",
        "heads" => "the number of heads",
        "decoder_heads" => "the decoder's number of heads",
        "pixels" => "mean and deviation of pixels",
        other => other,
    };
    format!("nothing states {what}; assumed: {taken}{instead}; set by {}", option(name))
}

/// The option that gives the number `name` of a model.
fn option(name: &str) -> &'static str {
    match name {
        "decoder_heads" => "--decoder-num-heads",
        "norm_pix_loss" => "--norm-pix-loss",
        "image" => "--trained-size",
        "pixels" => "--mean and --std",
        "position" => "--positions",
        _ => "--num-heads",
    }
}

/// Where the number `name` comes from, in words.
fn origin<'a>(name: &str, origin: &'a Provenance) -> &'a str {
    match origin {
        Provenance::Given => option(name),
        Provenance::Found(place) => place,
    }
}

/// A path that names no checkpoint is misuse; a checkpoint that cannot be read is a failure.
fn unreadable(error: SourceError) -> anyhow::Error {
    match error {
        SourceError::Absent { .. }
        | SourceError::Part { .. }
        | SourceError::NoIndex { .. }
        | SourceError::RunFolder(_)
        | SourceError::NoWeights(_) => misuse(error.to_string()),
        _ => error.into(),
    }
}

/// The error with the option that mends it.
fn explained(error: ImportError) -> anyhow::Error {
    let give = |heads: Heads| format!("give {}", option(heads.name()));
    match &error {
        ImportError::Heads { heads, .. } => anyhow!("{error}: {}", give(*heads)),
        ImportError::Indivisible { heads, count, dim, origin: from } => {
            let from = origin(heads.name(), from);
            anyhow!("{count} {heads} ({from}) do not divide the width {dim}: {}", give(*heads))
        }
        ImportError::ImageSize { reason, .. } => anyhow!("--image-size: {reason}"),
        ImportError::Key { .. } => misuse(format!("--key: {error}")),
        ImportError::NotSquare { .. } => anyhow!("{error}: give --trained-size HxW"),
        ImportError::Pixels { .. } => misuse(format!("{error}: give as many in --mean and --std")),
        ImportError::Classes { classes: 0, .. } => misuse("--classes: the file has no head that could be used"),
        ImportError::Classes { .. } => misuse(format!("--classes: {error}")),
        ImportError::NoFixedTable(_) => misuse(format!("--positions fixed: {error}")),
        _ => error.into(),
    }
}
