//! What a file holds, in a line, for a message about a file that is of no use.

use crate::tensors::Tensors;
use std::collections::BTreeMap;

/// So many groups are named.
const GROUPS: usize = 6;

/// `150 tensors: features.* 120 (features.0.weight [64, 3, 3, 3]), classifier.* 30 (...)`.
#[must_use]
pub(super) fn summary(tensors: &Tensors) -> String {
    let mut groups: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in tensors.keys() {
        groups.entry(name.split('.').next().unwrap_or(name)).or_default().push(name);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let shown = groups.iter().take(GROUPS).filter_map(|(group, names)| {
        let first = names.first()?;
        let shape = &tensors.get(*first)?.shape;
        Some(match names.len() {
            1 => format!("`{first}` {shape:?}"),
            count => format!("{count} of `{group}.*` (`{first}` {shape:?})"),
        })
    });
    let mut shown: Vec<String> = shown.collect();
    if groups.len() > GROUPS {
        shown.push(format!("{} other groups", groups.len() - GROUPS));
    }
    format!("{} tensors: {}", tensors.len(), shown.join(", "))
}
