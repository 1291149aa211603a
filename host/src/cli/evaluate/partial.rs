//! `host evaluate partial`.

use super::{
    options::Options,
    output::{finish, percent, write_confusion},
    recipe::RecipeArgs,
    tuned::{RunningArgs, confusion, describe, row},
};
use crate::{
    clock, device,
    evaluate::partial::{Partial, Request},
    run::recipe::Recipe,
    train::finetune::tuning::Found,
};
use console::stop_on_ctrl_c;
use std::path::{Path, PathBuf};

/// Options of `host evaluate partial`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// How many last blocks to train, each in a run of its own: 0 the head alone, 0.5 the last block's MLP, or a
    /// number [default: of 0,0.5,1,2,4 those that the model has].
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
    let Args { options, running, recipe, .. } = &args;
    let picture = options.confusion()?;
    let (chosen, json) = (device::choose(running.device)?, options.json);
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(clock::named("partial")));
    let request = Request {
        folders: options.folders()?,
        recipe: &|spec, part| recipe.recipe(spec, part),
        checkpoints: &|policy| running.saving.apply(policy),
        blocks: args.blocks.clone(),
        out: out.clone(),
    };
    let partial = Partial::plan(request, &chosen)?;
    if !json {
        console::say!("device   {}", chosen.description);
    }
    let (trained, config) = (
        partial.train(&*stop_on_ctrl_c()?, |run| {
            if !json {
                describe(run)
            }
        })?,
        &partial.config,
    );
    if let Some(checkpoint) = &trained.stopped {
        let (checkpoint, out) = (checkpoint.display(), out.display());
        console::note!("stopped; saved {checkpoint}; the same command with --out {out} goes on");
    }
    let (done, finished) = (trained.done, trained.stopped.is_none());
    let confusion = done.first().and_then(|(_, found)| confusion(found, &config.classes));
    if let (Some(path), Some(confusion), Some((blocks, Found { last: Some(last), .. }))) =
        (&picture, &confusion, done.first())
    {
        write_confusion(path, &format!("{}, trained: {}", percent(last.test_accuracy), name(*blocks)), confusion)?;
    }
    let line = |(blocks, found): &(f64, Found)| {
        let mut row = row(found, &name(*blocks))?;
        row["blocks"] = (*blocks).into();
        Some(row)
    };
    let rows: Vec<_> = done.iter().filter_map(line).collect();
    if !json {
        console::say!("{:>6}  {:>8}  {:>8}", "blocks", "last", "best");
        for (blocks, found) in &done {
            if let (Some(last), Some(best)) = (found.last, found.best) {
                console::say!("{blocks:>6}  {:>8}  {:>8}", percent(last.test_accuracy), percent(best.test_accuracy));
            }
        }
    }
    let result = serde_json::json!({
        "rows": rows, "finished": finished, "run": out, "recipe": Recipe { blocks: None, ..config.recipe.clone() },
        "train_images": partial.images.0, "test_images": partial.images.1, "classes": confusion.map(|confusion| confusion.per_class()),
    });
    finish("partial", options, &config.model, result, finished)
}

/// What is trained.
fn name(blocks: f64) -> String {
    match blocks {
        0.0 => "head alone".into(),
        0.5 => "half a block".into(),
        1.0 => "last block".into(),
        _ => format!("last {blocks} blocks"),
    }
}
