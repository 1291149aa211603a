//! Attention heads of published models, by the width of their tokens: shapes do not tell how many there are.

use super::{finding::Heads, source::Facts};

/// Width of a token, and what is published with it: heads, and whose they are.
const ENCODERS: [(usize, &[(usize, &str)]); 8] = [
    (192, &[(3, "ViT-Tiny, DeiT"), (6, "TinyMIM"), (12, "MAE-Lite, TinyMIM*")]),
    (384, &[(6, "ViT-Small, DeiT, DINO"), (12, "MoCo v3")]),
    (512, &[(8, "ViT-Medium")]),
    (768, &[(12, "ViT-B"), (8, "timm's first ViT-Small, of 8 blocks")]),
    (1024, &[(16, "ViT-L")]),
    (1152, &[(16, "SoViT-400m")]),
    (1280, &[(16, "ViT-H")]),
    (1408, &[(16, "ViT-g")]),
];
/// As [`ENCODERS`], of decoders.
const DECODERS: [(usize, &[(usize, &str)]); 2] = [(96, &[(3, "MAE-Lite")]), (512, &[(16, "the paper")])];

/// Twelve heads, if the names are those of MoCo v3 and the width that of its ViT-Small, which has six everywhere
/// else. `prefixes`: what stands in front of the names of the encoders in the file.
#[must_use]
pub(super) fn told_by_names<'a>(prefixes: impl Iterator<Item = &'a str> + Clone, dim: usize) -> Option<Facts> {
    let has = |segment: &str| prefixes.clone().any(|prefix| prefix.split('.').any(|part| part == segment));
    let moco = dim == 384 && has("base_encoder") && has("momentum_encoder");
    moco.then(|| Facts {
        origin: "the names, which are MoCo v3's".into(),
        values: [("num_heads".to_owned(), 12.into())].into_iter().collect(),
    })
}

/// What is published of this width: heads, and whose they are; the usual first.
#[must_use]
pub(super) fn of(heads: Heads, dim: usize) -> &'static [(usize, &'static str)] {
    let table = match heads {
        Heads::Encoder => &ENCODERS[..],
        Heads::Decoder => &DECODERS[..],
    };
    table.iter().find(|(width, _)| *width == dim).map(|(_, known)| *known).unwrap_or_default()
}

/// What is published of this width, as a person reads it.
#[must_use]
pub(super) fn listed(heads: Heads, dim: usize) -> String {
    let known = of(heads, dim);
    if known.is_empty() {
        return format!("no model {dim} wide is known here");
    }
    let each: Vec<String> = known.iter().map(|(count, whose)| format!("{count} ({whose})")).collect();
    format!("published with this width: {}", each.join(", "))
}
