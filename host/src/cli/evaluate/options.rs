//! The options that every way of evaluating has.

use crate::train::finetune::tuning::{Changes, Folders};
use console::misuse;
use std::path::PathBuf;

/// What is evaluated, on which images, and how the result is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A run folder or a model folder.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Training images, one folder a class.
    #[arg(long, value_name = "DIR")]
    train: Option<PathBuf>,
    /// Test images, one folder a class.
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// Draw which class is taken for which, of the table's first row.
    #[arg(long, value_name = "FILE.png")]
    confusion: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// The three folders, which are needed unless something begun is continued.
    ///
    /// # Errors
    /// As misuse, if one is not given.
    pub fn folders(&self) -> anyhow::Result<Folders> {
        let needed = |folder: &Option<PathBuf>, option| {
            folder.clone().ok_or_else(|| misuse(format!("{option} DIR is needed: --model, --train and --test")))
        };
        Ok(Folders {
            model: needed(&self.model, "--model")?,
            train: needed(&self.train, "--train")?,
            test: needed(&self.test, "--test")?,
        })
    }

    /// The image folders that were given, for something begun that is continued.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { train: self.train.clone(), test: self.test.clone() }
    }

    /// Where the confusion picture goes, if one is wanted.
    ///
    /// # Errors
    /// As misuse, if the name does not end in .png: said before the work is done.
    pub fn confusion(&self) -> anyhow::Result<Option<PathBuf>> {
        match &self.confusion {
            Some(path) if path.extension().is_none_or(|extension| extension != "png") => {
                Err(misuse(format!("--confusion {}: the name must end in .png", path.display())))
            }
            path => Ok(path.clone()),
        }
    }
}
