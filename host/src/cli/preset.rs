//! `--preset` and `--config`.

use crate::preset::{Preset, Recipe};
use console::misuse;
use std::{fs, path::Path};

/// The preset of the file `config`, or else the one of this `name`, with this recipe; and what to call it.
///
/// # Errors
/// As misuse, if there is none.
pub(super) fn open(config: Option<&Path>, name: &str, recipe: Recipe) -> anyhow::Result<(String, Preset)> {
    let Some(file) = config else {
        let preset = Preset::named(name).map_err(|error| {
            let hint =
                if name.ends_with(".toml") { format!(": a file is given as --config {name}") } else { String::new() };
            misuse(format!("{error}{hint}"))
        })?;
        return Ok((name.to_owned(), preset.with_recipe(recipe)));
    };
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| misuse(format!("cannot read {shown}: {e}")))?;
    let name = file.file_stem().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    Ok((name, Preset::parse(&text, &shown.to_string()).map_err(|e| misuse(e.to_string()))?.with_recipe(recipe)))
}

/// The preset of trainings that name none.
#[must_use]
pub(super) fn usual(cuda: bool) -> &'static str {
    if cuda { "tiny-32" } else { "pico-32" }
}
