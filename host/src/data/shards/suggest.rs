//! How to name the shards that lie in a folder.

use std::{fs, path::Path};

/// The pattern of the shards in a folder, or what a shell makes of them; `None` if there is none.
#[must_use]
pub fn pattern(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let shard = |name: &String| name.to_lowercase().ends_with(".tar") && !name.starts_with('.');
    let mut names: Vec<String> = names.filter(shard).collect();
    names.sort();
    let name = match &names[..] {
        [] => return None,
        [only] => only.clone(),
        several => numbered(several).unwrap_or_else(|| "*.tar".into()),
    };
    Some(folder.join(name).display().to_string())
}

/// `a-{00..17}.tar`, if the names are all of these.
fn numbered(names: &[String]) -> Option<String> {
    let (first, last) = (names.first()?, names.last()?);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    // From the last run of digits that differs: those before it belong to the name.
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let start = first.get(..same)?.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (low, high) = (first.get(start..)?, last.get(start..)?);
    let (low, high) = (low.get(..digits(low))?, high.get(..digits(high))?);
    let end = first.get(start + low.len()..)?;
    let pattern = format!("{}{{{low}..{high}}}{end}", first.get(..start)?);
    let mut paths = super::pattern::expand(&pattern).ok()?;
    paths.sort();
    (paths == names).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<String> {
        let folder = tempfile::tempdir().expect("folder");
        names.iter().for_each(|name| fs::write(folder.path().join(name), "").expect("file"));
        let found = pattern(folder.path())?;
        Some(Path::new(&found).file_name().expect("name").to_string_lossy().into_owned())
    }

    #[test]
    fn the_pattern_names_the_shards_that_are_there() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["labels.csv"]), None);
        for (names, expected) in [
            (&["a.tar"][..], "a.tar"),
            (&["a-000.tar", "a-001.tar", "a-002.tar", "README"], "a-{000..002}.tar"),
            (&["v2-099.tar", "v2-100.tar", "v2-101.tar"], "v2-{099..101}.tar"),
            (&["0.tar", "1.tar"], "{0..1}.tar"),
            (&["a-000.tar", "a-002.tar"], "*.tar"),
            (&["train.tar", "val.tar"], "*.tar"),
            (&["a-{0.tar", "a-{1.tar"], "*.tar"),
        ] {
            assert_eq!(of(names).as_deref(), Some(expected), "{names:?}");
        }
    }
}
