//! `host evaluate partial`.

use super::recipe::{Folders, Found, RecipeArgs, check, describe, train};
use crate::{
    cli::pretrain::{new_name, stop_on_ctrl_c},
    device,
    train::{
        finetune::{
            config::{FinetuneConfig, Recipe},
            folder::{FILE, FinetuneFolder},
        },
        trainer::Outcome,
    },
};
use edge::exit::misuse;
use std::path::{Path, PathBuf};

/// Last blocks to train, unless told (figure 9 of the paper).
const DEFAULT: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];

/// Options of `host evaluate partial`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// How many last blocks to train, each in a run of its own: 0 the head alone, 0.5 the last block's MLP, or a number
    /// [default: of 0,0.5,1,2,4 those that the model has].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    blocks: Option<Vec<f64>>,
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
    // What is impossible is said before the first of many trainings, not between them.
    let config = args.recipe.config(&args.folders, &chosen, Some(0.0))?.0;
    let depth = f64::from(config.encoder.depth);
    let usual = || DEFAULT.into_iter().filter(|blocks| *blocks <= depth).collect();
    let all: Vec<f64> = args.blocks.unwrap_or_else(usual);
    for blocks in &all {
        let config =
            FinetuneConfig { recipe: Recipe { blocks: Some(*blocks), ..config.recipe.clone() }, ..config.clone() };
        check(&config.recipe, &config.encoder)?;
        begun(&run_path(&out, *blocks), &config)?;
    }
    if !json {
        edge::say!("device   {}", chosen.description);
    }
    let stop = stop_on_ctrl_c()?;
    let mut rows = Vec::new();
    for blocks in all {
        let (config, images, encoder) = args.recipe.config(&args.folders, &chosen, Some(blocks))?;
        let path = run_path(&out, blocks);
        let folder = match begun(&path, &config)? {
            Some(folder) => folder,
            None => FinetuneFolder::create(&path, &config)?,
        };
        if !json {
            describe(&config, &images, folder.path());
        }
        let Found { outcome, best, last, .. } =
            train(&folder, config, images, encoder.as_ref(), &chosen, &stop, false)?;
        if let Outcome::Stopped(checkpoint) = outcome {
            edge::note!(
                "stopped; saved {}; the same command with --out {} goes on",
                checkpoint.display(),
                out.display()
            );
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

fn run_path(out: &Path, blocks: f64) -> PathBuf {
    out.join(format!("blocks-{blocks}"))
}

/// The folder of a run with this configuration, if it was begun before.
fn begun(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Option<FinetuneFolder>> {
    if !path.join(FILE).exists() {
        return Ok(None);
    }
    let (folder, known) = FinetuneFolder::open(path)?;
    let same = known.recipe == config.recipe && known.encoder == config.encoder && known.classes == config.classes;
    if !same {
        let shown = path.display();
        return Err(misuse(format!("{shown} holds a run with another recipe, model or classes: name another --out")));
    }
    Ok(Some(folder))
}
