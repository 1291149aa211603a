//! The encoder with a linear head, for fine-tuning (MAE §4, appendix A.1).

use super::{
    Encoder, MaeConfig,
    init::Init,
    layers::{Block, BranchFactors, LayerNorm, Linear},
    ops::Ops,
};
use crate::stream::Stream;
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use common::{mask, patch::PatchError};
use serde::{Deserialize, Serialize};

/// What the head sees of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadPool {
    /// The class token after the final norm.
    Cls,
    /// The mean of the patch tokens, then a norm: the reference's `fc_norm`, which takes the place of the final norm
    /// and here keeps its name.
    Mean,
}

/// Which parameters are trained (§4.3, "Partial Fine-tuning").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trained {
    /// All.
    All,
    /// The head alone.
    Head,
    /// Head, final norm, and the MLP of the last block with its norm: "half a block".
    HalfBlock,
    /// Head, final norm, and this many last blocks.
    Blocks(usize),
}

/// A ViT that classifies.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The encoder; its final norm comes after the mean with [`HeadPool::Mean`].
    pub encoder: Encoder,
    /// `[D, K]`.
    pub head: Linear,
    #[module(skip)]
    pool: HeadPool,
    #[module(skip)]
    trained: Trained,
}

/// One pass.
#[derive(Debug, Clone)]
pub struct Output {
    /// What the head sees, `[B, D]`.
    pub features: Tensor<2>,
    /// `[B, K]`.
    pub logits: Tensor<2>,
}

impl Classifier {
    /// A freshly initialised classifier; the same `seed` gives the same weights on every device.
    ///
    /// # Errors
    /// If the image cannot be cut into patches.
    pub fn new(
        config: &MaeConfig,
        classes: usize,
        pool: HeadPool,
        seed: u64,
        device: &Device,
    ) -> Result<Self, PatchError> {
        let init = &mut Init::new(seed);
        let encoder = Encoder::new(config, init, device)?;
        Ok(Self { encoder, head: init.head(config.dim, classes, device), pool, trained: Trained::All })
    }

    /// The same model with a fresh final norm, as the mean of tokens that were never normed needs.
    #[must_use]
    pub fn with_fresh_norm(mut self) -> Self {
        let norm = &self.encoder.norm;
        let fresh = LayerNorm::new(norm.weight.val().dims()[0], &norm.weight.val().device());
        self.encoder.norm = LayerNorm { ops: norm.ops, ..fresh };
        self
    }

    /// The same model with other operations.
    #[must_use]
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.encoder.blocks.iter_mut().for_each(|block| block.set_ops(ops));
        self.encoder.norm.ops = ops;
        self
    }

    /// The same model of which only some parameters are trained; no gradient is computed for the rest.
    #[must_use]
    pub fn with_trained(self, trained: Trained) -> Self {
        if trained == Trained::All {
            return Self { trained, ..self };
        }
        let Self { encoder, head, pool, .. } = self;
        let first = trained.first_block(encoder.blocks.len());
        let Encoder { blocks, norm, .. } = encoder.clone();
        let mut encoder = encoder.no_grad();
        let blocks = blocks.into_iter().enumerate().map(|(index, block)| match trained {
            _ if index < first => block.no_grad(),
            Trained::HalfBlock => Block { norm1: block.norm1.no_grad(), attn: block.attn.no_grad(), ..block },
            _ => block,
        });
        encoder.blocks = blocks.collect();
        if trained != Trained::Head {
            encoder.norm = norm;
        }
        Self { encoder, head, pool, trained }
    }

    /// The same model whose stored table of positions, if it has one, is trained, too.
    #[must_use]
    pub fn with_trained_positions(self) -> Self {
        Self { encoder: self.encoder.with_trained_positions(), ..self }
    }

    /// Classifies a batch. `visible`: normalised pixels of the patches to see, `[B * V, P]`; `positions`: their
    /// numbers, `[B * V]`; `factors`: one a block, for stochastic depth, or none at all.
    pub fn forward(
        &self,
        visible: Tensor<2>,
        positions: Tensor<1, Int>,
        batch: usize,
        factors: &[Option<BranchFactors>],
    ) -> Output {
        let blocks = &self.encoder.blocks;
        let first = match self.trained {
            Trained::All => 0,
            trained => trained.first_block(blocks.len()),
        };
        let mut x = self.encoder.embed(visible, positions, batch);
        for (index, block) in blocks.iter().enumerate() {
            // What is frozen sees no noise either.
            let factors = factors.get(index).filter(|_| index >= first).and_then(Option::as_ref);
            x = block.forward_dropped(x, batch, factors);
        }
        let [rows, dim] = x.dims();
        let tokens = rows / batch;
        let x = x.reshape([batch, tokens, dim]);
        let x = match self.pool {
            HeadPool::Cls => x.narrow(1, 0, 1),
            HeadPool::Mean => x.narrow(1, 1, tokens - 1).mean_dim(1),
        };
        let features = self.encoder.norm.forward(x.reshape([batch, dim]));
        Output { logits: self.head.forward(features.clone()), features }
    }
}

