//! `host evaluate partial`.

use super::{
    options::Options,
    output::{finish, percent, write_confusion},
    recipe::RecipeArgs,
    tuned::{RunningArgs, confusion, row},
};
use crate::{
    cli::told,
    clock, device,
    run::{
        finetune::{FILE, FinetuneFolder},
        policy::CheckpointPolicy,
        recipe::{FinetuneConfig, Part, Recipe},
    },
    train::{
        engine::Outcome,
        finetune::tuning::{Found, Run, configure},
    },
};
use console::{misuse, stop_on_ctrl_c};
use std::path::{Path, PathBuf};

/// Last blocks to train, unless told (figure 9 of the paper).
const DEFAULT: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];

/// Options of `host evaluate partial`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    running: RunningArgs,
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
    let Args { options, running, recipe, .. } = &args;
    let picture = options.confusion()?;
    let (chosen, json) = (device::choose(running.device)?, options.json);
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(clock::named("partial")));
    // What is impossible is said before the first of many trainings, not between them.
    let configure_for = |blocks| {
        let part = Part { blocks: Some(blocks), positions: false };
        let checkpoints = running.saving.apply(CheckpointPolicy::default())?;
        configure(options.folders()?, |spec| recipe.recipe(spec, part), checkpoints, &chosen)
    };
    let (config, images, _) = configure_for(0.0)?;
    let (train, test) = (images.train.len(), images.test.len());
    let depth = f64::from(config.encoder.depth);
    let usual = || DEFAULT.into_iter().filter(|blocks| *blocks <= depth).collect();
    let all: Vec<f64> = args.blocks.clone().unwrap_or_else(usual);
    for blocks in &all {
        let config =
            FinetuneConfig { recipe: Recipe { blocks: Some(*blocks), ..config.recipe.clone() }, ..config.clone() };
        config.recipe.validate(&config.encoder).map_err(told::finetune)?;
        begun(&run_path(&out, *blocks), &config)?;
    }
    if !json {
        console::say!("device   {}", chosen.description);
    }
    let stop = stop_on_ctrl_c()?;
    let (mut done, mut finished): (Vec<(f64, Found)>, _) = (Vec::new(), true);
    for blocks in all {
        let (mut config, images, encoder) = configure_for(blocks)?;
        let path = run_path(&out, blocks);
        let folder = match begun(&path, &config)? {
            Some(known) => {
                config.checkpoints = running.saving.apply(known.checkpoints)?;
                FinetuneFolder::reopen(&path, &config)?
            }
            None => FinetuneFolder::create(&path, &config)?,
        };
        let run = Run { folder, config, images, encoder };
        if !json {
            run.describe();
        }
        let found = run.train(&chosen, &stop, done.is_empty())?;
        if let Outcome::Stopped(checkpoint) = &found.outcome {
            let (checkpoint, out) = (checkpoint.display(), out.display());
            console::note!("stopped; saved {checkpoint}; the same command with --out {out} goes on");
            finished = false;
            break;
        }
        done.push((blocks, found));
    }
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
        "rows": rows, "finished": finished, "run": out, "recipe": Recipe { blocks: None, ..config.recipe }, "train_images": train,
        "test_images": test, "classes": confusion.map(|confusion| confusion.per_class()),
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

fn run_path(out: &Path, blocks: f64) -> PathBuf {
    out.join(format!("blocks-{blocks}"))
}

/// The configuration of a run that was begun before, and of which `config` is a repetition.
fn begun(path: &Path, config: &FinetuneConfig) -> anyhow::Result<Option<FinetuneConfig>> {
    if !path.join(FILE).exists() {
        return Ok(None);
    }
    let known = FinetuneFolder::open(path)?.1;
    let same = known.recipe == config.recipe && known.encoder == config.encoder && known.classes == config.classes;
    if !same {
        let shown = path.display();
        return Err(misuse(format!("{shown} holds a run with another recipe, model or classes: name another --out")));
    }
    Ok(Some(known))
}
