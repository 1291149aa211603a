//! The tensors of a foreign file, of which some may hold numbers that are not read.

use super::{NamedTensor, Tensors, number::Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Why tensors are not read, by their names: the end of a sentence.
pub type Unreadable = BTreeMap<String, String>;

/// What can be read of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Readable {
    /// Tensors as f32, whatever their type in the file.
    pub tensors: Tensors,
    /// Names of those whose numbers are whole ones.
    pub whole: BTreeSet<String>,
    /// The others.
    pub unreadable: Unreadable,
}

impl Readable {
    /// Adds a tensor that was of numbers of this kind.
    pub(crate) fn insert(&mut self, name: String, tensor: NamedTensor, kind: Kind) {
        if kind.is_whole() {
            self.whole.insert(name.clone());
        }
        self.tensors.insert(name, tensor);
    }

    /// Adds all of another part of the file.
    pub(crate) fn extend(&mut self, part: Self) {
        self.tensors.extend(part.tensors);
        self.whole.extend(part.whole);
        self.unreadable.extend(part.unreadable);
    }

    /// Whether the name is that of a tensor, readable or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.unreadable.contains_key(name)
    }
}
