//! What every way of evaluating prints and writes at its end.

use super::options::Options;
use crate::{evaluate::confusion::Confusion, files, report::record};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::Path;

/// A figure in per cent, as tables show it.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Writes the picture of a confusion matrix.
///
/// # Errors
/// Those of the file system.
pub fn write_confusion(path: &Path, title: &str, confusion: &Confusion) -> anyhow::Result<()> {
    let png = confusion.draw(title).to_png()?;
    files::write_file(path, &png).with_context(|| format!("cannot write {}", path.display()))
}

/// Completes the result with what all kinds have, prints it if it is asked for, and keeps it if it is `whole` and
/// `model` is a run folder. `kind`: the sub-command; `model`: the run or model folder; `result`: an object with
/// `rows: [{name, accuracy, ..}]`. A confusion picture inside the run folder becomes part of the report.
///
/// # Errors
/// Those of the file system.
pub fn finish(kind: &str, options: &Options, model: &Path, mut result: Value, whole: bool) -> anyhow::Result<()> {
    let picture = options.confusion()?.and_then(|path| path.canonicalize().ok());
    if let Some((picture, model)) = picture.zip(model.canonicalize().ok())
        && let Ok(inside) = picture.strip_prefix(model)
    {
        result["confusion_png"] = json!(inside);
    }
    publish(kind, model, result, (options.json, whole))
}

/// Completes the result with kind, model and command; prints it with `json`; keeps it with `keep` if `model` is a run
/// folder.
///
/// # Errors
/// Those of the file system.
pub fn publish(kind: &str, model: &Path, mut result: Value, (json, keep): (bool, bool)) -> anyhow::Result<()> {
    result["kind"] = json!(kind);
    result["model"] = json!(model);
    result["command"] = json!(record::command());
    if json {
        console::say!("{result}");
    }
    if keep {
        record::save(model, kind, &result)?;
    }
    Ok(())
}
