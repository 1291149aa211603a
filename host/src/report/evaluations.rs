//! The results in a run's `evaluations/` as tables.

use super::{
    html::{facts, picture, png_size},
    number::{grouped, number},
};
use anyhow::Context as _;
use maud::{Markup, html};
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Pictures larger than this are left out of the page, bytes.
const LARGEST_PICTURE: u64 = 4 << 20;

type Row = Map<String, Value>;

/// Every result of the run in the folder `run`, the newest first; a file that cannot be read is named.
///
/// # Errors
/// If the folder is there and cannot be read.
pub fn section(run: &Path) -> anyhow::Result<Markup> {
    let files = files(run)?;
    Ok(html! {
        section {
            h2 { "Evaluations" }
            @if files.is_empty() {
                p.soft { "None yet. " code { "host evaluate" } " on this run adds its results here." }
            }
            @for file in files {
                @let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                article {
                    @match read(&file) {
                        Ok(value) => { (result(&name, value, run)) }
                        Err(error) => {
                            h3 { (name) }
                            p.warn { "This file is damaged: " (format_args!("{error:#}")) }
                        }
                    }
                }
            }
        }
    })
}

/// The files, by the moment in their names, the newest first.
fn files(run: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = run.join("evaluations");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    // KIND-YYYYMMDD-HHMMSS.json
    files.sort_by_key(|path| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let moment: String = stem.chars().skip_while(|c| !c.is_ascii_digit()).collect();
        std::cmp::Reverse((moment, stem))
    });
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<Row> {
    match serde_json::from_slice(&fs::read(path)?)? {
        Value::Object(object) => Ok(object),
        _ => anyhow::bail!("it holds no JSON object"),
    }
}

/// What a file says.
fn result(name: &str, mut fields: Row, run: &Path) -> Markup {
    let mut take = |key: &str| match fields.get(key) {
        Some(Value::String(_)) => fields.remove(key).and_then(|value| value.as_str().map(str::to_owned)),
        _ => None,
    };
    let (kind, date, command, confusion) = (take("kind"), take("date"), take("command"), take("confusion_png"));
    let title = kind.as_deref().map_or_else(|| name.to_owned(), title);
    let rows = fields.get("rows").and_then(objects).map(|rows| split(&rows));
    let (rows, parts) = rows.map_or((None, Vec::new()), |(rows, parts)| (Some(rows), parts));
    if rows.is_some() {
        fields.remove("rows");
    }
    let (mut rest, mut closed) = (Vec::new(), Vec::new());
    for (key, value) in &fields {
        match (value.as_object(), objects(value)) {
            (Some(object), _) => closed.push(details(key, &facts("facts", &terms(object)))),
            (_, Some(rows)) => {
                closed.push(details(key, &table(key, &rows.into_iter().cloned().collect::<Vec<_>>())));
            }
            _ => rest.push((spaced(key), text(key, value))),
        }
    }
    html! {
        h3 { (title) }
        @if let Some(date) = date {
            p.soft { (date) }
        }
        @if let Some(rows) = rows {
            (table(&title, &rows))
        }
        @if let Some(path) = confusion {
            @match confusion_picture(run, &path) {
                Ok(png) => { figure { (picture(&png, "Which classes are taken for which")) } }
                Err(error) => {
                    p.warn { "The picture " (path) " is left out: " (format_args!("{error:#}")) }
                }
            }
        }
        (facts("facts", &rest))
        @for (key, rows) in parts {
            (details(&key, &table(&key, &rows)))
        }
        @for part in closed {
            (part)
        }
        @if let Some(command) = command {
            p.command { code { (words(&command)) } }
        }
    }
}

/// A command line that is broken between words, not after the dashes of its options.
fn words(command: &str) -> Markup {
    html! {
        @for (place, word) in command.split(' ').enumerate() {
            @if place > 0 { " " }
            span { (word) }
        }
    }
}

