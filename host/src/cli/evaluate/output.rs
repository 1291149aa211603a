//! What every way of evaluating prints and writes at its end.

use crate::{checkpoint::atomic, evaluate::confusion::Confusion};
use anyhow::Context as _;
use edge::exit::misuse;
use serde_json::{Value, json};
use std::path::Path;

/// A figure in per cent, as tables show it.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Refuses a name for the confusion picture before the work is done.
///
/// # Errors
/// If it does not end in .png.
pub fn check_png(path: Option<&Path>) -> anyhow::Result<()> {
    match path {
        Some(path) if path.extension().is_none_or(|extension| extension != "png") => {
            Err(misuse(format!("--confusion {}: the name must end in .png", path.display())))
        }
        _ => Ok(()),
    }
}

/// Writes the picture of a confusion matrix.
///
/// # Errors
/// Those of the file system.
pub fn write_confusion(path: &Path, title: &str, confusion: &Confusion) -> anyhow::Result<()> {
    let png = confusion.draw(title).to_png()?;
    atomic::write_file(path, &png).with_context(|| format!("cannot write {}", path.display()))
}

/// Completes the result with what all kinds have, and prints it if it is asked for.
/// `kind`: the sub-command; `model`: the run or model folder; `result`: an object with `rows: [{name, accuracy, ..}]`.
pub fn finish(kind: &str, model: &Path, mut result: Value, print: bool) {
    let command: Vec<String> = std::env::args().collect();
    result["kind"] = json!(kind);
    result["model"] = json!(model);
    result["command"] = json!(command.join(" "));
    if print {
        edge::say!("{result}");
    }
}
