//! Which patches the encoder sees.
//!
//! Every kind of mask is a *noise* for each patch: small noise is kept, large noise is removed (MAE §3,
//! "simple implementation"). [`argsort`] turns noise into `ids_shuffle`, whose first `len_keep` entries are
//! `ids_keep`; [`invert`] gives `ids_restore`. In a 0/1 mask, 0 is kept and 1 is removed.

use crate::patch::PatchGrid;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Sampling strategies: of MAE §4.1, figure 4, and noise of three colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// Uniformly random patches are removed.
    #[cfg_attr(feature = "clap", value(help = "Uniformly random patches"))]
    Random,
    /// Large random rectangles are removed (BEiT's block-wise sampling).
    #[cfg_attr(feature = "clap", value(help = "Large rectangles"))]
    Block,
    /// A regular lattice is kept: at ratio 0.75, one patch of every 2x2.
    #[cfg_attr(feature = "clap", value(help = "A regular lattice is kept"))]
    Grid,
    /// Low-pass noise decides: large smooth regions are removed (ColorMAE, Hinojosa et al. 2024, arXiv 2407.13036).
    #[cfg_attr(feature = "clap", value(help = "Low-pass noise: large smooth regions are removed (ColorMAE)"))]
    Red,
    /// Band-pass noise decides: regions of about two patches are removed, evenly spread (ColorMAE's best).
    #[cfg_attr(
        feature = "clap",
        value(help = "Band-pass noise: regions of about two patches are removed (ColorMAE)")
    )]
    Green,
    /// High-pass noise decides: visible patches avoid one another (ColorMAE).
    #[cfg_attr(feature = "clap", value(help = "High-pass noise: visible patches are spread evenly (ColorMAE)"))]
    Blue,
}

impl MaskKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Random, Self::Block, Self::Grid, Self::Red, Self::Green, Self::Blue];

    /// Its name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Block => "block",
            Self::Grid => "grid",
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

/// Patches kept when training at `mask_ratio`: `trunc(patches * (1 - mask_ratio))` in f64, as the reference does.
#[must_use]
pub fn len_keep(patches: usize, mask_ratio: f64) -> usize {
    (patches as f64 * (1.0 - mask_ratio)) as usize
}

/// Patches kept when encoding with `--keep`: `max(1, floor(patches * keep))`, at most all of them.
#[must_use]
pub fn len_visible(patches: usize, keep: f64) -> usize {
    ((patches as f64 * keep) as usize).clamp(1, patches.max(1))
}

