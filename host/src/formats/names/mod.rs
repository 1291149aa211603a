//! Finding the autoencoder, or the encoder alone, among the names of a file.
//!
//! Every library calls the patch projection otherwise, and none calls anything else so: where that name ends one,
//! an encoder begins, and what stands before it is the encoder's prefix (`backbone.vit.`). `decoder_embed` tells a
//! decoder's prefix in the same way. Behind the prefixes a table translates each name to the reference's.

mod foreign;
mod holds;
mod join;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use tables::Dialect;
pub(super) use tables::{joined, parts};

use super::{error::ImportError, huggingface};
use crate::tensors::{Tensors, readable::Unreadable};
use std::collections::{BTreeMap, BTreeSet};
use tables::{ANCHOR_OF_DECODER, WRAPPERS};

/// First segments of names that belong to a training or to a classifier, not to the encoder: of heads (what projects
/// or classifies features), and of other programs' decoders.
const LEFT_OUT: [&str; 20] = [
    "head",
    "heads",
    "classifier",
    "pooler",
    "pre_logits",
    "fc",
    "projector",
    "projection_head",
    "prediction_head",
    "predictor",
    "prototypes",
    "last_layer",
    "mlp_head",
    "lm_head",
    "online_classifier",
    "decoder",
    "criterion",
    "queue",
    "queue_ptr",
    "n_averaged",
];
/// Prefixes of copies of an encoder, the more useful first, after one without any of these words: what a teacher or a
/// moving average has learned is what is evaluated, a student's or a predictor's is not.
const COPIES: [&[&str]; 4] =
    [&["teacher"], &["target", "ema"], &["momentum", "encoder_k", "key_encoder"], &["student"]];

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Parameters of encoder and, if there is one, decoder by the reference's names.
    pub(crate) tensors: Tensors,
    /// A classifier's last layer: `head.weight`, `head.bias`, or those of the linear probe.
    pub(crate) head: Tensors,
    /// Whether a decoder was found.
    pub(crate) decoder: bool,
    /// Whose names they are.
    pub(crate) dialect: Option<Dialect>,
    /// What stands in front of all of the encoder's names: `backbone.vit.`.
    pub(crate) prefix: String,
    /// Wrappers that were taken out of names.
    pub(crate) wrappers: Vec<&'static str>,
    /// Prefixes of other encoders in the file.
    pub(crate) others: Vec<String>,
    /// Names of what is left out, the head's among them.
    pub(crate) left_out: Vec<String>,
    head_names: BTreeSet<String>,
    /// Layers without a bias, which get one of zeros.
    pub(crate) without_bias: Vec<String>,
    /// The file's name of each parameter, by the reference's.
    spelled: BTreeMap<String, String>,
}

impl Named {
    /// The parameter as the file calls it, or would.
    #[must_use]
    pub(crate) fn in_file(&self, official: &str) -> String {
        if let Some(name) = self.spelled.get(official) {
            return name.clone();
        }
        // One of queries, keys and values.
        let piece = (0..3).find_map(|i| {
            let (layer, part) = parts(official);
            let block = layer.strip_suffix(&format!(".attn.{i}"))?;
            Some((i, format!("{block}.attn.qkv.{part}")))
        });
        match (self.dialect, piece) {
            (Some(Dialect::HuggingFace), Some((i, fused))) => {
                huggingface::names(&fused).into_iter().nth(i).unwrap_or(fused)
            }
            (Some(Dialect::HuggingFace), None) => match huggingface::names(official).as_slice() {
                [] => official.to_owned(),
                names => names.join("`, `"),
            },
            _ => official.to_owned(),
        }
    }

    /// Whether a name that is left out is one of the classifier's last layer.
    #[must_use]
    pub(crate) fn is_head(&self, name: &str) -> bool {
        self.head_names.contains(name)
    }

    /// The names as a person reads them. `group`: the dictionary in the file that holds them.
    #[must_use]
    pub(crate) fn described(&self, group: &str) -> String {
        let mut text = self.dialect.map_or("unknown", Dialect::name).to_owned();
        if !group.is_empty() {
            text += &format!(", in `{group}`");
        }
        if !self.prefix.is_empty() {
            text += &format!(", the encoder's with the prefix `{}`", self.prefix);
        }
        if !self.wrappers.is_empty() {
            text += &format!(", without `{}`", self.wrappers.join("`, `"));
        }
        text
    }
}

