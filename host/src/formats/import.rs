//! A checkpoint of another program as a model of this one.

use super::{
    error::ImportError,
    finding::{Finding, Provenance},
    huggingface,
    infer::{self, Given, Inferred},
    interpolate, official,
    source::{self, Source},
};
use crate::{
    model::MaeConfig,
    tensors::{NamedTensor, Tensors, mismatch::MismatchError, safetensors::Unreadable},
};
use common::{
    model::{PositionKind, SpecError},
    normalize::PixelStats,
    patch::PatchGrid,
    position::sincos_2d_table,
};

/// A table that differs from the fixed one by no more is the fixed one: computed in f32, it is off by less.
const SAME_TABLE: f32 = 1e-5;

/// A model ready for a run folder.
#[derive(Debug)]
pub struct Imported {
    /// Whose names the file has: `official` (also timm's) or `huggingface`.
    pub names: &'static str,
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
    /// The model's numbers, and where they come from.
    pub findings: Vec<Finding>,
    /// What was changed or left out.
    pub notes: Vec<String>,
}

/// Makes a model of a checkpoint.
///
/// # Errors
/// `ImportError`: names the first tensor that is missing or misshapen, or the number that nothing tells.
pub fn import(source: Source, given: Given) -> Result<Imported, ImportError> {
    let Source { tensors, facts, unreadable, .. } = source;
    let mut tensors = official::unwrapped(tensors);
    let foreign = huggingface::is(&tensors);
    if foreign {
        tensors = huggingface::to_official(tensors)?;
    }
    let changes = official::without_head(&mut tensors);
    let read = || -> Result<Inferred, ImportError> {
        let inferred = infer::infer(&tensors, &facts, given)?;
        official::check(&tensors, &inferred.config, inferred.decoder)?;
        Ok(inferred)
    };
    let in_file = |error| if foreign { in_file_names(error) } else { error };
    let inferred = read().map_err(|error| unread(in_file(error), &unreadable))?;
    let Inferred { mut config, decoder, mask_ratio, pixels, mut findings } = inferred;
    let mut notes = Vec::new();
    if changes.norm_from_fc_norm {
        notes.push(
            "the file norms after pooling (`fc_norm`) and has no last norm: `fc_norm` norms the tokens instead"
                .into(),
        );
    }
    if !changes.left_out.is_empty() {
        notes.push(format!("left out, a classifier's: {}", changes.left_out.join(", ")));
    }
    let origin = positions(&mut tensors, &mut config, given.image_size)?;
    let value = match config.position {
        PositionKind::SinCos2d => "fixed sine-cosine",
        PositionKind::Stored => "stored table",
    };
    findings.push(Finding { name: "position", value: value.into(), origin });
    let names = if foreign { "huggingface" } else { "official" };
    Ok(Imported { names, config, pixels, mask_ratio, tensors, decoder, findings, notes })
}

/// The true reason for a tensor that is missing because it could not be read.
fn unread(error: ImportError, unreadable: &Unreadable) -> ImportError {
    match &error {
        ImportError::Mismatch(MismatchError::Missing(name)) => match source::unread(unreadable, name) {
            Some((name, reason)) => ImportError::Unread { name: name.into(), reason: reason.into() },
            None => error,
        },
        _ => error,
    }
}

/// An error that names a tensor as the file does.
fn in_file_names(error: ImportError) -> ImportError {
    let translate = |name: String| match huggingface::names(&name).as_slice() {
        [] => name,
        names => names.join("`, `"),
    };
    match error {
        ImportError::Mismatch(mismatch) => mismatch.renamed(translate).into(),
        other => other,
    }
}

/// Drops tables that are the fixed ones, interpolates for another image size, and says what was done.
fn positions(tensors: &mut Tensors, config: &mut MaeConfig, side: Option<usize>) -> Result<Provenance, ImportError> {
    let grid = config.grid().map_err(SpecError::from)?;
    let tables = [("pos_embed", config.dim), ("decoder_pos_embed", config.decoder_dim)];
    if let Some(side) = side.filter(|side| (*side, *side) != (grid.height(), grid.width())) {
        let to = PatchGrid::new(side, side, config.patch_size, config.channels);
        let to = to.map_err(|reason| ImportError::ImageSize { side, reason })?;
        for (name, dim) in tables {
            if let Some(table) = tensors.get_mut(name) {
                table.data =
                    interpolate::with_cls(&table.data, dim, (grid.rows(), grid.cols()), (to.rows(), to.cols()));
                table.shape = vec![1, 1 + to.patches(), dim];
            }
        }
        (config.image_height, config.image_width) = (side, side);
        config.validate()?;
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

fn is_fixed(table: &NamedTensor, grid: &PatchGrid, dim: usize) -> bool {
    let fixed = sincos_2d_table(grid, dim, true);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME_TABLE;
    dim.is_multiple_of(4) && fixed.len() == table.data.len() && table.data.iter().zip(&fixed).all(near)
}
