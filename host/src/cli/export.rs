//! `host export`.

use crate::{
    export::{self, precision::EncoderPrecision},
    files,
    formats::{
        classifier::Classifier,
        export::{ExportError, Exported},
    },
    model::{DecoderKind, MaeConfig},
    run::{
        RunFolder,
        finetune::{FILE, FinetuneFolder, Finetuned},
        load_encoder,
    },
    tensors::{Tensors, is_encoder},
};
use anyhow::Context as _;
use common::model::EncoderSpec;
use console::{called, misuse};
use edge::head_file::{FILE_NAME, HeadFile};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Options of `host export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder of a training or a fine-tuning.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The model folder to make, or with --format official the file; one that is there is replaced.
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value = "onnx")]
    format: Format,
    /// Precisions of the encoder to write into a model folder.
    #[arg(long, alias = "forms", value_enum, value_delimiter = ',', default_value = "f32,w8,int8,native")]
    precisions: Vec<EncoderPrecision>,
    /// A head trained on this run's encoder (by `host evaluate linear --out-head`), to go with the model.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A model folder for boards: the encoder as ONNX and for the native runtime.
    Onnx,
    /// A file with the names of the official PyTorch code: .pth or .safetensors.
    Official,
    /// A folder for Hugging Face's ViTMAE.
    Huggingface,
    /// A folder for timm: the encoder.
    Timm,
}

/// Writes the model folder or the checkpoint.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.format {
        Format::Onnx => model_folder(args),
        Format::Official | Format::Huggingface | Format::Timm => checkpoint(&args),
    }
}

/// What a run of either kind has come to.
struct Trained {
    config: MaeConfig,
    mask_ratio: f64,
    spec: EncoderSpec,
    tensors: Tensors,
    head: Option<HeadFile>,
}

/// The newest checkpoint of a training or a fine-tuning.
fn trained(run: &Path) -> anyhow::Result<Trained> {
    if run.join(FILE).exists() {
        let (folder, config) = FinetuneFolder::open(run)?;
        let Finetuned { spec, encoder: tensors, head } = folder.finetuned(&config)?;
        let config = MaeConfig::for_encoder(&spec);
        return Ok(Trained { config, mask_ratio: 0.75, spec, tensors, head: Some(head) });
    }
    let (run, config) = RunFolder::open(run)?;
    let (spec, mut tensors) = run.load_encoder(&config)?;
    if !config.train.joint.reconstructs() {
        // The decoder was never trained.
        tensors.retain(|name, _| is_encoder(name) || name == "pos_embed");
    }
    let head = run.head(&spec)?;
    Ok(Trained { config: config.model, mask_ratio: config.train.mask_ratio, spec, tensors, head })
}

/// Writes the newest checkpoint of a run for other programs.
fn checkpoint(args: &Args) -> anyhow::Result<()> {
    let Trained { config, mask_ratio, spec, tensors, head } = trained(&args.run)?;
    let head = given_head(args, &spec)?.or(head);
    let classifier = head.as_ref().map(|head| {
        let ((weights, bias), description) = (head.parts(), head.description());
        Classifier { weights: weights.to_vec(), bias: bias.to_vec(), classes: description.classes.clone() }
    });
    let pooling = head.as_ref().map_or(spec.pooling, |head| head.description().pooling);
    let (config, pixels, head) = (&config, &spec.pixels, classifier.as_ref());
    let exported = Exported { config, pixels, mask_ratio, tensors: &tensors, pooling, head };
    let written = match args.format {
        Format::Huggingface => exported.huggingface(&args.out),
        Format::Timm => exported.timm(&args.out),
        Format::Official | Format::Onnx => exported.official(&args.out),
    };
    written.map_err(explained)?;
    console::say!("written  {}", args.out.display());
    if config.decoder == DecoderKind::Cross && args.format != Format::Timm {
        console::say!("decoder  left out: only this program has decoders with cross-attention");
    }
    Ok(())
}

/// The error with the option that mends it; a wrong `--out` is misuse.
fn explained(error: ExportError) -> anyhow::Error {
    match &error {
        ExportError::Extension(out) => {
            misuse(format!("--out {}: give a file that ends in .pth or .safetensors", out.display()))
        }
        ExportError::Pooling => misuse(format!("{error}: use --format timm or --format official")),
        ExportError::Occupied(_) => misuse(format!("{error}: name another --out, or a new folder in it")),
        _ => error.into(),
    }
}

/// The head of `--head`, if it is given.
fn given_head(args: &Args, spec: &EncoderSpec) -> anyhow::Result<Option<HeadFile>> {
    let open = |path: &PathBuf| HeadFile::open(path, spec).map_err(|error| misuse(error.to_string()));
    args.head.as_ref().map(open).transpose()
}

fn model_folder(args: Args) -> anyhow::Result<()> {
    if args.out.join("run.toml").exists() {
        let out = args.out.display();
        return Err(misuse(format!("{out} is a run folder: export into another folder")));
    }
    // A model is replaced as a whole: anything else in the way stays.
    let empty = || fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_none());
    if args.out.exists() && !args.out.join("model.toml").exists() && !empty() {
        let out = args.out.display();
        return Err(misuse(format!("{out} is there and no model folder: name another --out, or a new folder in it")));
    }
    let (spec, tensors, own) = if [FILE, "run.toml"].iter().any(|file| args.run.join(file).exists()) {
        let Trained { spec, tensors, head, .. } = trained(&args.run)?;
        (spec, tensors, head)
    } else {
        let (spec, tensors) = load_encoder(&args.run)?;
        (spec, tensors, None)
    };
    // Before anything is written.
    let head = given_head(&args, &spec)?.or(own);
    let made_by = format!("host {} export of {}", env!("CARGO_PKG_VERSION"), args.run.display());
    let sizes = export::write(&args.out, &spec, &tensors, &args.precisions, &made_by)?;
    let out = args.out.display();
    console::say!("model    {} ({} values a feature)", spec.hash, spec.feature_dim);
    for (precision, bytes) in sizes {
        console::say!("{:<8} {out}/{} ({:.2} MB)", precision.to_string(), precision.file_name(), bytes as f64 / 1e6);
    }
    let with_head = if head.is_some() { " --head" } else { "" };
    if let Some(head) = head {
        let path = args.out.join(FILE_NAME);
        files::write_file(&path, &head.to_bytes()?).with_context(|| format!("cannot write {}", path.display()))?;
        console::say!("head     {} ({} classes)", path.display(), head.description().classes.len());
    }
    let host = called("host");
    let edge = Path::new(&host).with_file_name("edge");
    console::say!("next     {host} verify --model {out} --images DIR");
    console::say!("         {} run --model {out} --source DIR --port -{with_head}", edge.display());
    Ok(())
}