/// Finds encoder, decoder and classifier among the names of a file. With `key` the encoder whose prefix has this
/// segment. `whole`: tensors of whole numbers, of which one that is unknown is no parameter. `unreadable`: why other
/// tensors are not read, of which none may be a parameter.
///
/// # Errors
/// [`ImportError`]: there is no encoder, or one that this program does not compute.
pub(crate) fn find(
    tensors: Tensors,
    whole: &BTreeSet<String>,
    unreadable: &Unreadable,
    key: Option<&str>,
) -> Result<Named, ImportError> {
    let (tensors, wrappers, file_names) = unwrapped(tensors);
    let nothing = |tensors: &Tensors| match foreign::found(tensors.keys()) {
        found if found.is_empty() => ImportError::Nothing(holds::summary(tensors)),
        found => ImportError::Foreign(found),
    };
    let mut encoders = encoders(&tensors);
    if encoders.is_empty() {
        return Err(match unreadable.keys().find(|name| Dialect::of_anchor(name).is_some()) {
            Some(name) => unread(name, unreadable),
            None => nothing(&tensors),
        });
    }
    let place = match key {
        None => 0,
        Some(key) => {
            let wanted = key.trim_end_matches('.');
            let is = |prefix: &str| prefix.starts_with(wanted) || prefix.split('.').any(|segment| segment == wanted);
            let found = encoders.iter().position(|(_, prefix)| !wanted.is_empty() && is(prefix));
            let present = || encoders.iter().map(|(_, prefix)| prefix.clone()).collect();
            found.ok_or_else(|| ImportError::Key { key: key.into(), present: present() })?
        }
    };
    let (dialect, prefix) = encoders.remove(place);
    let others = encoders.into_iter().map(|(_, prefix)| prefix).collect();
    let decoder_prefix = decoder_prefix(&tensors, &prefix);
    let mut named = Named { dialect: Some(dialect), prefix, wrappers, others, ..Named::default() };
    named.decoder = decoder_prefix.is_some();
    for name in unreadable.keys() {
        if matches!(named.place(&without_wrappers(name), decoder_prefix.as_deref()), Place::Parameter(_)) {
            return Err(unread(name, unreadable));
        }
    }
    let mut unknown = Vec::new();
    let mut masks = Vec::new();
    for (name, tensor) in tensors {
        let own = file_names.get(&name).cloned().unwrap_or_else(|| name.clone());
        match named.place(&name, decoder_prefix.as_deref()) {
            // Two things have this name: see below.
            Place::Parameter(official) if official == "mask_token" => masks.push((name, own, tensor)),
            Place::Parameter(official) => {
                if let Some(other) = named.spelled.insert(official.clone(), own.clone()) {
                    return Err(ImportError::Twice { name: own, other });
                }
                named.tensors.insert(official, tensor);
            }
            Place::Head(official) => {
                named.head.insert(official, tensor);
                named.head_names.insert(own.clone());
                named.left_out.push(own);
            }
            Place::Nowhere => named.left_out.push(own),
            Place::Unknown => unknown.push(own),
        }
    }
    // A word of an encoder's own, as wide as its tokens, serves training alone; a decoder's is as wide as the
    // decoder.
    let width = named.tensors.get("decoder_embed.weight").and_then(|tensor| tensor.shape.first().copied());
    masks.sort_by_key(|(name, ..)| !decoder_prefix.as_ref().is_some_and(|prefix| name.starts_with(prefix.as_str())));
    for (_, own, tensor) in masks {
        let fits = named.decoder && tensor.shape.last().copied() == width;
        if fits && !named.tensors.contains_key("mask_token") {
            named.spelled.insert("mask_token".into(), own);
            named.tensors.insert("mask_token".into(), tensor);
        } else {
            named.left_out.push(own);
        }
    }
    let mut found = foreign::found(&unknown);
    found.extend(foreign::shaped(&named.tensors).map(|(what, official)| (what, named.in_file(official))));
    if !found.is_empty() {
        return Err(ImportError::Foreign(found));
    }
    let (counts, unknown): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|name| whole.contains(name));
    named.left_out.extend(counts);
    if let Some(name) = unknown.into_iter().next() {
        return Err(ImportError::Unknown(name));
    }
    if !named.tensors.contains_key("cls_token") {
        return Err(ImportError::NoClassToken(named.in_file("cls_token")));
    }
    let mut found = std::mem::take(&mut named.tensors);
    join::qkv(&mut found, |name| named.in_file(name))?;
    join::axes(&mut found);
    named.without_bias = join::biases(&mut found);
    named.tensors = found;
    named.left_out.sort();
    Ok(named)
}

/// What a name is for.
enum Place {
    /// A parameter, by the reference's name.
    Parameter(String),
    /// Part of a classifier's last layer.
    Head(String),
    /// Nothing of the model's features depends on it.
    Nowhere,
    /// It may matter.
    Unknown,
}

