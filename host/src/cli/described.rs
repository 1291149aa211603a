//! A set of images in one line for a person.

use crate::data::dataset::Dataset;

/// How many images, and where they come from.
#[must_use]
pub(super) fn described(dataset: &Dataset) -> String {
    let (count, classes) = (dataset.len(), dataset.classes().len());
    if let Some(shards) = dataset.as_shards() {
        let (named, plural) = (shards.named(), if shards.count() == 1 { "" } else { "s" });
        return format!("{count} images in {} shard{plural}: {named}", shards.count());
    }
    match dataset.root() {
        None => format!("{count} generated images (embedded; use --data for your own)"),
        Some(root) if classes > 1 => format!("{count} images in {} ({classes} folders)", root.display()),
        Some(root) => format!("{count} images in {}", root.display()),
    }
}
