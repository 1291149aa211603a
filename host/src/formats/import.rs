//! A checkpoint of another program as a model of this one.

use super::{
    classifier::{self, Classifier, Reading},
    error::ImportError,
    finding::{Assumption, Finding, Provenance},
    infer::{self, Given, Inferred},
    interpolate,
    names::{self, Named},
    official, published,
    search::Search,
    source::Source,
};
use crate::{
    model::MaeConfig,
    tensors::{NamedTensor, Tensors},
};
use common::{
    model::{Pooling, PositionKind, SpecError},
    normalize::PixelStats,
    patch::PatchGrid,
    position::sincos_2d_table,
};

/// A table that differs from the fixed one by no more is the fixed one: computed in f32, it is off by less.
const SAME_TABLE: f32 = 1e-5;

/// A model ready for a run folder.
#[derive(Debug)]
pub struct Imported {
    /// Whose names the file has: `official` (also timm's), `huggingface`, `openmmlab`, `torchvision`.
    pub names: &'static str,
    /// The names with their prefixes and wrappers, as a person reads it.
    pub named: String,
    /// Sizes of the model, with the image size that it is to be used with.
    pub config: MaeConfig,
    /// Mean and deviation of each channel, with which images become the model's input.
    pub pixels: PixelStats,
    /// Share of patches that were removed in training.
    pub mask_ratio: f64,
    /// Parameters by the reference's names; position tables only where they are not the fixed ones.
    pub tensors: Tensors,
    /// Whether there is a decoder.
    pub decoder: bool,
    /// The feature that the model is meant to be read with.
    pub pooling: Pooling,
    /// The last layer of a classifier.
    pub head: Option<Classifier>,
    /// The model's numbers, and where they come from.
    pub findings: Vec<Finding>,
    /// What nothing tells, so that it was guessed.
    pub assumptions: Vec<Assumption>,
    /// What was changed or left out.
    pub notes: Vec<String>,
    /// What a person should do something about.
    pub warnings: Vec<Warning>,
}

/// Whether a stored table of positions holds zeros alone.
#[must_use]
pub fn without_positions(tensors: &Tensors) -> bool {
    let zeros = |name: &&str| tensors.get(*name).is_some_and(|table| table.data.iter().all(|value| *value == 0.0));
    ["pos_embed", "decoder_pos_embed"].iter().any(zeros)
}

/// What is wrong with a model that can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// transformers 5.0 to 5.24 make ViTMAE's tables of zeros and freeze them.
    #[error(
        "the tables of positions hold zeros alone, as transformers 5 makes them for a new ViTMAE and never trains \
         them: the model does not know where a patch is"
    )]
    NoPositions,
}

