//! What `host evaluate finetune` and `partial` share: options that may change when a run is continued, rows,
//! verdicts.

use crate::{
    cli::saving::SavingArgs,
    device::DeviceChoice,
    evaluate::confusion::Confusion,
    train::finetune::tuning::{Found, Run},
};

/// What may be another when a run is continued.
#[derive(Debug, Clone, clap::Args)]
pub struct RunningArgs {
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
    #[command(flatten)]
    pub saving: SavingArgs,
}

/// Says what is about to be trained.
pub fn describe(Run { folder, config, images, .. }: &Run) {
    let (train, test, classes) = (images.train.len(), images.test.len(), images.classes.len());
    let (spec, recipe) = (&config.encoder, &config.recipe);
    console::say!("data     {train} training and {test} test images, {classes} classes");
    let start = if recipe.from_scratch { "random weights".into() } else { config.model.display().to_string() };
    console::say!("model    {}x{} from {start}", spec.dim, spec.depth);
    let steps = train / recipe.batch_size;
    console::say!(
        "train    {} epochs of {steps} steps, {} images a step; Ctrl-C saves",
        recipe.epochs,
        recipe.batch_size
    );
    console::say!("run      {}", folder.path().display());
}

/// A row of the result's table, once an epoch is done.
#[must_use]
pub fn row(found: &Found, name: &str) -> Option<serde_json::Value> {
    let (best, last) = (found.best?, found.last?);
    Some(serde_json::json!({
        "name": name, "accuracy": last.test_accuracy, "best_accuracy": best.test_accuracy,
        "best_epoch": best.epoch, "epochs": last.epoch, "train_loss": last.train_loss,
    }))
}

/// Which of `classes` is taken for which, if there are verdicts.
#[must_use]
pub fn confusion(found: &Found, classes: &[String]) -> Option<Confusion> {
    let verdicts = found.verdicts.as_ref()?;
    Some(Confusion::new(classes, &verdicts.predictions, &verdicts.labels))
}
