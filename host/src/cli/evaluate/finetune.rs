//! `host evaluate finetune`.

use super::{
    options::Options,
    output::{finish, percent, write_confusion},
    recipe::RecipeArgs,
    tuned::{RunningArgs, confusion, describe, row},
};
use crate::{
    cli::switch::Switch,
    clock, device,
    run::{
        finetune::{FILE, FinetuneFolder},
        policy::CheckpointPolicy,
        recipe::Part,
    },
    train::{
        engine::Outcome,
        finetune::tuning::{Run, configure},
    },
};
use console::{called, stop_on_ctrl_c};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Options of `host evaluate finetune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Whether the table of positions is trained, too, as the reference does.
    #[arg(long, value_enum, default_value = "on", conflicts_with = "resume")]
    train_positions: Switch,
    /// The folder to make [default: runs/finetune-DATE-TIME].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the fine-tuning in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["RecipeArgs", "model"])]
    resume: Option<PathBuf>,
}

/// Trains all parameters with labels.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Args { options, running, recipe, .. } = &args;
    let picture = options.confusion()?;
    let (chosen, json) = (device::choose(running.device)?, options.json);
    let run = match &args.resume {
        Some(path) => Run::resume(path, options.changes(), |policy| Ok(running.saving.apply(policy)?))?,
        None => {
            let part = Part { blocks: None, positions: args.train_positions == Switch::On };
            let (config, images, encoder) = {
                let checkpoints = running.saving.apply(CheckpointPolicy::default())?;
                configure(options.folders()?, |spec| Ok(recipe.recipe(spec, part)?), checkpoints, &chosen)?
            };
            let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(clock::named("finetune")));
            Run { folder: FinetuneFolder::create(&path, &config)?, config, images, encoder }
        }
    };
    if !json {
        console::say!("device   {}", chosen.description);
        describe(&run);
    }
    let (stop, begun) = (stop_on_ctrl_c()?, Instant::now());
    let (folder, config) = (run.folder.clone(), run.config.clone());
    let (train, test) = (run.images.train.len(), run.images.test.len());
    let found = run.train(&chosen, &stop, true)?;
    let confusion = confusion(&found, &config.classes);
    if let (Some(path), Some(confusion), Some(last)) = (&picture, &confusion, &found.last) {
        write_confusion(path, &format!("{} after fine-tuning", percent(last.test_accuracy)), confusion)?;
    }
    let rows: Vec<_> = row(&found, "all parameters").into_iter().collect();
    let finished = found.outcome == Outcome::Finished;
    let result = serde_json::json!({
        "rows": rows, "finished": finished, "run": folder.path(), "recipe": config.recipe, "train_images": train,
        "test_images": test, "classes": confusion.map(|confusion| confusion.per_class()),
    });
    finish("finetune", options, &config.model, result, finished)?;
    if json {
        return Ok(());
    }
    if let (Some(best), Some(last)) = (found.best, found.last) {
        let (best, at, last) = (percent(best.test_accuracy), best.epoch, percent(last.test_accuracy));
        console::say!("accuracy {last} after the last epoch, {best} after the best, {at}");
    }
    let shown = folder.path().display();
    match found.outcome {
        Outcome::Stopped(checkpoint) => {
            console::say!("stopped  saved {}", checkpoint.display());
            console::say!("next     {} evaluate finetune --resume {shown}", called("host"));
        }
        Outcome::Finished => {
            let (seconds, name) = (begun.elapsed().as_secs(), folder.path().file_name());
            let name = name.map_or_else(|| FILE.into(), |name| name.to_string_lossy());
            console::say!("done     in {} min {} s", seconds / 60, seconds % 60);
            console::say!("next     {} export --run {shown} --out models/{name}", called("host"));
        }
    }
    Ok(())
}