/// The portable generator behind every random mask: ChaCha8 with `seed`, on its own `stream` (a sample's number).
#[must_use]
pub fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// The next number of `rng`, uniform in `[0, 1)` with 24 bits.
pub fn uniform(rng: &mut impl Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Draws the noise of one image, so that its `len_keep` smallest entries are the visible patches.
/// `noise`: `[L]`; entries past the grid's patches are left alone.
pub fn draw_noise(kind: MaskKind, grid: &PatchGrid, len_keep: usize, rng: &mut impl Rng, noise: &mut [f32]) {
    let noise = &mut noise[..grid.patches()];
    noise.iter_mut().for_each(|value| *value = uniform(rng));
    match kind {
        MaskKind::Random => {}
        MaskKind::Block => push_out_blocks(grid, noise.len().saturating_sub(len_keep), rng, noise),
        MaskKind::Grid => lattice_noise(grid, noise),
        MaskKind::Red => filter_noise(grid, &[(1.0, 1.5)], rng, noise),
        MaskKind::Green => filter_noise(grid, &[(1.0, 0.7), (-1.0, 1.5)], rng, noise),
        MaskKind::Blue => filter_noise(grid, &[(1.0, 0.0), (-1.0, 0.7)], rng, noise),
    }
}

/// `ids_shuffle` (`[L]`): patch numbers by rising noise (`[L]`); equal noise keeps the patches' order.
pub fn argsort(noise: &[f32], ids_shuffle: &mut [u32]) {
    (0..).zip(ids_shuffle.iter_mut()).for_each(|(index, id)| *id = index);
    ids_shuffle.sort_unstable_by(|a, b| noise[*a as usize].total_cmp(&noise[*b as usize]).then(a.cmp(b)));
}

/// `ids_restore` (`[L]`): the place of each patch in `ids_shuffle` (`[L]`), its inverse permutation.
pub fn invert(ids_shuffle: &[u32], ids_restore: &mut [u32]) {
    for (place, id) in (0..).zip(ids_shuffle) {
        ids_restore[*id as usize] = place;
    }
}

/// Adds 1 to the noise of exactly `remove` patches, in rectangles of aspect 0.3 to 1/0.3 while they fit.
fn push_out_blocks(grid: &PatchGrid, remove: usize, rng: &mut impl Rng, noise: &mut [f32]) {
    const SMALLEST: usize = 4;
    let (rows, cols) = (grid.rows(), grid.cols());
    let (mut removed, mut misses) = (0, 0);
    while remove - removed >= SMALLEST && misses < 32 {
        let rest = (remove - removed) as f32;
        let area = SMALLEST as f32 + uniform(rng) * (rest - SMALLEST as f32);
        let log_aspect = (uniform(rng) * 2.0 - 1.0) * libm::logf(1.0 / 0.3);
        let aspect = libm::expf(log_aspect);
        let height = libm::roundf(libm::sqrtf(area * aspect)) as usize;
        let width = libm::roundf(libm::sqrtf(area / aspect)) as usize;
        if height == 0 || width == 0 || height > rows || width > cols {
            misses += 1;
            continue;
        }
        let top = (uniform(rng) * (rows - height + 1) as f32) as usize;
        let left = (uniform(rng) * (cols - width + 1) as f32) as usize;
        let cells = (top..top + height).flat_map(|row| (left..left + width).map(move |col| row * cols + col));
        let fresh = cells.clone().filter(|cell| noise[*cell] < 1.0).count();
        if fresh == 0 || fresh > remove - removed {
            misses += 1;
            continue;
        }
        cells.for_each(|cell| {
            if noise[cell] < 1.0 {
                noise[cell] += 1.0;
            }
        });
        removed += fresh;
        misses = 0;
    }
    // What no rectangle could supply comes from the rims of the removed area, or from anywhere on an empty grid.
    while removed < remove {
        let rim = |cell: usize, noise: &[f32]| {
            let (row, col) = (cell / cols, cell % cols);
            (row > 0 && noise[cell - cols] >= 1.0)
                || (row + 1 < rows && noise[cell + cols] >= 1.0)
                || (col > 0 && noise[cell - 1] >= 1.0)
                || (col + 1 < cols && noise[cell + 1] >= 1.0)
        };
        let next = (0..noise.len())
            .filter(|cell| noise[*cell] < 1.0)
            .max_by(|a, b| rim(*a, noise).cmp(&rim(*b, noise)).then(noise[*a].total_cmp(&noise[*b])));
        let Some(cell) = next else { return };
        noise[cell] += 1.0;
        removed += 1;
    }
}

/// Noise by rank in an ordered dither (Bayer) matrix: any prefix of its order is spread evenly, and the first
/// quarter is one patch of every 2x2.
fn lattice_noise(grid: &PatchGrid, noise: &mut [f32]) {
    let side = grid.rows().max(grid.cols()).next_power_of_two();
    let bits = side.trailing_zeros();
    // Past 4096 patches a side the ranks exceed f32's 24 bits; ties then fall back on the patch's number.
    let cells = side as f32 * side as f32;
    for (index, value) in noise.iter_mut().enumerate() {
        let (row, col) = (index / grid.cols(), index % grid.cols());
        let mut rank = 0_u64;
        for bit in 0..bits {
            // Within 2x2 the order is (0,0) (1,1) (0,1) (1,0); odd or even weighs most, so bits are reversed.
            let (r, c) = (row >> bit & 1, col >> bit & 1);
            rank |= ([[0, 2], [3, 1]][r][c]) << (2 * (bits - 1 - bit));
        }
        *value = rank as f32 / cells;
    }
}

/// White noise on an endless plane, filtered by a sum of Gaussians of `(weight, sigma)`, sigma in patches (0: as it
/// is). Endless, so that patches at the rim are as likely as others to be removed.
fn filter_noise(grid: &PatchGrid, filter: &[(f32, f32)], rng: &mut impl Rng, noise: &mut [f32]) {
    /// Past three sigma of the widest filter nothing counts.
    const REACH: i32 = 5;
    let seed = u64::from(rng.next_u32()) << 32 | u64::from(rng.next_u32());
    let weight = |row: i32, col: i32| -> f32 {
        let distance = (row * row + col * col) as f32;
        let gaussian = |sigma: f32| match sigma {
            0.0 => f32::from(u8::from(distance == 0.0)),
            _ => libm::expf(-distance / (2.0 * sigma * sigma)) / (core::f32::consts::TAU * sigma * sigma),
        };
        filter.iter().map(|(weight, sigma)| weight * gaussian(*sigma)).sum()
    };
    let mut weights = [[0.0_f32; 2 * REACH as usize + 1]; 2 * REACH as usize + 1];
    for (row, line) in (-REACH..).zip(&mut weights) {
        (-REACH..).zip(line).for_each(|(col, value)| *value = weight(row, col));
    }
    for (index, value) in noise.iter_mut().enumerate() {
        let (row, col) = ((index / grid.cols()) as i32, (index % grid.cols()) as i32);
        let lines = (row - REACH..).zip(&weights);
        *value = lines
            .flat_map(|(row, line)| (col - REACH..).zip(line).map(move |(col, w)| w * white(seed, row, col)))
            .sum();
    }
}

/// Uniform in `[-0.5, 0.5)`, by the finaliser of SplitMix64 over the place.
fn white(seed: u64, row: i32, col: i32) -> f32 {
    let place = u64::from(row.cast_unsigned()) << 32 | u64::from(col.cast_unsigned());
    let mut z = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 * (1.0 / (1 << 24) as f32) - 0.5
}

#[cfg(feature = "alloc")]
pub use owned::Mask;

#[cfg(feature = "alloc")]
mod owned {
    extern crate alloc;
    use super::*;
    use alloc::{vec, vec::Vec};

    /// One image's mask with its index tables.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Mask {
        /// Visible patches, `[V]`.
        pub ids_keep: Vec<u32>,
        /// Place of each patch in the shuffled order, `[L]`.
        pub ids_restore: Vec<u32>,
    }

    impl Mask {
        /// The mask of `noise` (`[L]`) that keeps its `len_keep` smallest entries.
        #[must_use]
        pub fn from_noise(noise: &[f32], len_keep: usize) -> Self {
            let mut ids_keep = vec![0; noise.len()];
            argsort(noise, &mut ids_keep);
            let mut ids_restore = vec![0; noise.len()];
            invert(&ids_keep, &mut ids_restore);
            ids_keep.truncate(len_keep);
            Self { ids_keep, ids_restore }
        }

        /// Draws a mask that keeps `len_keep` patches of `grid`.
        #[must_use]
        pub fn draw(kind: MaskKind, grid: &PatchGrid, len_keep: usize, rng: &mut impl Rng) -> Self {
            let mut noise = vec![0.0; grid.patches()];
            draw_noise(kind, grid, len_keep, rng, &mut noise);
            Self::from_noise(&noise, len_keep)
        }

        /// The 0/1 mask, `[L]`: 0 kept, 1 removed.
        #[must_use]
        pub fn removed(&self) -> Vec<u8> {
            self.ids_restore.iter().map(|place| u8::from(*place as usize >= self.ids_keep.len())).collect()
        }
    }
}
