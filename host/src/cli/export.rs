//! `host export`.

use crate::{export, train::run_folder};
use edge::model_folder::Precision;
use std::path::PathBuf;

/// Options of `host export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run folder of a training.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The model folder to make; one that is there is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Forms to write.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32,w8,int8")]
    forms: Vec<Precision>,
}

/// Writes the model folder.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    if args.out.join("run.toml").exists() {
        let out = args.out.display();
        return Err(edge::exit::misuse(format!("{out} is a run folder: export into another folder")));
    }
    let (spec, tensors) = run_folder::load_encoder(&args.run)?;
    let made_by = format!("host {} export of {}", env!("CARGO_PKG_VERSION"), args.run.display());
    let sizes = export::write(&args.out, &spec, &tensors, &args.forms, &made_by)?;
    let out = args.out.display();
    println!("model    {} ({} values a feature)", spec.hash, spec.feature_dim);
    for (form, bytes) in sizes {
        println!("{:<8} {out}/{} ({:.2} MB)", form.to_string(), form.file_name(), bytes as f64 / 1e6);
    }
    println!("next     host verify --model {out} --images DIR");
    println!("         edge run --model {out} --source DIR --port -");
    Ok(())
}
