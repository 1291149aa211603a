//! What shards hold beside the images that are read.

use imaging::LeftOut;
use std::{collections::BTreeMap, fmt};

/// What is not read; shown in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest {
    /// Hidden members, and files of other kinds.
    pub left_out: LeftOut,
    /// Further images of samples that have one.
    pub beside: usize,
    /// Members that are no plain files, by what they are.
    pub odd: BTreeMap<&'static str, usize>,
    /// Shards that name no image.
    pub without_images: usize,
}

impl Rest {
    /// Whether there is nothing else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in what another shard holds.
    pub fn merge(&mut self, other: Self) {
        self.left_out.merge(other.left_out);
        self.beside += other.beside;
        for (what, count) in other.odd {
            *self.odd.entry(what).or_default() += count;
        }
        self.without_images += other.without_images;
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let odd: usize = self.odd.values().sum();
        let kinds: Vec<String> = self.odd.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let parts = [
            (!self.left_out.is_empty()).then(|| self.left_out.to_string()),
            (self.beside > 0)
                .then(|| format!("{} image{} beside that of a sample", self.beside, plural(self.beside))),
            (odd > 0).then(|| format!("{odd} member{} that are no plain files ({})", plural(odd), kinds.join(", "))),
            (self.without_images > 0)
                .then(|| format!("{} shard{} without images", self.without_images, plural(self.without_images))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn one_line_tells_all() {
        let mut rest = Rest::default();
        assert!(rest.is_empty());
        let mut other = Rest { beside: 1, odd: BTreeMap::from([("link", 2)]), ..Rest::default() };
        other.left_out.add_other(Path::new("0.json"));
        rest.merge(other.clone());
        rest.merge(Rest { without_images: 1, ..other });
        assert_eq!(
            rest.to_string(),
            "2 files of other kinds (.json 2), 2 images beside that of a sample, \
             4 members that are no plain files (link 4), 1 shard without images"
        );
    }
}