impl Named {
    fn place(&self, name: &str, decoder_prefix: Option<&str>) -> Place {
        let prefix = self.prefix.as_str();
        // A copy's names may begin as those of this encoder, which may have no prefix.
        let first = |prefix: &str| prefix.split_once('.').map_or(String::new(), |(first, _)| format!("{first}."));
        let copy = |other: &String| {
            let begins = if first(other) == first(prefix) { other.clone() } else { first(other) };
            let own = name.starts_with(prefix) && prefix.len() >= begins.len();
            name.starts_with(&begins) && !own
        };
        if self.others.iter().any(copy) {
            return Place::Nowhere;
        }
        let own = decoder_prefix.is_some_and(|decoder| !prefix.starts_with(decoder));
        // The longer prefix first: one may lie within the other.
        let decoder = || {
            let rest = name.strip_prefix(decoder_prefix?)?;
            tables::decoder(rest, own)
        };
        if own && let Some(official) = decoder() {
            return Place::Parameter(official);
        }
        if let Some(rest) = name.strip_prefix(prefix) {
            let official = tables::encoder(rest).or_else(decoder);
            if let Some(official) = official {
                return Place::Parameter(official);
            }
            if let Some(head) = tables::classifier(rest) {
                return Place::Head(head);
            }
            let first = rest.split('.').next().unwrap_or(rest);
            return if LEFT_OUT.contains(&first) { Place::Nowhere } else { Place::Unknown };
        }
        if let Some(official) = decoder() {
            return Place::Parameter(official);
        }
        // Beside the encoder: a classifier's `head`, a training's projectors, losses and copies.
        let parent = &prefix[..prefix[..prefix.len().saturating_sub(1)].rfind('.').map_or(0, |dot| dot + 1)];
        if let Some(head) = name.strip_prefix(parent).and_then(tables::classifier) {
            return Place::Head(head);
        }
        if name.rsplit('.').next() == Some("mask_token") {
            return Place::Parameter("mask_token".into());
        }
        Place::Nowhere
    }
}

/// Names without wrappers' segments, the wrappers, and the file's names by the new ones.
fn unwrapped(tensors: Tensors) -> (Tensors, Vec<&'static str>, BTreeMap<String, String>) {
    let (mut out, mut names, mut seen) = (Tensors::new(), BTreeMap::new(), BTreeSet::new());
    for (name, tensor) in tensors {
        let bare = without_wrappers(&name);
        // A wrapper's copy of what is there too keeps its own name.
        if bare == name || bare.is_empty() || out.contains_key(&bare) {
            out.insert(name, tensor);
        } else {
            seen.extend(WRAPPERS.iter().filter(|wrapper| name.split('.').any(|segment| segment == **wrapper)));
            names.insert(bare.clone(), name);
            out.insert(bare, tensor);
        }
    }
    (out, seen.into_iter().copied().collect(), names)
}

fn without_wrappers(name: &str) -> String {
    let segments: Vec<&str> = name.split('.').filter(|segment| !WRAPPERS.contains(segment)).collect();
    segments.join(".")
}

fn unread(name: &str, unreadable: &Unreadable) -> ImportError {
    ImportError::Unread { name: name.into(), reason: unreadable.get(name).cloned().unwrap_or_default() }
}

/// Encoders by whose names they have and their prefix, the most useful first.
fn encoders(tensors: &Tensors) -> Vec<(Dialect, String)> {
    let begins = tensors.keys().filter_map(|name| Dialect::of_anchor(name));
    let mut found: Vec<(Dialect, String)> = begins.map(|(dialect, prefix)| (dialect, prefix.to_owned())).collect();
    let is = |segment: &str, word: &str| {
        let rest = segment.strip_prefix(word).or_else(|| segment.strip_suffix(word));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.ends_with('_'))
    };
    let rank = |prefix: &str| {
        let told = |words: &&[&str]| prefix.split('.').any(|segment| words.iter().any(|word| is(segment, word)));
        COPIES.iter().position(told).map_or(0, |place| place + 1)
    };
    found.sort_by_key(|(_, prefix)| (rank(prefix), prefix.len()));
    found
}

/// What stands in front of the decoder's names, if there is one: of several the one most like the encoder's.
fn decoder_prefix(tensors: &Tensors, encoder: &str) -> Option<String> {
    let common = |prefix: &&str| prefix.bytes().zip(encoder.bytes()).take_while(|(a, b)| a == b).count();
    let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(ANCHOR_OF_DECODER));
    let prefixes = prefixes.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'));
    prefixes.max_by_key(common).map(str::to_owned)
}
