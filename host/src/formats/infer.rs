//! The geometry of a model from the shapes of its parameters, and from what files and people say about the rest.

use super::{
    error::ImportError,
    finding::{Finding, Heads, Provenance},
    source::Facts,
    timm,
};
use crate::{
    model::MaeConfig,
    preset::Preset,
    tensors::{Tensors, mismatch::MismatchError},
};
use common::{model::PositionKind, normalize::PixelStats};
use serde_json::Value as Json;

/// What a person may say about a checkpoint; it goes before what files say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    /// Attention heads of the encoder.
    pub heads: Option<usize>,
    /// Attention heads of the decoder.
    pub decoder_heads: Option<usize>,
    /// Whether the target is normalised patches.
    pub norm_pix_loss: Option<bool>,
    /// Side of the images that the model is to be used with, pixels.
    pub image_size: Option<usize>,
}

/// A model's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// Sizes of the model, at the image size of the file.
    pub config: MaeConfig,
    /// Whether the file has a decoder.
    pub decoder: bool,
    /// Share of patches that were removed in training.
    pub mask_ratio: f64,
    /// Mean and deviation of each channel.
    pub pixels: PixelStats,
    /// What the shapes do not tell, and how it was found.
    pub findings: Vec<Finding>,
}

const SHAPES: &str = "the shapes";

/// A shape of `N` axes.
fn shape<const N: usize>(tensors: &Tensors, name: &str) -> Result<[usize; N], MismatchError> {
    let found = &tensors.get(name).ok_or_else(|| MismatchError::Missing(name.into()))?.shape;
    found[..].try_into().map_err(|_| MismatchError::Axes { name: name.into(), axes: N, found: found.clone() })
}

/// Blocks of a prefix: one more than the highest number.
fn depth(tensors: &Tensors, prefix: &str) -> Result<usize, MismatchError> {
    let numbers = tensors.keys().filter_map(|name| {
        let (number, _) = name.strip_prefix(prefix)?.strip_prefix('.')?.split_once('.')?;
        number.parse::<u16>().ok()
    });
    let highest = numbers.max().ok_or_else(|| MismatchError::Missing(format!("{prefix}.0.norm1.weight")))?;
    Ok(usize::from(highest) + 1)
}

/// The multiple of `dim` whose whole part is `hidden`, in the f32 of a model's description.
fn ratio(dim: usize, hidden: usize) -> f64 {
    let ratio = (hidden as f64 / dim as f64) as f32;
    let ratio = if (dim as f64 * f64::from(ratio)) < hidden as f64 { ratio.next_up() } else { ratio };
    f64::from(ratio)
}

struct Search<'a> {
    facts: &'a [Facts],
    findings: Vec<Finding>,
}

impl Search<'_> {
    /// A value by any of its names, at the top or among timm's `model_args` and `pretrained_cfg`.
    fn fact<T>(&self, names: &[&str], read: impl Fn(&Json) -> Option<T>) -> Option<(T, Provenance)> {
        for facts in self.facts {
            let nested =
                ["model_args", "pretrained_cfg"].iter().filter_map(|key| facts.values.get(*key)?.as_object());
            for object in nested.chain([&facts.values]) {
                for name in names {
                    if let Some(value) = object.get(*name).and_then(&read) {
                        return Some((value, format!("{name} in {}", facts.origin).into()));
                    }
                }
            }
        }
        None
    }

    fn found<T: ToString>(&mut self, name: &'static str, value: T, origin: impl Into<Provenance>) -> T {
        self.findings.push(Finding { name, value: value.to_string(), origin: origin.into() });
        value
    }

    /// Attention heads: given, said, or those of the paper for this width.
    fn heads(&mut self, heads: Heads, given: Option<usize>, dim: usize) -> Result<usize, ImportError> {
        let encoder = heads == Heads::Encoder;
        let count = |value: &Json| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let by_name = |value: &Json| timm::heads_of(value.as_str()?, dim);
        let width = heads.paper_width();
        let (count, origin) = given
            .map(|heads| (heads, Provenance::Given))
            .or_else(|| self.fact(&heads.names(), count))
            .or_else(|| self.fact(&["model", "architecture"], by_name).filter(|_| encoder))
            .or_else(|| (encoder && dim == 1280).then(|| (16, "the paper's ViT-H".into())))
            .or_else(|| {
                let origin = || format!("heads {width} wide, as in the paper").into();
                dim.is_multiple_of(width).then(|| (dim / width, origin()))
            })
            .ok_or(ImportError::Heads { heads, dim })?;
        if count == 0 || !dim.is_multiple_of(count) {
            return Err(ImportError::Indivisible { heads, count, dim, origin });
        }
        Ok(self.found(heads.name(), count, origin))
    }
}

