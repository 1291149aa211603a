//! Finding the dictionaries of tensors in a pickle.

use super::{Group, tensor};
use crate::formats::pickle::{Pickle, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How far below the root dictionaries are looked for.
const DEPTH: usize = 3;
/// Members of a list or tuple that are looked into.
const MEMBERS: usize = 16;
/// How far a module's parts are nested at most.
const PARTS: usize = 24;
/// Longest name, bytes.
const NAME: usize = 256;
/// How many entries are looked at: one that stands in many places must not take for ever.
const ENTRIES: usize = 1 << 17;

/// How often a dictionary that was found already is listed under another key.
const AGAIN: usize = 16;

/// The tensors of one dictionary or module.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) path: String,
    /// By their names; the values are recipes.
    pub(super) tensors: BTreeMap<String, Value>,
}

impl Found {
    pub(super) fn group(&self) -> Group {
        Group { path: self.path.clone(), names: self.tensors.keys().cloned().collect() }
    }
}

/// All dictionaries of tensors and modules, in the order of the file; `script` is for an archive of TorchScript,
/// whose modules keep their parts as plain attributes.
pub(super) fn walk(pickle: &Pickle, script: bool) -> Vec<Found> {
    let mut walk = Walk {
        pickle,
        script,
        seen: BTreeSet::new(),
        places: BTreeMap::new(),
        again: 0,
        entries_seen: 0,
        found: vec![],
    };
    walk.visit("", pickle.root(), DEPTH);
    walk.found
}

struct Walk<'a> {
    pickle: &'a Pickle,
    script: bool,
    seen: BTreeSet<usize>,
    /// Where in `found` an object's tensors are.
    places: BTreeMap<usize, usize>,
    again: usize,
    entries_seen: usize,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &str, value: Value, depth: usize) {
        let Value::Node(node) = value else { return };
        if !self.seen.insert(node) {
            // The same object under another key, as a teacher that is its student still.
            let found = self.places.get(&node).and_then(|place| self.found.get(*place)).cloned();
            if let Some(found) = found.filter(|_| self.again < AGAIN) {
                self.again += 1;
                self.found.push(Found { path: path.to_owned(), ..found });
            }
            return;
        }
        if tensor::is(self.pickle, value) {
            return;
        }
        let mut tensors = BTreeMap::new();
        if self.is_module(value) {
            self.module("", value, PARTS, &mut tensors);
            self.keep(node, path, tensors);
            return;
        }
        if let Some(entries) = self.pickle.attributes(value) {
            let mut named = vec![];
            for (key, value) in entries {
                if let Some(key) = self.key(*key) {
                    if tensor::is(self.pickle, *value) {
                        tensors.insert(key, *value);
                    } else {
                        named.push((key, *value));
                    }
                }
            }
            self.keep(node, path, tensors);
            for (key, value) in named {
                // An optimizer's tensors are no parameters.
                if depth > 0 && !key.starts_with("optim") {
                    self.visit(&joined(path, &key), value, depth - 1);
                }
            }
        } else if let Some(members) = self.pickle.sequence(value).filter(|_| depth > 0) {
            for (index, member) in members.iter().take(MEMBERS).enumerate() {
                self.visit(&joined(path, &index.to_string()), *member, depth - 1);
            }
        }
    }

    fn keep(&mut self, node: usize, path: &str, tensors: BTreeMap<String, Value>) {
        if !tensors.is_empty() {
            self.places.insert(node, self.found.len());
            self.found.push(Found { path: path.to_owned(), tensors });
        }
    }

    /// A key as text, as long as there are not too many.
    fn key(&mut self, key: Value) -> Option<String> {
        self.entries_seen += 1;
        if self.entries_seen > ENTRIES {
            return None;
        }
        match key {
            Value::Int(number) => Some(number.to_string()),
            _ => self.pickle.text(key).filter(|text| text.len() <= NAME).map(str::to_owned),
        }
    }

    /// A `torch.nn.Module` that was saved whole.
    fn is_module(&self, value: Value) -> bool {
        self.pickle.state(value).is_some_and(|state| {
            self.script
                || self.pickle.entry(state, "_parameters").is_some() && self.pickle.entry(state, "_modules").is_some()
        })
    }

    /// What `state_dict()` of a module would give.
    fn module(&mut self, prefix: &str, value: Value, depth: usize, tensors: &mut BTreeMap<String, Value>) {
        let Some(state) = self.pickle.state(value).filter(|_| depth > 0) else { return };
        let kinds: &[&str] = if self.script { &[""] } else { &["_parameters", "_buffers", "_modules"] };
        let hidden = self.pickle.entry(state, "_non_persistent_buffers_set").map(|set| {
            // In old protocols a set is a call with a list.
            let list = self.pickle.call(set).and_then(|(_, arguments)| arguments.first().copied());
            self.pickle.sequence(list.unwrap_or(set)).unwrap_or_default()
        });
        for kind in kinds {
            // TorchScript's modules keep everything side by side.
            let dictionary = if self.script { Some(state) } else { self.pickle.entry(state, kind) };
            for (key, value) in dictionary.and_then(|d| self.pickle.entries(d)).unwrap_or_default() {
                let text = self.pickle.text(*key);
                let Some(name) = self.key(*key) else { continue };
                if !tensor::is(self.pickle, *value) {
                    self.module(&joined(prefix, &name), *value, depth - 1, tensors);
                } else if *kind != "_buffers"
                    || hidden.is_none_or(|all| all.iter().all(|h| self.pickle.text(*h) != text))
                {
                    tensors.insert(joined(prefix, &name), *value);
                }
            }
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
