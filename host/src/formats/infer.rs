//! The geometry of a model from the shapes of its parameters, and from what files and people say about the rest.

use super::{
    error::ImportError,
    finding::{Assumption, Finding, Heads, Provenance},
    search::Search,
    source::Facts,
};
use crate::{
    model::{DecoderKind, MaeConfig},
    preset::Preset,
    tensors::{Tensors, mismatch::MismatchError},
};
use common::{model::PositionKind, normalize::PixelStats};
use serde_json::Value as Json;

/// What a person may say about a checkpoint; it goes before what files say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// Attention heads of the encoder.
    pub heads: Option<usize>,
    /// Attention heads of the decoder.
    pub decoder_heads: Option<usize>,
    /// Whether the target is normalised patches.
    pub norm_pix_loss: Option<bool>,
    /// Height and width of the images that the file's model was trained with, pixels.
    pub trained_size: Option<(usize, usize)>,
    /// Height and width of the images that the model is to be used with, pixels.
    pub image_size: Option<(usize, usize)>,
    /// Mean and deviation of each channel, `[C]`, in units of pixel value / 255.
    pub pixels: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether the fixed sine-cosine tables take the place of the file's.
    pub fixed_positions: bool,
    /// Names of the classes of a head, `[K]`.
    pub classes: Option<Vec<String>>,
    /// The encoder to take, of several: the name of a dictionary in the file, or a segment in front of names.
    pub key: Option<String>,
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
    /// What nothing tells.
    pub assumptions: Vec<Assumption>,
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

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Finds everything out. `tensors` have the reference's names.
///
/// # Errors
/// `ImportError`: names the first tensor that is missing or misshapen, or the number that nothing tells.
pub fn infer(tensors: &Tensors, facts: &[Facts], given: &Given) -> Result<Inferred, ImportError> {
    let mut search = Search::new(facts);
    let [dim, channels, patch, patch_width] = shape(tensors, "patch_embed.proj.weight")?;
    if patch != patch_width || [dim, channels, patch].contains(&0) {
        let (expected, found) = (vec![dim, channels, patch, patch], vec![dim, channels, patch, patch_width]);
        return Err(MismatchError::Shape { name: "patch_embed.proj.weight".into(), expected, found }.into());
    }
    if channels > 4 {
        return Err(ImportError::Channels(channels));
    }
    let [_, tokens, _] = shape(tensors, "pos_embed")?;
    let (rows, cols) = search.grid(tokens.saturating_sub(1), patch, given.trained_size)?;
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

    let shapes = format!(
        "{}, patches of {patch}x{patch}, {dim} wide, {}",
        counted(channels, "channel"),
        counted(depth, "block")
    );
    search.found("encoder", shapes, SHAPES);
    let decoder_width = decoder.then_some(decoder_dim);
    let heads = search.heads(Heads::Encoder, given.heads, dim, decoder_width)?;
    let mut decoder_heads = paper.model.decoder_heads;
    let mut norm_pix_loss = given.norm_pix_loss.unwrap_or(paper.model.norm_pix_loss);
    if decoder {
        search.found("decoder", format!("{decoder_dim} wide, {}", counted(decoder_depth, "block")), SHAPES);
        decoder_heads = search.heads(Heads::Decoder, given.decoder_heads, decoder_dim, None)?;
        let said = given.norm_pix_loss.map(|flag| (flag, Provenance::Given));
        let said = said.or_else(|| search.fact(&["norm_pix_loss"], Json::as_bool));
        if said.is_none() {
            let taken = format!("{norm_pix_loss}, as in the paper's better models");
            search.assume("norm_pix_loss", taken, String::new());
        }
        let (flag, origin) = said.unwrap_or((norm_pix_loss, "assumed: the paper's".into()));
        norm_pix_loss = search.found("norm_pix_loss", flag, origin);
    }
    let usable = |value: &Json| value.as_f64().filter(|ratio| *ratio > 0.0 && *ratio < 1.0);
    let mask_ratio = search.fact(&["mask_ratio"], usable).map_or(paper.train.mask_ratio, |(ratio, _)| ratio);
    let pixels = search.pixels(channels, given.pixels.as_ref())?;
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
        decoder: DecoderKind::default(),
        mlp_ratio,
        norm_pix_loss,
        // That the description can hold any width; the table's values decide later.
        position: PositionKind::Stored,
    };
    config.validate()?;
    let Search { findings, assumptions, .. } = search;
    Ok(Inferred { config, decoder, mask_ratio, pixels, findings, assumptions })
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
