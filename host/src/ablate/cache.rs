//! What is known of a run: its evaluations, kept in its folder, so that none is done twice.

use crate::{clock, files};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

/// The file's name in a run folder.
const FILE: &str = "ablate.json";

/// The result of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CachedResult {
    /// What it depends on beside the run: another result belongs to other settings.
    pub settings: Value,
    /// Figures by the names of their metrics; accuracies are shares of 1.
    pub figures: BTreeMap<String, f64>,
    /// Time it took.
    pub seconds: f64,
    /// Floating-point operations of its matrix products.
    pub flops: f64,
    /// Version of the program.
    pub version: String,
    /// When it was done.
    pub date: String,
}

impl CachedResult {
    /// One that was done now.
    #[must_use]
    pub fn now(settings: Value, figures: &[(&str, f64)], seconds: f64, flops: f64) -> Self {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self { settings, figures, seconds, flops, version: version(), date: clock::date() }
    }
}

/// Version of this program, with the commit that it was built from if `MAE_COMMIT` was set then.
#[must_use]
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    option_env!("MAE_COMMIT").map_or_else(|| version.to_owned(), |commit| format!("{version}+{commit}"))
}

/// The evaluations of one run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// By what was evaluated.
    evaluations: BTreeMap<String, CachedResult>,
}

impl Cache {
    /// Reads what the folder of a run holds; nothing if there is none.
    ///
    /// # Errors
    /// If its file is damaged or cannot be read.
    pub fn open(run: &Path) -> anyhow::Result<Self> {
        let path = run.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_str(&text).with_context(|| {
            format!("{} is damaged: remove it, and the run's evaluations are done again", path.display())
        })
    }

    /// The result of `key` with these settings.
    #[must_use]
    pub fn get(&self, key: &str, settings: &Value) -> Option<&CachedResult> {
        self.evaluations.get(key).filter(|known| known.settings == *settings)
    }

    /// Whether `key` was evaluated with other settings, and with which.
    #[must_use]
    pub fn other(&self, key: &str, settings: &Value) -> Option<&Value> {
        self.evaluations.get(key).map(|known| &known.settings).filter(|known| *known != settings)
    }

    /// Keeps a result in the folder of the run.
    ///
    /// # Errors
    /// Those of the file system; what was kept before is then untouched.
    pub fn put(&mut self, run: &Path, key: &str, judgement: CachedResult) -> anyhow::Result<()> {
        self.evaluations.insert(key.to_owned(), judgement);
        let (path, text) = (run.join(FILE), serde_json::to_string_pretty(self)? + "\n");
        files::write_file(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The first value that differs between two descriptions, as `path: known here, wanted there`; `None` if none does.
#[must_use]
pub fn difference(known: &Value, wanted: &Value) -> Option<String> {
    fn find(path: &str, known: &Value, wanted: &Value) -> Option<String> {
        if let (Some(a), Some(b)) = (known.as_object(), wanted.as_object()) {
            let keys = a.keys().chain(b.keys());
            let at = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            return keys.filter(|key| a.get(*key) != b.get(*key)).find_map(|key| {
                find(&at(key), a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))
            });
        }
        (known != wanted).then(|| format!("{path} was {known} and is {wanted} now"))
    }
    find("", known, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_come_back_for_their_settings_alone() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let mut store = Cache::open(root.path())?;
        let settings = json!({"k": 20});
        store.put(root.path(), "knn", CachedResult::now(settings.clone(), &[("knn", 0.5)], 1.0, 2.0))?;
        store.put(root.path(), "linear", CachedResult::now(json!({}), &[("linear", 0.25)], 1.0, 2.0))?;
        let again = Cache::open(root.path())?;
        assert_eq!(again, store);
        assert_eq!(again.get("knn", &settings).map(|known| known.figures["knn"]), Some(0.5));
        assert_eq!((again.get("knn", &json!({"k": 5})), again.get("seam", &settings)), (None, None));
        assert_eq!(again.other("knn", &json!({"k": 5})), Some(&settings));
        assert_eq!((again.other("knn", &settings), again.other("seam", &settings)), (None, None));
        fs::write(root.path().join(FILE), "{")?;
        let error = Cache::open(root.path()).expect_err("damaged").to_string();
        assert!(error.contains("remove it"), "{error}");
        Ok(())
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let known = json!({"train": {"epochs": 5, "blr": 0.1}, "data": "x"});
        let wanted = json!({"train": {"epochs": 10, "blr": 0.1}, "data": "x"});
        assert_eq!(difference(&known, &wanted).as_deref(), Some("train.epochs was 5 and is 10 now"));
        assert_eq!(difference(&known, &known), None);
        let more = json!({"train": {"epochs": 5, "blr": 0.1}, "data": "x", "seam": 1});
        assert_eq!(difference(&known, &more).as_deref(), Some("seam was null and is 1 now"));
    }
}