/// Makes a model of a checkpoint.
///
/// # Errors
/// `ImportError`: names the first tensor that is missing or misshapen, what the model has that is not computed here,
/// or the number that nothing tells.
pub fn import(source: Source, given: &Given) -> Result<Imported, ImportError> {
    let Source { tensors, whole, mut facts, unreadable, group, others, .. } = source;
    if let Some(name) = tensors.keys().find(|name| name.ends_with("decoder_embed_norm.weight")) {
        return Err(ImportError::CrossDecoder(name.clone()));
    }
    let kind = {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Search::new(&facts).fact(&["model_type"], text)
    };
    let of_type = |error: ImportError| {
        let about_names = matches!(
            error,
            ImportError::Foreign(_)
                | ImportError::Nothing(_)
                | ImportError::Unknown(_)
                | ImportError::NoClassToken(_)
                | ImportError::Mismatch(_)
        );
        match &kind {
            Some((kind, Provenance::Found(origin))) if about_names && kind != "vit_mae" => {
                ImportError::OfType { error: Box::new(error), kind: kind.clone(), origin: origin.clone() }
            }
            _ => error,
        }
    };
    // What is no dictionary of the file is a segment of its names.
    let key = given.key.as_deref().filter(|key| *key != group);
    let mut named = names::find(tensors, &whole, &unreadable, key).map_err(of_type)?;
    let mut notes = told(&named, &others);
    let mut tensors = std::mem::take(&mut named.tensors);
    let dim = tensors.get("cls_token").and_then(|token| token.shape.last()).copied().unwrap_or_default();
    let prefixes = named.others.iter().map(String::as_str).chain([named.prefix.as_str()]);
    facts.extend(published::told_by_names(prefixes, dim));
    let search = Search::new(&facts);
    let pooled = classifier::reading(&mut tensors, named.dialect, search.pool(), !named.head.is_empty());
    class_row(&mut tensors, &search, given, &mut notes);
    let read = || -> Result<Inferred, ImportError> {
        let inferred = infer::infer(&tensors, &facts, given)?;
        official::check(&tensors, &inferred.config, inferred.decoder)?;
        Ok(inferred)
    };
    let in_file = |error: ImportError| match error {
        ImportError::Mismatch(mismatch) => mismatch.renamed(|name| named.in_file(&name)).into(),
        other => other,
    };
    let inferred = read().map_err(|error| of_type(in_file(error)))?;
    let Inferred { mut config, decoder, mask_ratio, pixels, mut findings, mut assumptions } = inferred;

    let usual = Reading { pooling: Pooling::Mean, origin: None, assumed: false };
    let mut reading = pooled.clone().unwrap_or_else(|_| usual.clone());
    let mut head = None;
    if !named.head.is_empty() {
        let layer = match (decoder, pooled) {
            (true, _) => {
                reading = usual;
                Err("beside a decoder it is a training's own probe".to_owned())
            }
            (false, Err(reason)) => Err(reason.to_owned()),
            (false, Ok(_)) => classifier::last_layer(&named.head, config.dim),
        };
        match layer {
            Ok((weights, bias)) => {
                let classes = class_names(given, &search, bias.len())?;
                findings.push(Finding {
                    name: "head",
                    value: format!("{} classes", bias.len()),
                    origin: reading.origin.clone().unwrap_or_else(|| "the file".into()),
                });
                head = Some(Classifier { weights, bias, classes });
            }
            Err(reason) => {
                // Without its head the model keeps its norm, and with it the one mean that this norm is for.
                reading.assumed = false;
                if reading.pooling == Pooling::Cls {
                    reading.pooling = Pooling::Mean;
                }
                notes.push(format!("the classifier is left out: {reason}"));
            }
        }
    }
    if let (Some(classes), None) = (&given.classes, &head) {
        return Err(ImportError::Classes { names: classes.len(), classes: 0 });
    }
    if reading.assumed {
        let taken = "the class token, from which the head reads".into();
        assumptions.push(Assumption { name: "pooling", taken, others: "the mean of the patches' tokens".into() });
    }
    if let (Some(origin), true) = (&reading.origin, head.is_some() || reading.pooling == Pooling::MeanNorm) {
        let value = match reading.pooling {
            Pooling::Cls => "cls",
            Pooling::Mean => "mean",
            Pooling::MeanNorm => "mean-norm",
        };
        findings.push(Finding { name: "pooling", value: value.into(), origin: origin.clone() });
    }
    let mut warnings = Vec::new();
    let origin = positions(&mut tensors, &mut config, given, &mut warnings)?;
    let value = match config.position {
        PositionKind::SinCos2d => "fixed sine-cosine",
        PositionKind::Stored => "stored table",
    };
    findings.push(Finding { name: "position", value: value.into(), origin });
    Ok(Imported {
        names: named.dialect.map_or("unknown", names::Dialect::name),
        named: named.described(&group),
        config,
        pixels,
        mask_ratio,
        tensors,
        decoder,
        pooling: reading.pooling,
        head,
        findings,
        assumptions,
        notes,
        warnings,
    })
}

/// What was found beside the model, what is left out, what is added.
fn told(named: &Named, groups: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if !named.without_bias.is_empty() {
        notes.push(format!("no biases, which is zeros: {}", named.without_bias.join(", ")));
    }
    let others = groups.iter().chain(&named.others).map(|place| match place.trim_end_matches('.') {
        "" => "at its top".to_owned(),
        place => format!("`{place}`"),
    });
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        notes.push(format!("{OTHERS}{}", others.join(", ")));
    }
    let rest: Vec<&String> = named.left_out.iter().filter(|name| !named.is_head(name)).collect();
    if !rest.is_empty() {
        notes.push(format!("left out, of no use to the encoder: {}", shortened(&rest)));
    }
    notes
}

/// What begins the note about other encoders in the file; the command line adds its option.
pub const OTHERS: &str = "other encoders are in the file, too: ";
/// So many names are listed.
const LISTED: usize = 8;

/// The names, or how many there are with each beginning.
fn shortened(names: &[&String]) -> String {
    if names.len() <= LISTED {
        return names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    }
    let mut groups = std::collections::BTreeMap::<String, usize>::new();
    for name in names {
        let begins: Vec<&str> = name.split('.').take(2).collect();
        *groups.entry(begins.join(".")).or_default() += 1;
    }
    let more = groups.len().saturating_sub(LISTED);
    let shown = groups.iter().take(LISTED).map(|(begins, count)| format!("{begins} ({count})"));
    let mut shown: Vec<String> = shown.collect();
    shown.extend((more > 0).then(|| format!("{more} other beginnings")));
    shown.join(", ")
}

