//! Fine-tuning of a run's encoder, as `host evaluate finetune` and `partial` do it.

use super::sweep::Judging;
use crate::{
    cli::evaluate::recipe::{Folders, Found, RecipeArgs, train},
    device::Chosen,
    train::{
        finetune::folder::{FILE, FinetuneFolder},
        trainer::Outcome,
    },
};
use anyhow::Context as _;
use clap::Parser as _;
use edge::exit::misuse;
use std::{ffi::OsString, path::Path, sync::atomic::AtomicBool};

/// The options of a fine-tuning, whose defaults are those of the command.
#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// The accuracy after the last epoch; `None` if it was stopped, and saved. `blocks`: the last blocks to train, or all
/// parameters; `folder`: of the fine-tuning, continued if it is there.
///
/// # Errors
/// As misuse, if the folder holds a fine-tuning with other options; if it fails.
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
    if let Some(limit) = judging.limit {
        option("--limit", limit.to_string().into());
        option("--test-limit", limit.to_string().into());
    }
    let line = Line::try_parse_from(args).context("the options of fine-tuning")?;
    let (config, images, encoder) = line.recipe.config(&line.folders, chosen, blocks)?;
    let tuned = if folder.join(FILE).exists() {
        let (tuned, known) = FinetuneFolder::open(folder)?;
        if (&known.recipe, &known.encoder, &known.classes) != (&config.recipe, &config.encoder, &config.classes) {
            let shown = folder.display();
            return Err(misuse(format!(
                "{shown} was fine-tuned with other options or from another model: name another --out, or remove it"
            )));
        }
        tuned
    } else {
        FinetuneFolder::create(folder, &config)?
    };
    let Found { outcome, last, .. } = train(&tuned, config, images, encoder.as_ref(), chosen, stop, false)?;
    Ok(match outcome {
        Outcome::Stopped(_) => None,
        Outcome::Finished => Some(last.context("metrics.csv has lost its lines")?.test_accuracy),
    })
}
