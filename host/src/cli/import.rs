//! `host import`.

use crate::{
    formats::{
        error::ImportError,
        finding::{Finding, Heads, Provenance},
        import::{Imported, import},
        infer::Given,
        source::{self, SourceError},
    },
    preset::Preset,
    run::{DataSource, Origin, RunConfig, RunFolder, TrainState},
};
use anyhow::{Context as _, anyhow};
use clap::ArgAction;
use console::{called, misuse};
use std::{fs, path::PathBuf};

/// Options of `host import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .pth, .bin or .safetensors file, or a folder of timm or Hugging Face.
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: PathBuf,
    /// The run folder to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Attention heads of the encoder [default: as the files say, else heads 64 wide].
    #[arg(long, value_name = "N")]
    num_heads: Option<usize>,
    /// Attention heads of the decoder [default: as the files say, else heads 32 wide].
    #[arg(long, value_name = "N")]
    decoder_num_heads: Option<usize>,
    /// Use the model with square images of this side; positions are interpolated.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Whether the model predicts normalised patches [default: as the files say, else true].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    norm_pix_loss: Option<bool>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
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
    let given = Given {
        heads: args.num_heads,
        decoder_heads: args.decoder_num_heads,
        norm_pix_loss: args.norm_pix_loss,
        image_size: args.image_size,
    };
    let source = source::open(&args.checkpoint, None).map_err(unreadable)?;
    let file = source.file.clone();
    let count = source.tensors.len();
    let imported =
        import(source, given).map_err(explained).with_context(|| format!("cannot use {}", file.display()))?;
    let Imported { names, config, pixels, mask_ratio, tensors, decoder, findings, notes } = imported;
    let mut preset = Preset { model: config, ..Preset::named("base-224")? };
    preset.train.mask_ratio = mask_ratio;
    let imported = Some(Origin { file: file.clone(), names: names.into(), decoder });
    let run_config = RunConfig::new(preset, DataSource::Synthetic, "none: imported".into());
    let run_config = RunConfig { pixels, imported, ..run_config };
    let run = RunFolder::create(&args.out, &run_config)?;
    run.training().save(&tensors, &Default::default(), TrainState::default(), 1)?;
    let encoder = run.load_encoder(&run_config)?.0;

    let parts = if decoder { "encoder and decoder" } else { "encoder only" };
    if args.json {
        let finding = |finding: &Finding| {
            let Finding { name, value, .. } = finding;
            serde_json::json!({ "name": name, "value": value, "origin": origin(name, &finding.origin) })
        };
        let findings: Vec<_> = findings.iter().map(finding).collect();
        let json = serde_json::json!({
            "file": file, "names": names, "tensors": count, "decoder": decoder, "findings": findings, "notes": notes,
            "run": args.out, "model": encoder.hash.to_string(),
        });
        console::say!("{json}");
        return Ok(());
    }
    console::say!("read          {} ({count} tensors, {names} names, {parts})", file.display());
    for Finding { name, value, origin: from } in &findings {
        console::say!("{name:<13} {value} ({})", origin(name, from));
    }
    for note in &notes {
        console::say!("note          {note}");
    }
    let (out, host) = (args.out.display(), called("host"));
    console::say!("run           {out} (model {})", encoder.hash);
    console::say!("next          {host} evaluate knn --model {out} --train DIR --test DIR");
    console::say!("              {host} export --run {out} --out models/NAME");
    Ok(())
}

/// The option that gives the number `name` of a model.
fn option(name: &str) -> &'static str {
    match name {
        "decoder_heads" => "--decoder-num-heads",
        "norm_pix_loss" => "--norm-pix-loss",
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
        | SourceError::Key { .. }
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
        _ => error.into(),
    }
}
