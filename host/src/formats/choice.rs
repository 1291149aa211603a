//! Which dictionary of tensors in a file is the model.

use super::{names::Dialect, pth::Group};

/// Keys of a model, the preferred first; a moving average of it comes after the teacher.
const MODELS: [&str; 9] =
    ["model", "state_dict", "model_state_dict", "module", "net", "network", "backbone", "encoder", "teacher"];

/// The group to read, and the others that hold an encoder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The group's path.
    pub(crate) path: String,
    /// Paths of the others.
    pub(crate) others: Vec<String>,
}

/// Chooses the group at `key`; without it the most likely model, or else what is called so.
///
/// # Errors
/// `None` if there is no group at `key`.
#[must_use]
pub(crate) fn choose(groups: &[Group], key: Option<&str>) -> Option<Choice> {
    let has_encoder = |group: &&Group| group.names.iter().any(|name| Dialect::of_anchor(name).is_some());
    let encoders = || groups.iter().filter(has_encoder);
    let chosen = match key {
        Some(key) => groups.iter().find(|group| group.path == key),
        None => encoders().min_by_key(|group| rank(&group.path)).or_else(|| {
            let at = |path: &str| groups.iter().find(|group| group.path == path);
            at("model").or_else(|| at("state_dict")).or_else(|| at("")).or_else(|| groups.first())
        }),
    };
    let path = chosen?.path.clone();
    let others = encoders().map(|group| group.path.clone()).filter(|other| *other != path).collect();
    Some(Choice { path, others })
}

/// Smaller is more likely what somebody wants.
fn rank(path: &str) -> usize {
    let averaged =
        |key: &str| key == "ema" || key.starts_with("ema_") || key.ends_with("_ema") || key.contains("_ema_");
    let of = |key: &str| match key {
        "student" => MODELS.len() + 1,
        key if averaged(key) => MODELS.len(),
        key => MODELS.iter().position(|model| *model == key).unwrap_or(MODELS.len() + 2),
    };
    // Where a model lies within its moving average, it is the average.
    let special = path.split('.').map(of).find(|rank| (MODELS.len() - 1..=MODELS.len() + 1).contains(rank));
    let usual = path.split('.').map(of).min().unwrap_or(usize::MAX);
    if path.is_empty() { usize::MAX } else { special.unwrap_or(usual) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(paths: &[&str], name: &str) -> Vec<Group> {
        paths.iter().map(|path| Group { path: (*path).into(), names: vec![name.into()] }).collect()
    }

    #[test]
    fn the_model_comes_before_its_averages_and_teachers() {
        let order = [
            "model",
            "state_dict",
            "model_state_dict",
            "module",
            "net",
            "network",
            "backbone",
            "encoder",
            "teacher",
            "model_ema",
            "student",
            "a.b",
            "",
        ];
        for first in 0..order.len() {
            let mut shown: Vec<&str> = order[first..].to_vec();
            shown.reverse();
            let choice = choose(&groups(&shown, "module.patch_embed.proj.weight"), None).expect("a choice");
            assert_eq!(choice.path, order[first]);
            assert_eq!(choice.others.len(), order.len() - first - 1);
        }
        for average in ["ema.model", "ema_model", "state_dict_ema", "module_ema", "teacher.model"] {
            let found = choose(&groups(&[average, "encoder"], "patch_embed.proj.weight"), None);
            assert_eq!(found.map(|choice| choice.path), Some("encoder".into()), "{average}");
        }
        // A word with these letters in it is no average.
        let found = choose(&groups(&["model_ema", "schema.model"], "conv_proj.weight"), None);
        assert_eq!(found.map(|choice| choice.path), Some("schema.model".into()));
    }

    #[test]
    fn a_key_goes_before_everything_and_without_an_encoder_the_usual_names_do() {
        let both = groups(&["model", "teacher"], "vit.embeddings.patch_embeddings.projection.weight");
        let choice = choose(&both, Some("teacher")).expect("a choice");
        assert_eq!((choice.path.as_str(), choice.others), ("teacher", vec!["model".to_owned()]));
        assert_eq!(choose(&both, Some("none")), None);
        let plain = |paths: &[&str]| choose(&groups(paths, "fc.weight"), None).map(|choice| choice.path);
        assert_eq!(plain(&["", "state_dict", "model"]), Some("model".into()));
        assert_eq!(plain(&["", "state_dict", "x"]), Some("state_dict".into()));
        assert_eq!((plain(&["", "x"]), plain(&["y", "x"]), plain(&[])), (Some("".into()), Some("y".into()), None));
        // The end of another word is no embedding.
        let mut mixed = groups(&["model"], "xpatch_embed.proj.weight");
        mixed.extend(groups(&["x"], "patch_embed.proj.weight"));
        assert_eq!(choose(&mixed, None).map(|choice| choice.path), Some("x".into()));
    }
}