fn title(kind: &str) -> String {
    match kind {
        "knn" => "k nearest neighbours".into(),
        "linear" => "Linear probe".into(),
        "finetune" => "Fine-tuning".into(),
        "partial" => "Partial fine-tuning".into(),
        other => other.into(),
    }
}

/// A list with at least one member, all objects.
fn objects(value: &Value) -> Option<Vec<&Row>> {
    let rows: Option<Vec<_>> = value.as_array()?.iter().map(Value::as_object).collect();
    rows.filter(|rows| !rows.is_empty())
}

/// Rows without the objects in them; and for each of these, by its key, the rows that they make.
fn split(rows: &[&Row]) -> (Vec<Row>, Vec<(String, Vec<Row>)>) {
    let mut inner: Vec<(String, Vec<Row>)> = Vec::new();
    let mut outer = Vec::new();
    for row in rows {
        let mut kept = Map::new();
        for (key, value) in *row {
            let Some(object) = value.as_object() else {
                kept.insert(key.clone(), value.clone());
                continue;
            };
            let name = row.get("name").map(|name| ("name".to_owned(), name.clone()));
            let found: Map<_, _> = name.into_iter().chain(object.clone()).collect();
            match inner.iter_mut().find(|(known, _)| known == key) {
                Some((_, rows)) => rows.push(found),
                None => inner.push((key.clone(), vec![found])),
            }
        }
        outer.push(kept);
    }
    (outer, inner)
}

/// Something to unfold, under its key.
fn details(key: &str, content: &Markup) -> Markup {
    html! { details { summary { (spaced(key)) } (content) } }
}

fn spaced(key: &str) -> String {
    key.replace('_', " ")
}

/// The members of an object for a person, both sides unescaped.
fn terms(object: &Row) -> Vec<(String, String)> {
    object.iter().map(|(key, value)| (spaced(key), text(key, value))).collect()
}

