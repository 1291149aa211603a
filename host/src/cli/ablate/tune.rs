//! Fine-tuning of a run's encoder, as `host evaluate finetune` and `partial` do it.

use super::sweep::Judging;
use crate::{
    cli::evaluate::{
        options::Options,
        recipe::{Part, RecipeArgs},
        tuning::{Found, Run, RunningArgs, configure},
    },
    device::Chosen,
    train::{
        finetune::folder::{FILE, FinetuneFolder},
        trainer::Outcome,
    },
};
use anyhow::Context as _;
use clap::Parser as _;
use std::{ffi::OsString, fs, path::Path, sync::atomic::AtomicBool};

/// The options of a fine-tuning, whose defaults are those of the command.
#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// The accuracy after the last epoch; `None` if it was stopped, and saved. `blocks`: the last blocks to train, or all
/// parameters; `folder`: of the fine-tuning, continued if it is there with the same options.
///
/// # Errors
/// If it fails.
pub fn accuracy(
    (model, folder): (&Path, &Path),
    judging: &Judging,
    (blocks, seed): (Option<f64>, u64),
    chosen: &Chosen,
    stop: &AtomicBool,
) -> anyhow::Result<Option<f64>> {
    let mut args: Vec<OsString> = vec!["finetune".into()];
    let mut option = |name: &str, value: OsString| args.extend([name.into(), value]);
    option("--model", model.into());
    option("--train", judging.train.clone().into());
    option("--test", judging.test.clone().into());
    option("--epochs", judging.finetune_epochs.to_string().into());
    option("--batch-size", judging.finetune_batch.to_string().into());
    option("--seed", seed.to_string().into());
    if judging.finetune_plain {
        for name in ["--mixup", "--cutmix", "--random-erasing", "--label-smoothing", "--drop-path"] {
            option(name, "0".into());
        }
        option("--rand-augment", "off".into());
    }
    if let Some(limit) = judging.limit {
        option("--limit", limit.to_string().into());
        option("--test-limit", limit.to_string().into());
    }
    let line = Line::try_parse_from(args).context("the options of fine-tuning")?;
    let Line { options, running, recipe } = line;
    // As the two commands do it: positions are among all parameters, and in no block.
    let part = Part { blocks, positions: blocks.is_none() };
    let (config, images, encoder) = configure(&options, &recipe, &running.saving, chosen, part)?;
    let mut known = folder.join(FILE).exists();
    if known {
        let there = FinetuneFolder::open(folder)?.1;
        if (&there.recipe, &there.encoder, &there.classes) != (&config.recipe, &config.encoder, &config.classes) {
            // The sweep's own: as all results of other options, it is made again.
            let shown = folder.display();
            console::note!("note: {shown} was fine-tuned with other options and is replaced");
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {shown}"))?;
            known = false;
        }
    }
    let tuned = match known {
        true => FinetuneFolder::reopen(folder, &config)?,
        false => FinetuneFolder::create(folder, &config)?,
    };
    let run = Run { folder: tuned, config, images, encoder };
    let Found { outcome, last, .. } = run.train(chosen, stop, false)?;
    Ok(match outcome {
        Outcome::Stopped(_) => None,
        Outcome::Finished => Some(last.context("metrics.csv has lost its lines")?.test_accuracy),
    })
}
