//! Names of a board's classes, as far as they have come.

use common::wire::{ClassNames, ClassScore};
use std::collections::BTreeMap;

/// Most classes whose names are kept.
const MOST: u32 = 1 << 16;

/// Names by number.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    names: BTreeMap<u32, String>,
}

impl Classes {
    /// Forgets all: the board has started anew.
    pub fn clear(&mut self) {
        self.names.clear();
    }

    /// Takes a part of the names.
    pub fn add(&mut self, part: &ClassNames) {
        for (number, name) in (part.offset..MOST.min(part.total)).zip(&part.names) {
            self.names.insert(number, name.as_str().into());
        }
    }

    /// The name of a class; its number if the name never came.
    #[must_use]
    pub fn name(&self, class: &ClassScore) -> String {
        self.names.get(&class.class).cloned().unwrap_or_else(|| class.class.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::class_name_of;

    #[test]
    fn names_come_in_parts_and_a_missing_one_is_a_number() {
        let mut classes = Classes::default();
        let part = |offset, names: &[&str]| ClassNames {
            total: 4,
            offset,
            names: names.iter().map(|name| class_name_of(name)).collect(),
        };
        let class = |class| ClassScore { frame: 0, class, score: 1.0 };
        classes.add(&part(2, &["bird", "ship", "beyond the total"]));
        classes.add(&part(0, &["cat"]));
        assert_eq!([0, 1, 2, 3, 4].map(|c| classes.name(&class(c))), ["cat", "1", "bird", "ship", "4"]);
        classes.add(&part(u32::MAX, &["beyond everything"]));
        classes.clear();
        assert_eq!(classes.name(&class(2)), "2");
    }
}