/// A class token without a row in the table of positions (timm's `no_embed_class`) gets one of zeros, which is exact.
fn class_row(tensors: &mut Tensors, search: &Search<'_>, given: &Given, notes: &mut Vec<String>) {
    let patch = tensors.get("patch_embed.proj.weight").and_then(|tensor| tensor.shape.get(2)).copied();
    for name in ["pos_embed", "decoder_pos_embed"] {
        let Some(table) = tensors.get_mut(name) else { continue };
        let [1, rows, dim] = table.shape[..] else { continue };
        if search.no_row_for_class_token(rows, patch.unwrap_or(1), given.trained_size) {
            table.data.splice(0..0, std::iter::repeat_n(0.0, dim));
            table.shape[1] = rows + 1;
            notes.push(format!("`{name}` has no row for the class token: one of zeros is added"));
        }
    }
}

/// Names of a head's classes: given, the file's, or their numbers.
fn class_names(given: &Given, search: &Search<'_>, count: usize) -> Result<Vec<String>, ImportError> {
    match &given.classes {
        Some(names) if names.len() != count => Err(ImportError::Classes { names: names.len(), classes: count }),
        Some(names) => Ok(names.clone()),
        None => Ok(search.classes(count).unwrap_or_else(|| (0..count).map(|class| class.to_string()).collect())),
    }
}

/// Drops tables that are the fixed ones, interpolates for another image size, and says what was done.
fn positions(
    tensors: &mut Tensors,
    config: &mut MaeConfig,
    given: &Given,
    warnings: &mut Vec<Warning>,
) -> Result<Provenance, ImportError> {
    let grid = config.grid().map_err(SpecError::from)?;
    let tables = [("pos_embed", config.dim), ("decoder_pos_embed", config.decoder_dim)];
    if given.fixed_positions {
        let wide = tables.iter().filter(|(name, _)| tensors.contains_key(*name)).map(|(_, dim)| *dim);
        if let Some(dim) = wide.into_iter().find(|dim| !dim.is_multiple_of(4)) {
            return Err(ImportError::NoFixedTable(dim));
        }
        tables.iter().for_each(|(name, _)| drop(tensors.remove(*name)));
        config.position = PositionKind::SinCos2d;
        if let Some(size) = given.image_size {
            resize(config, size)?;
        }
        return Ok(Provenance::Given);
    }
    if without_positions(tensors) {
        warnings.push(Warning::NoPositions);
    }
    if let Some(size) = given.image_size.filter(|size| *size != (grid.height(), grid.width())) {
        let to = resize(config, size)?;
        for (name, dim) in tables {
            if let Some(table) = tensors.get_mut(name) {
                table.data =
                    interpolate::with_cls(&table.data, dim, (grid.rows(), grid.cols()), (to.rows(), to.cols()));
                table.shape = vec![1, 1 + to.patches(), dim];
            }
        }
        return Ok(format!("interpolated (bicubic) from {}x{} patches", grid.rows(), grid.cols()).into());
    }
    let fixed = |(name, dim): &(&str, usize)| tensors.get(*name).is_none_or(|table| is_fixed(table, &grid, *dim));
    if tables.iter().all(fixed) {
        tables.iter().for_each(|(name, _)| drop(tensors.remove(*name)));
        config.position = PositionKind::SinCos2d;
        return Ok("the file's table is the fixed one".into());
    }
    Ok("the file's table is not the fixed one".into())
}

/// The model for images of `size`, height and width in pixels. Returns the grid of their patches.
fn resize(config: &mut MaeConfig, size: (usize, usize)) -> Result<PatchGrid, ImportError> {
    let to = PatchGrid::new(size.0, size.1, config.patch_size, config.channels);
    let to = to.map_err(|reason| ImportError::ImageSize { size, reason })?;
    (config.image_height, config.image_width) = size;
    config.validate()?;
    Ok(to)
}

fn is_fixed(table: &NamedTensor, grid: &PatchGrid, dim: usize) -> bool {
    let fixed = sincos_2d_table(grid, dim, true);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME_TABLE;
    dim.is_multiple_of(4) && fixed.len() == table.data.len() && table.data.iter().zip(&fixed).all(near)
}
