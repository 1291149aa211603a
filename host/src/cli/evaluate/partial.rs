//! `host evaluate partial`.

use super::recipe::{Folders, Found, RecipeArgs, describe, train};
use crate::{
    cli::pretrain::{new_name, stop_on_ctrl_c},
    device,
    train::{
        finetune::{
            config::FinetuneConfig,
            folder::{FILE, FinetuneFolder},
        },
        trainer::Outcome,
    },
};
use edge::exit::misuse;
use std::path::{Path, PathBuf};

/// Options of `host evaluate partial`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// How many last blocks to train, each in a run of its own: 0 the head alone, 0.5 the last block's MLP, or a number.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0,0.5,1,2,4")]
    blocks: Vec<f64>,
    /// The folder for a run a number; runs that are there already are continued [default: runs/partial-DATE-TIME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Trains the last blocks with labels, the rest frozen.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (chosen, json) = (device::choose(args.folders.device)?, args.folders.json);
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(new_name("partial")));
    // Before the first of many trainings, not between them.
    for blocks in &args.blocks {
        args.recipe.config(&args.folders, &chosen, Some(*blocks))?;
    }
    if !json {
        edge::say!("device   {}", chosen.description);
    }
    let stop = stop_on_ctrl_c()?;
    let mut rows = Vec::new();
    for blocks in args.blocks {
        let (config, images, encoder) = args.recipe.config(&args.folders, &chosen, Some(blocks))?;
        let folder = begun_or_new(&out.join(format!("blocks-{blocks}")), &config)?;
        if !json {
            describe(&config, &images, folder.path());
        }
        let Found { outcome, best, last } = train(&folder, config, images, encoder.as_ref(), &chosen, &stop)?;
        if let Outcome::Stopped(checkpoint) = outcome {
            edge::note!("stopped; saved {}; the same command with --out {} goes on", checkpoint.display(), out.display());
            break;
        }
        if let (Some(best), Some(last)) = (best, last) {
            rows.push((blocks, last.test_accuracy, best.test_accuracy));
        }
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(blocks, accuracy, best)| {
                serde_json::json!({ "blocks": blocks, "accuracy": accuracy, "best_accuracy": best })
            })
            .collect();
        edge::say!("{}", serde_json::json!({ "run": out, "rows": rows }));
    } else {
        edge::say!("{:>6}  {:>8}  {:>8}", "blocks", "last", "best");
        for (blocks, accuracy, best) in rows {
            edge::say!("{blocks:>6}  {:>6.2} %  {:>6.2} %", accuracy * 100.0, best * 100.0);
        }
    }
    Ok(())
}

/// The folder of a run with this configuration, begun before or not.
fn begun_or_new(path: &Path, config: &FinetuneConfig) -> anyhow::Result<FinetuneFolder> {
    if !path.join(FILE).exists() {
        return FinetuneFolder::create(path, config);
    }
    let (folder, known) = FinetuneFolder::open(path)?;
    let same = known.recipe == config.recipe && known.encoder == config.encoder && known.classes == config.classes;
    if !same {
        let shown = path.display();
        return Err(misuse(format!("{shown} holds a run with another recipe, model or classes: name another --out")));
    }
    Ok(folder)
}