fn table(title: &str, rows: &[Row]) -> Markup {
    let mut columns: Vec<&String> = Vec::new();
    for key in rows.iter().flat_map(|row| row.keys()) {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    // What names a row, then its accuracy, then what else there is.
    columns.sort_by_key(|key| match key.as_str() {
        "name" | "class" => 0,
        "accuracy" => 1,
        _ => 2,
    });
    let numeric =
        |key: &str| rows.iter().filter_map(|row| row.get(key)).all(|value| value.is_number() || value.is_null());
    let class = |key: &str| numeric(key).then_some("n");
    html! {
        div.table {
            // On a phone, a wide table becomes a list a row.
            table class=[(columns.len() > 4).then_some("many")] aria-label=(title) {
                thead {
                    tr {
                        @for key in &columns { th scope="col" class=[class(key)] { (spaced(key)) } }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for key in &columns {
                                @let shown = row.get(*key).map_or_else(String::new, |value| text(key, value));
                                @if matches!(key.as_str(), "name" | "class") {
                                    th scope="row" { (shown) }
                                } @else {
                                    td class=[class(key)] data-label=(spaced(key)) { (shown) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A value for a person; shares that are accuracies in percent.
fn text(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => text.clone(),
        Value::Number(n) => match (n.as_u64(), n.as_f64()) {
            (_, Some(share)) if key.contains("accuracy") && (0.0..=1.0).contains(&share) => {
                format!("{:.2} %", share * 100.0)
            }
            (Some(whole), _) => usize::try_from(whole).map_or_else(|_| n.to_string(), grouped),
            (None, Some(value)) => number(value),
            (None, None) => n.to_string(),
        },
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::Array(list) if list.iter().all(|member| !member.is_array() && !member.is_object()) => {
            list.iter().map(|member| text(key, member)).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A PNG inside the run folder; `path` starts there or in `evaluations/`.
fn confusion_picture(run: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(path);
    anyhow::ensure!(
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
        "it is not inside the run folder"
    );
    let candidates = [run.join(path), run.join("evaluations").join(path)];
    let file = candidates.iter().find(|file| file.is_file()).context("there is no such file")?;
    anyhow::ensure!(fs::metadata(file)?.len() <= LARGEST_PICTURE, "it is larger than {} MiB", LARGEST_PICTURE >> 20);
    let png = fs::read(file)?;
    anyhow::ensure!(png_size(&png).is_some(), "it is no PNG");
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn section_of(files: &[(&str, &[u8])]) -> anyhow::Result<String> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join("evaluations"))?;
        for (name, bytes) in files {
            fs::write(root.path().join("evaluations").join(name), bytes)?;
        }
        Ok(section(root.path())?.into_string())
    }

    #[test]
    fn results_become_tables_newest_first() -> anyhow::Result<()> {
        let page = section_of(&[
            ("knn-20261125-101500.json", br#"{"kind": "knn", "k": 20, "rows": [{"name": "trained", "accuracy": 0.5075}, {"name": "<b>", "seconds": 3.5}]}"#),
            ("linear-20261126-101500.json", br#"{"kind": "linear", "rows": []}"#),
        ])?;
        let place = |text: &str| page.find(text).with_context(|| format!("{text} is not in {page}"));
        assert!(place("Linear probe")? < place("k nearest neighbours")?);
        place("<td class=\"n\" data-label=\"accuracy\">50.75 %</td>")?;
        place("<th scope=\"row\">&lt;b&gt;</th><td class=\"n\" data-label=\"accuracy\"></td>")?;
        place("<dt>k</dt><dd>20</dd>")?;
        place("<dt>rows</dt><dd>none</dd>")?;
        Ok(())
    }

    #[test]
    fn a_damaged_file_and_a_stray_picture_are_named() -> anyhow::Result<()> {
        let page = section_of(&[
            ("knn-20261125-101500.json", b"{\"kind\": "),
            ("linear-20261125-101501.json", br#"{"kind": "linear", "confusion_png": "../../secret.png"}"#),
            ("linear-20261125-101502.json", br#"{"kind": "linear", "confusion_png": "knn-20261125-101500.json"}"#),
        ])?;
        for text in
            ["knn-20261125-101500.json</h3><p class=\"warn\">This file is damaged", "not inside the run", "no PNG"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("<img"));
        Ok(())
    }

    #[test]
    fn objects_within_a_result_are_tables_and_terms_not_json() -> anyhow::Result<()> {
        let page = section_of(&[(
            "linear-20261125-101500.json",
            br#"{"kind": "linear",
                 "rows": [{"name": "tract f32", "accuracy": 0.5, "recipe": {"method": "lars", "weight_decay": 0.0}},
                          {"name": "tract <w8>", "accuracy": 0.4, "recipe": {"method": "closed"}}],
                 "recipe": {"min_lr": 1e-6, "rand_augment": true},
                 "classes": [{"class": "air & plane", "images": 20, "accuracy": 0.25}]}"#,
        )])?;
        for text in [
            "<details><summary>recipe</summary><div class=\"table\"><table aria-label=\"recipe\">",
            "<tr><th scope=\"row\">tract &lt;w8&gt;</th><td data-label=\"method\">closed</td>",
            "<div><dt>rand augment</dt><dd>yes</dd></div>",
            "<summary>classes</summary>",
            "<th scope=\"row\">air &amp; plane</th><td class=\"n\" data-label=\"accuracy\">25.00 %</td>",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains('{') && !page.contains("&quot;"), "{page}");
        Ok(())
    }

    proptest! {
        #[test]
        fn any_file_is_shown_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), key in "[a-z_<]{0,8}", value in any::<f64>()) {
            let object = serde_json::json!({ "rows": [{ key.clone(): value }], key: value }).to_string();
            let page = section_of(&[("a.json", &bytes), ("b.json", object.as_bytes())]);
            prop_assert!(page.is_ok());
        }
    }
}
