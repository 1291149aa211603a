//! The patches that every contender encodes.

use super::EncodeError;
use crate::data::synthetic;
use anyhow::Context as _;
use common::model::EncoderSpec;
use edge::select::{Select, choose};

/// A number of visible patches of the built-in test image.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// `[V]`, ascending.
    pub ids_keep: Vec<u32>,
    /// `[V, P]`, as a camera gives them.
    pub pixels: Vec<u8>,
    /// `[V, P]`, normalised.
    pub patches: Vec<f32>,
}

impl Input {
    /// `visible` random patches; the same in every call.
    ///
    /// # Errors
    /// If the image has fewer patches.
    pub fn new(spec: &EncoderSpec, visible: usize) -> anyhow::Result<Self> {
        let grid = spec.grid()?;
        let all = grid.patches();
        if !(1..=all).contains(&visible) {
            return Err(EncodeError::Visible { visible, patches: all }.into());
        }
        let (height, width, channels) = (grid.height(), grid.width(), grid.channels());
        let rgb = synthetic::image(0, 0, height, width).data;
        let mut pixels = Vec::with_capacity(height * width * channels);
        for pixel in rgb.as_chunks::<3>().0 {
            let [r, g, b] = *pixel;
            pixels.extend([r, g, b, 255].iter().take(channels));
        }
        let (mut noise, mut ids) = (vec![0.0; all], vec![0; all]);
        // Half a patch more than `visible`, so that rounding cannot lose one.
        let keep = ((visible as f64 + 0.5) / all as f64).min(1.0);
        let count = choose(Select::Random, &grid, keep, (0, 0), &mut noise, &mut ids);
        ids.truncate(count);
        anyhow::ensure!(count == visible, "{count} patches were chosen where {visible} were asked for");
        let mut input = Self { ids_keep: ids, pixels: vec![0; visible * grid.patch_dim()], patches: Vec::new() };
        for (id, patch) in input.ids_keep.iter().zip(input.pixels.chunks_exact_mut(grid.patch_dim())) {
            grid.extract(&pixels, *id as usize, patch).context("the test image does not fit the model")?;
        }
        input.patches = vec![0.0; input.pixels.len()];
        spec.pixels.normalize_image(&input.pixels, channels, &mut input.patches);
        Ok(input)
    }
}
