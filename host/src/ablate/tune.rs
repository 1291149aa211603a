//! Fine-tuning of a run's encoder, as `host evaluate finetune` and `partial` do it.

use super::sweep::Judging;
use crate::{
    device::Chosen,
    run::{
        finetune::{FILE, FinetuneFolder},
        policy::CheckpointPolicy,
        recipe::{Part, Recipe},
    },
    train::{
        engine::Outcome,
        finetune::tuning::{Folders, Found, Run, configure},
    },
};
use anyhow::Context as _;
use common::model::EncoderSpec;
use std::{fs, path::Path, sync::atomic::AtomicBool};

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
    let Judging { train, test, limit, finetune_epochs, finetune_batch, finetune_plain } = judging;
    let folders = Folders { model: model.into(), train: train.clone(), test: test.clone() };
    // As the two commands do it: positions are among all parameters, and in no block.
    let part = Part { blocks, positions: blocks.is_none() };
    let recipe = |spec: &EncoderSpec| -> anyhow::Result<Recipe> {
        let recipe = Recipe {
            epochs: *finetune_epochs,
            batch_size: *finetune_batch,
            warmup_epochs: Recipe::usual_warmup(*finetune_epochs),
            limit: *limit,
            test_limit: *limit,
            seed,
            ..Recipe::paper(spec, part)
        };
        let recipe = if *finetune_plain { recipe.without_regularisation() } else { recipe };
        recipe.validate(spec)?;
        Ok(recipe)
    };
    let (config, images, encoder) = configure(folders, recipe, CheckpointPolicy::default(), chosen)?;
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