impl Trained {
    /// The last `blocks` of `depth`: 0, 0.5, or a whole number.
    #[must_use]
    pub fn last_blocks(blocks: f64, depth: usize) -> Option<Self> {
        match blocks {
            0.0 => Some(Self::Head),
            0.5 => Some(Self::HalfBlock),
            _ if blocks.fract() == 0.0 && (1.0..=depth as f64).contains(&blocks) => {
                Some(Self::Blocks(blocks as usize))
            }
            _ => None,
        }
    }

    /// The first block with a trained parameter.
    fn first_block(self, depth: usize) -> usize {
        match self {
            Self::All => 0,
            Self::Head => depth,
            Self::HalfBlock => depth.saturating_sub(1),
            Self::Blocks(count) => depth.saturating_sub(count),
        }
    }
}

/// The factors of every block of `depth` at one step: a branch is dropped with a probability that rises linearly from
/// 0 in the first block to `rate` in the last, and else scaled up so that its mean stays.
#[must_use]
pub fn drop_path(depth: usize, batch: usize, rate: f64, seed: u64, step: u64) -> Vec<Option<BranchFactors>> {
    let rng = &mut mask::generator(Stream::DropPath.seed(seed), step);
    let last = depth.saturating_sub(1).max(1) as f64;
    let block = |index: usize| {
        let dropped = rate * index as f64 / last;
        let mut draw = || -> Vec<f32> {
            let keep = 1.0 - dropped;
            let one = |_| if f64::from(mask::uniform(rng)) < keep { (1.0 / keep) as f32 } else { 0.0 };
            (0..batch).map(one).collect()
        };
        (dropped > 0.0).then(|| BranchFactors { attention: draw(), mlp: draw() })
    };
    (0..depth).map(block).collect()
}

/// Place of the largest value; the lowest of equals.
pub fn argmax(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (place, value) in values.enumerate() {
        if value > best.1 {
            best = (place, value);
        }
    }
    best.0
}

/// Share of places at which two lists of classes agree.
#[must_use]
pub fn accuracy(found: &[usize], expected: &[usize]) -> f64 {
    let right = found.iter().zip(expected).filter(|(a, b)| a == b).count();
    right as f64 / expected.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_path_rises_with_depth_and_keeps_the_mean() {
        let factors = drop_path(5, 20_000, 0.4, 1, 2);
        assert_eq!(factors[0], None);
        for (index, factors) in factors.iter().enumerate().skip(1) {
            let BranchFactors { attention, mlp } = factors.as_ref().expect("dropped");
            assert_ne!(attention, mlp);
            for branch in [attention, mlp] {
                let dropped = branch.iter().filter(|f| **f == 0.0).count() as f64 / 20_000.0;
                assert!((dropped - 0.1 * index as f64).abs() < 0.02, "{dropped}");
                let mean = branch.iter().map(|f| f64::from(*f)).sum::<f64>() / 20_000.0;
                assert!((mean - 1.0).abs() < 0.02, "{mean}");
            }
        }
        assert!(drop_path(4, 8, 0.0, 1, 2).iter().all(Option::is_none));
        assert!(drop_path(1, 8, 0.5, 1, 2).iter().all(Option::is_none), "the first block is never dropped");
        assert_ne!(drop_path(5, 64, 0.4, 1, 3), drop_path(5, 64, 0.4, 1, 2));
    }

    #[test]
    fn the_trained_part_is_half_a_block_or_whole_ones() {
        assert_eq!(Trained::last_blocks(0.0, 3), Some(Trained::Head));
        assert_eq!(Trained::last_blocks(0.5, 3), Some(Trained::HalfBlock));
        assert_eq!(Trained::last_blocks(3.0, 3), Some(Trained::Blocks(3)));
        for impossible in [4.0, 1.5, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Trained::last_blocks(impossible, 3), None, "{impossible}");
        }
    }
}
