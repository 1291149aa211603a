//! Attention heads of published models, by the width of their tokens: shapes do not tell how many there are.

use super::finding::Heads;

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
