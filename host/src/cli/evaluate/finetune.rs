//! `host evaluate finetune`.

use super::{
    output::{check_png, write_confusion},
    recipe::{Folders, Found, RecipeArgs, describe, train},
};
use crate::{
    cli::pretrain::{new_name, stop_on_ctrl_c},
    device,
    evaluate::confusion::Confusion,
    train::{
        finetune::folder::{FILE, FinetuneFolder},
        trainer::Outcome,
    },
};
use edge::exit::{called, misuse};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Options of `host evaluate finetune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The folder to make [default: runs/finetune-DATE-TIME].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Draw which class is taken for which after the last epoch, as a PNG picture.
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,
    /// Continue the fine-tuning in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "RecipeArgs")]
    resume: Option<PathBuf>,
}

/// Trains all parameters with labels.
///
/// # Errors
/// With a message that says what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    check_png(args.confusion.as_deref())?;
    let (chosen, json) = (device::choose(args.folders.device)?, args.folders.json);
    let (folder, config, images, encoder) = match &args.resume {
        Some(path) => {
            let (folder, mut config) = FinetuneFolder::open(path)?;
            let images = args.folders.moved(&mut config)?;
            if folder.load()?.is_none() {
                let shown = path.display();
                return Err(misuse(format!("{shown} has no checkpoint yet: start again with --out {shown}")));
            }
            (folder, config, images, None)
        }
        None => {
            let (config, images, encoder) = args.recipe.config(&args.folders, &chosen, None)?;
            let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(new_name("finetune")));
            (FinetuneFolder::create(&path, &config)?, config, images, encoder)
        }
    };
    let shown = folder.path().display();
    if !json {
        edge::say!("device   {}", chosen.description);
        describe(&config, &images, folder.path());
    }
    let (stop, begun) = (stop_on_ctrl_c()?, Instant::now());
    let counts = (images.train.len(), images.test.len(), images.classes.len());
    let classes = config.classes.clone();
    let Found { outcome, best, last, verdicts } =
        train(&folder, config, images, encoder.as_ref(), &chosen, &stop, args.confusion.is_some())?;
    if let (Some(path), Some(verdicts)) = (&args.confusion, verdicts) {
        let confusion = Confusion::new(&classes, &verdicts.predictions, &verdicts.labels);
        let title = format!("{:.2} % after fine-tuning", verdicts.accuracy() * 100.0);
        write_confusion(path, &title, &confusion)?;
    }
    if json {
        let (accuracy, best_accuracy) = (last.map(|m| m.test_accuracy), best.map(|m| m.test_accuracy));
        edge::say!(
            "{}",
            serde_json::json!({
                "run": folder.path(), "finished": outcome == Outcome::Finished, "train_images": counts.0,
                "test_images": counts.1, "classes": counts.2, "epochs": last.map_or(0, |m| m.epoch),
                "train_loss": last.map(|m| m.train_loss), "accuracy": accuracy, "best_accuracy": best_accuracy,
                "best_epoch": best.map(|m| m.epoch),
            })
        );
        return Ok(());
    }
    if let (Some(best), Some(last)) = (best, last) {
        let (best, at, last) = (best.test_accuracy * 100.0, best.epoch, last.test_accuracy * 100.0);
        edge::say!("accuracy {last:.2} % after the last epoch, {best:.2} % after the best, {at}");
    }
    match outcome {
        Outcome::Stopped(checkpoint) => {
            edge::say!("stopped  saved {}", checkpoint.display());
            edge::say!("next     {} evaluate finetune --resume {shown}", called("host"));
        }
        Outcome::Finished => {
            let (seconds, name) = (begun.elapsed().as_secs(), folder.path().file_name());
            let name = name.map_or_else(|| FILE.into(), |name| name.to_string_lossy());
            edge::say!("done     in {} min {} s", seconds / 60, seconds % 60);
            edge::say!("next     {} export --run {shown} --out models/{name}", called("host"));
        }
    }
    Ok(())
}
