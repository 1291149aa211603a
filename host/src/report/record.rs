//! Results of evaluations, kept in the folder of the run that was evaluated.

use crate::{clock, files, report, run::RunFolder};
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Keeps a result as `evaluations/KIND-YYYYMMDD-HHMMSS.json` in a run folder, and writes the run's report anew. Does
/// nothing for any other folder: an exported model is not to be changed by looking at it. Returns the file's path.
///
/// `value` is an object; `kind`, `date` and `command` (that of this process) are added where it has none. The report
/// shows `rows`, a list of objects with `name` and `accuracy` (a share of 1), as a table, `confusion_png`, a path
/// inside the run folder, as a picture, and all else as terms.
///
/// # Errors
/// If `kind` is no plain name, or the file or the report cannot be written.
pub fn save(run_or_model_dir: &Path, kind: &str, value: &Value) -> anyhow::Result<Option<PathBuf>> {
    if !run_or_model_dir.join("run.toml").exists() {
        return Ok(None);
    }
    let plain = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_');
    anyhow::ensure!(plain, "`{kind}` is no kind of evaluation");
    let mut fields = value.as_object().cloned().context("the result of an evaluation is an object")?;
    for (key, value) in [("kind", kind.to_owned()), ("date", clock::date()), ("command", command())] {
        fields.entry(key).or_insert(value.into());
    }
    let folder = run_or_model_dir.join("evaluations");
    let stamp = clock::stamp();
    let names =
        std::iter::once(format!("{kind}-{stamp}.json")).chain((2..).map(|n| format!("{kind}-{stamp}-{n}.json")));
    let path = names.map(|name| folder.join(name)).find(|path| !path.exists()).context("no name is free")?;
    let text = serde_json::to_string_pretty(&fields)? + "\n";
    files::write_file(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    let (run, config) = RunFolder::open(run_or_model_dir)?;
    report::write(&run, &config)?;
    Ok(Some(path))
}

/// This process's command line, in single quotes where a shell needs them.
#[must_use]
pub fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = |arg: String| {
        if !arg.is_empty() && arg.chars().all(plain) { arg } else { format!("'{}'", arg.replace('\'', "'\\''")) }
    };
    let args = std::env::args_os().skip(1).map(|arg| quoted(arg.to_string_lossy().into_owned()));
    std::iter::once("host".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_run_folders_keep_results() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        assert_eq!(save(root.path(), "knn", &serde_json::json!({}))?, None);
        assert_eq!(std::fs::read_dir(root.path())?.count(), 0);
        std::fs::write(root.path().join("run.toml"), "")?;
        assert!(save(root.path(), "../knn", &serde_json::json!({})).is_err());
        assert!(save(root.path(), "knn", &serde_json::json!([])).is_err());
        Ok(())
    }
}