/// Rows and columns of the patch grid, from the number of positions.
fn grid(search: &Search<'_>, patches: usize, patch: usize) -> Result<(usize, usize, Provenance), ImportError> {
    let side = patches.isqrt();
    if side * side == patches {
        return Ok((side, side, SHAPES.into()));
    }
    let number = |value: &Json| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let pair = |value: &Json| match value.as_array()?.as_slice() {
        [.., height, width] => Some((number(height)?, number(width)?)),
        _ => None,
    };
    let sides = search.fact(&["img_size", "image_size", "input_size"], pair).or_else(|| {
        let (height, origin) = search.fact(&["image_height"], number)?;
        let (width, _) = search.fact(&["image_width"], number)?;
        Some(((height, width), origin))
    });
    sides
        .map(|((height, width), origin)| (height / patch, width / patch, origin))
        .filter(|(rows, cols, _)| rows.checked_mul(*cols) == Some(patches))
        .ok_or(ImportError::NotSquare(patches))
}

/// Finds everything out. `tensors` have the reference's names.
///
/// # Errors
/// `ImportError`: names the first tensor that is missing or misshapen, or the number that nothing tells.
pub fn infer(tensors: &Tensors, facts: &[Facts], given: Given) -> Result<Inferred, ImportError> {
    let mut search = Search { facts, findings: vec![] };
    let [dim, channels, patch, patch_width] = shape(tensors, "patch_embed.proj.weight")?;
    if patch != patch_width || [dim, channels, patch].contains(&0) {
        let (expected, found) = (vec![dim, channels, patch, patch], vec![dim, channels, patch, patch_width]);
        return Err(MismatchError::Shape { name: "patch_embed.proj.weight".into(), expected, found }.into());
    }
    let [_, tokens, _] = shape(tensors, "pos_embed")?;
    let (rows, cols, origin) = grid(&search, tokens.saturating_sub(1), patch)?;
    let depth_of = |prefix: &str| depth(tensors, prefix);
    let depth = depth_of("blocks")?;
    let [hidden, _] = shape(tensors, "blocks.0.mlp.fc1.weight")?;
    let mlp_ratio = ratio(dim, hidden);

    // Presets are the paper's models; what no file tells is theirs.
    let paper = Preset::named("base-224")?;
    let decoder = tensors.keys().any(|name| name.starts_with("decoder_") || name == "mask_token");
    let (decoder_dim, decoder_depth, decoder_hidden) = match decoder {
        true => {
            let [width, _] = shape(tensors, "decoder_embed.weight")?;
            let [hidden, _] = shape(tensors, "decoder_blocks.0.mlp.fc1.weight")?;
            (width, depth_of("decoder_blocks")?, Some(hidden))
        }
        false => (paper.model.decoder_dim, paper.model.decoder_depth, None),
    };
    if decoder_hidden.is_some_and(|hidden| hidden != (decoder_dim as f64 * mlp_ratio) as usize) {
        let expected = vec![(decoder_dim as f64 * mlp_ratio) as usize, decoder_dim];
        let found = vec![decoder_hidden.unwrap_or_default(), decoder_dim];
        return Err(MismatchError::Shape { name: "decoder_blocks.0.mlp.fc1.weight".into(), expected, found }.into());
    }
    check_operations(&mut search)?;

    search.found("image", format!("{}x{}", rows * patch, cols * patch), origin);
    let shapes = format!("{channels} channels, patches of {patch}x{patch}, {dim} wide, {depth} blocks");
    search.found("encoder", shapes, SHAPES);
    let heads = search.heads(Heads::Encoder, given.heads, dim)?;
    let mut decoder_heads = paper.model.decoder_heads;
    let mut norm_pix_loss = given.norm_pix_loss.unwrap_or(paper.model.norm_pix_loss);
    if decoder {
        search.found("decoder", format!("{decoder_dim} wide, {decoder_depth} blocks"), SHAPES);
        decoder_heads = search.heads(Heads::Decoder, given.decoder_heads, decoder_dim)?;
        let said = given.norm_pix_loss.map(|flag| (flag, Provenance::Given));
        let said = said.or_else(|| search.fact(&["norm_pix_loss"], Json::as_bool));
        let (flag, origin) = said.unwrap_or((norm_pix_loss, "the paper's".into()));
        norm_pix_loss = search.found("norm_pix_loss", flag, origin);
    }
    let usable = |value: &Json| value.as_f64().filter(|ratio| *ratio > 0.0 && *ratio < 1.0);
    let mask_ratio = search.fact(&["mask_ratio"], usable).map_or(paper.train.mask_ratio, |(ratio, _)| ratio);
    let pixels = pixels(&mut search, channels);
    let config = MaeConfig {
        image_height: rows * patch,
        image_width: cols * patch,
        channels,
        patch_size: patch,
        dim,
        depth,
        heads,
        decoder_dim,
        decoder_depth,
        decoder_heads,
        mlp_ratio,
        norm_pix_loss,
        // That the description can hold any width; the table's values decide later.
        position: PositionKind::Stored,
    };
    config.validate()?;
    Ok(Inferred { config, decoder, mask_ratio, pixels, findings: search.findings })
}

