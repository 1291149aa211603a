//! PyTorch's files: what `torch.save` writes since version 1.6 (a zip archive of a pickle and of the tensors' bytes)
//! and wrote before (pickles, and the bytes behind them); whole modules and archives of TorchScript for their
//! parameters.
//!
//! Reading executes nothing: of all calls in the pickle only those that make a tensor from stored bytes mean
//! something here. Writing makes a file that `torch.load(weights_only=True)` accepts.
//!
//! Design decision: a reader of our own, after trying burn's `pytorch-reader` (0.22.1 and 0.23.0-pre.1) on files of
//! torch 2.15. It too executes nothing, did not panic on 2000 damaged files, and reads more containers (the tar files
//! before 0.2). But of an `argparse.Namespace` it keeps the class's name alone, and the arguments of official
//! checkpoints are one. It refuses the whole file for one tensor anywhere in it that it cannot represent (complex,
//! sparse, quantized or float8, or in an object such as a moving average's), where here only the parameters must be
//! readable. And it accepts a view of one stored value as 9 GiB; here a file cannot ask for more values than it has
//! bytes. It would replace about 550 lines, not the writer, for 7 CPU-seconds of building and an inflater.

#[cfg(test)]
mod archives_tests;
mod container;
mod error;
mod tensor;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use self::{
    container::Container,
    tensor::{Refusal, tensor},
    walk::{Found, walk},
};
pub(crate) use self::{error::PthError, write::write};
use super::pickle::{Pickle, Value};
use crate::tensors::readable::Readable;
use serde_json::{Map, Value as Json};
use std::io::{Read, Seek};

/// Entries of the root that hold what a training or a model was given, the more trustworthy first.
const ARGUMENTS: [&str; 7] = ["args", "hyper_parameters", "hparams", "config", "cfg", "opt", "meta"];

/// Values and letters of the arguments that are read at most: what stands in many places must not fill the memory.
const MOST: usize = 1 << 21;

/// A dictionary of tensors in a file, or a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its keys from the root, joined by dots; empty for the root itself.
    pub path: String,
    /// Names of its tensors, sorted.
    pub names: Vec<String>,
}

/// A file whose pickle has been parsed; tensors are read group by group.
pub(crate) struct Archive<R> {
    container: Container<R>,
    pickle: Pickle,
    found: Vec<Found>,
}

/// Whether a file begins as `torch.save` before 1.6 began it: with a pickled magic number.
#[must_use]
pub(crate) fn is_legacy(start: &[u8]) -> bool {
    let Some([0x80, _, rest @ ..]) = start.get(..) else { return false };
    // From protocol 4 on, with the length of a frame in front.
    let rest = if rest.first() == Some(&0x95) { rest.get(9..).unwrap_or_default() } else { rest };
    rest.starts_with(&[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46])
}

impl<R: Read + Seek> Archive<R> {
    /// Reads what a file holds, without the tensors' bytes.
    ///
    /// # Errors
    /// If it is damaged, or no checkpoint.
    pub(crate) fn open(mut file: R) -> Result<Self, PthError> {
        let mut start = Vec::new();
        (&mut file).take(32).read_to_end(&mut start)?;
        let (container, pickle, script) =
            if is_legacy(&start) { Container::legacy(file) } else { Container::zip(file) }?;
        let found = walk(&pickle, script);
        if found.is_empty() {
            return Err(PthError::NoTensors);
        }
        Ok(Self { container, pickle, found })
    }

    /// All groups in the order of the file; there is at least one.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.found.iter().map(Found::group).collect()
    }

    /// Reads the tensors of the group at `path`.
    ///
    /// # Errors
    /// If there is no such group, or a tensor's bytes are damaged; names the first.
    pub(crate) fn read(&mut self, path: &str) -> Result<Readable, PthError> {
        let found = self.found.iter().find(|found| found.path == path).ok_or(PthError::NoTensors)?;
        let (mut loaded, mut read) = (Readable::default(), 0);
        for (name, value) in &found.tensors {
            match tensor(&self.pickle, *value, &mut self.container, &mut read) {
                Ok((tensor, kind)) => loaded.insert(name.clone(), tensor, kind),
                Err(Refusal::Kind(reason)) => drop(loaded.unreadable.insert(name.clone(), reason)),
                Err(Refusal::Damage(reason)) => return Err(PthError::Tensor { name: name.clone(), reason }),
            }
        }
        Ok(loaded)
    }

    /// What the training was given: the name of each entry of the root, and its numbers, texts, truth values, and
    /// lists and dictionaries of them.
    pub(crate) fn arguments(&self) -> Vec<(&'static str, Map<String, Json>)> {
        let (pickle, mut left) = (&self.pickle, MOST);
        let of = |entry| match json(pickle, pickle.entry(pickle.root(), entry)?, 3, &mut left)? {
            Json::Object(values) => Some((entry, values)),
            _ => None,
        };
        ARGUMENTS.into_iter().filter_map(of).collect()
    }
}

/// A value of the arguments, if it is plain; of `left` its size is taken.
fn json(pickle: &Pickle, value: Value, depth: usize, left: &mut usize) -> Option<Json> {
    let text = pickle.text(value);
    *left = left.checked_sub(1 + text.map_or(0, str::len))?;
    match value {
        Value::None => Some(Json::Null),
        Value::Bool(flag) => Some(flag.into()),
        Value::Int(number) => Some(number.into()),
        Value::Float(number) => Some(number.into()),
        Value::Node(_) if text.is_some() => text.map(Json::from),
        Value::Node(_) if depth == 0 => None,
        Value::Node(_) => match pickle.attributes(value) {
            Some(entries) => {
                let plain = |(key, value): &(Value, Value)| {
                    let key = match json(pickle, *key, 0, left)? {
                        Json::String(key) => key,
                        Json::Number(key) => key.to_string(),
                        _ => return None,
                    };
                    Some((key, json(pickle, *value, depth - 1, left)?))
                };
                Some(Json::Object(entries.iter().filter_map(plain).collect()))
            }
            None => {
                let members = pickle.sequence(value)?.iter();
                members
                    .map(|member| json(pickle, *member, depth - 1, left))
                    .collect::<Option<Vec<_>>>()
                    .map(Json::from)
            }
        },
    }
}
