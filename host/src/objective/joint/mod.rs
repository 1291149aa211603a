//! A joint-embedding term beside the reconstruction. Two or more views are made of an image, only the visible patches
//! of each are encoded, and a [`projector`] maps each view's feature to where the views are compared: those
//! of one image are to be alike, and those of different images are not all to become the same.
//!
//! What keeps them apart is either a distribution ([`sigreg()`]) or the other images of the batch ([`infonce()`]).
//! Both do without a second encoder, a queue or stopped gradients.

pub mod config;
pub mod infonce;
pub mod projector;
pub mod sigreg;
pub mod spread;

pub use config::{JointConfig, JointKind};

use burn::tensor::Tensor;
use common::mask;
use infonce::infonce;
use sigreg::{Slices, sigreg};

/// The joint term of one batch, `[1]`. `z`: the projections of all views, `[views * B, K]`, the first views of all
/// images first; `seed` and `sample` choose what is random in it. `None` if the recipe has no joint term.
pub fn joint(config: &JointConfig, z: Tensor<2>, seed: u64, sample: u64) -> Option<Tensor<1>> {
    let [rows, width] = z.dims();
    let z = z.reshape([config.views, rows / config.views, width]);
    match config.kind {
        JointKind::None => None,
        JointKind::Infonce => Some(infonce(z, config.temperature)),
        JointKind::Sigreg => {
            let slices = Slices::draw(width, config.slices, &mut mask::generator(seed, sample));
            Some(sigreg(z, &slices, config.sigreg_share))
        }
    }
}

#[cfg(test)]
mod tests;