/// Refuses models whose parameters have the same shapes but which compute something else.
fn check_operations(search: &mut Search<'_>) -> Result<(), ImportError> {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    if let Some((value, origin)) = search.fact(&["hidden_act", "act_layer"], text)
        && value != "gelu"
    {
        return Err(ImportError::Operation { what: format!("activation {value}"), origin, known: "gelu".into() });
    }
    let (known, number) = (crate::model::layers::NORM_EPS, |value: &Json| value.as_f64());
    if let Some((epsilon, origin)) = search.fact(&["layer_norm_eps"], number) {
        // Hugging Face's published MAEs say 1e-12, though they were trained with 1e-6.
        if epsilon > 1e-5 {
            let (what, known) = (format!("LayerNorm's epsilon {epsilon:e}"), format!("{known:e}"));
            return Err(ImportError::Operation { what, origin, known });
        }
        if epsilon != known {
            let origin = format!("this program's; {origin} is {epsilon:e}");
            search.found("norm_eps", format!("{known:e}"), origin);
        }
    }
    Ok(())
}

/// Mean and deviation of pixels: said by a file, else ImageNet's for RGB.
fn pixels(search: &mut Search<'_>, channels: usize) -> PixelStats {
    let values = |value: &Json| -> Option<Vec<f32>> {
        let values: Option<Vec<f32>> = value.as_array()?.iter().map(|v| Some(v.as_f64()? as f32)).collect();
        values.filter(|values| values.len() == channels && channels <= 4 && values.iter().all(|v| v.is_finite()))
    };
    let positive = |value: &Json| values(value).filter(|values| values.iter().all(|v| *v > 0.0));
    let mean = search.fact(&["mean", "image_mean"], values);
    let std = search.fact(&["std", "image_std"], positive);
    let (pixels, origin) = match (mean, std) {
        (Some((mean, origin)), Some((std, _))) => {
            let mut pixels = PixelStats { mean: [0.0; 4], std: [1.0; 4] };
            pixels.mean[..channels].copy_from_slice(&mean);
            pixels.std[..channels].copy_from_slice(&std);
            (pixels, origin)
        }
        _ if channels == 3 => (PixelStats::IMAGENET, "ImageNet's, as in the paper".into()),
        _ => (PixelStats::usual(channels), format!("usual for {channels} channels").into()),
    };
    let shown = channels.min(4);
    search.found("pixels", format!("mean {:?}, std {:?}", &pixels.mean[..shown], &pixels.std[..shown]), origin);
    pixels
}
