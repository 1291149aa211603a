//! The trained model of a run, and what it makes of one image under one mask.

use crate::{
    device::precision::Precision,
    model::MaskBatch,
    objective::{Learner, target::FittedTarget},
    pictures::fill,
    run::{RunConfig, RunFolder},
};
use anyhow::Context as _;
use burn::tensor::{Device, Tensor, TensorData};
use common::{
    mask::{Mask, MaskKind, len_keep},
    model::Pooling,
    normalize::PatchStats,
    patch::PatchGrid,
};

/// A trained model that is looked at.
#[derive(Debug)]
pub struct Explored {
    /// The run's configuration.
    pub config: RunConfig,
    pub grid: PatchGrid,
    /// Which feature stands for an image.
    pub pooling: Pooling,
    /// Epochs that the checkpoint was trained.
    pub epochs: usize,
    model: Learner,
    target: FittedTarget,
}

/// What one pass over one image gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Every patch as it is predicted, the visible ones too, `[H, W, C]`.
    pub predicted: Vec<u8>,
    /// Mean squared error of every patch in the units of the training's loss, `[L]`.
    pub errors: Vec<f32>,
    /// How much each head of the class token takes from itself and the visible patches, `[H, 1 + V]`.
    pub attention: Vec<f32>,
    /// The feature over the visible patches, `[D]`.
    pub feature: Vec<f32>,
}

impl Explored {
    /// Loads the newest checkpoint of a run on the CPU, to compute in `precision`. `pooling`: which feature, the
    /// model's if `None`.
    ///
    /// # Errors
    /// If there is none, or a damaged one.
    pub fn load(
        run: &RunFolder,
        config: RunConfig,
        pooling: Option<Pooling>,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let checkpoint = run.load()?;
        let (model, target) = fill::with_tensors(run, &config, &checkpoint.model)?;
        let model = model.with_ops(precision.ops(&Device::flex()));
        let spec = config.encoder_spec(Default::default());
        let (pooling, grid) = (spec.pooling_for(pooling), config.model.grid()?);
        Ok(Self { config, grid, pooling, epochs: checkpoint.state.epoch, model, target })
    }

    /// The mask that `host reconstruct` draws for its first image; `None` unless `ratio` lies in 0..1 and keeps a
    /// patch.
    #[must_use]
    pub fn drawn(&self, kind: MaskKind, ratio: f64, seed: u64) -> Option<MaskBatch> {
        if !(0.0..1.0).contains(&ratio) {
            return None;
        }
        let kept = len_keep(self.grid.patches(), ratio);
        (kept > 0).then(|| MaskBatch::draw(kind, &self.grid, kept, seed, 0, 1))
    }

    /// The mask that removes these patches; `None` if one of them is none, or no patch is left.
    #[must_use]
    pub fn painted(&self, removed: &[u32]) -> Option<MaskBatch> {
        let mut noise = vec![0.0; self.grid.patches()];
        for id in removed {
            *noise.get_mut(*id as usize)? = 1.0;
        }
        let kept = noise.iter().filter(|noise| **noise == 0.0).count();
        (kept > 0).then(|| MaskBatch::from_masks(vec![Mask::from_noise(&noise, kept)]))?
    }

    /// Shows the model one image. `view`: `[H, W, C]`; `block`: the encoder block whose attention is read.
    ///
    /// # Errors
    /// If the view does not fit, there is no such block, or the device cannot give the results back.
    pub fn look(&self, view: &[u8], masks: &MaskBatch, block: usize) -> anyhow::Result<Look> {
        let (grid, config) = (&self.grid, &self.config);
        let patches = fill::patchify(std::slice::from_ref(&view.to_vec()), grid, config)?;
        let shape = [1, grid.patches(), grid.patch_dim()];
        let input =
            Tensor::from_data(TensorData::new(patches.clone(), shape), &self.model.mae.mask_token.val().device());
        let reading = self.model.mae.read(input, masks, block).context("there is no such block")?;
        let pred = reading.pred.try_into_vec_as::<f32>().map_err(|e| anyhow::anyhow!("{e}"))?;
        let attention = reading.attention.try_into_vec_as::<f32>().map_err(|e| anyhow::anyhow!("{e}"))?;
        let features = self.model.mae.encoder.features(reading.tokens, 1, self.pooling)?;
        let features = features.into_iter().next().context("the encoder gave nothing")?;
        let all = vec![1; grid.patches()];
        Ok(Look {
            predicted: fill::paste(view, &patches, &pred, &all, (config, &self.target))?,
            errors: self.errors(&patches, &pred),
            attention,
            feature: crate::evaluate::features::pooled(features, self.pooling),
        })
    }

    /// Features of whole images, `[D]` each.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn features(&self, views: &[Vec<u8>]) -> anyhow::Result<Vec<Vec<f32>>> {
        let grid = &self.grid;
        let patches = fill::patchify(views, grid, &self.config)?;
        let shape = [views.len(), grid.patches(), grid.patch_dim()];
        let input = Tensor::from_data(TensorData::new(patches, shape), &self.model.mae.mask_token.val().device());
        let masks = MaskBatch::draw(MaskKind::Grid, grid, grid.patches(), 0, 0, views.len());
        let (visible, positions) = crate::model::mae::random_masking(input, &masks);
        let tokens = self.model.mae.encoder.forward_blocks(visible, positions, views.len());
        let features = self.model.mae.encoder.features(tokens, views.len(), self.pooling)?;
        Ok(features.into_iter().map(|f| crate::evaluate::features::pooled(f, self.pooling)).collect())
    }

    /// As [`Mae::forward_loss`](crate::model::Mae::forward_loss), patch by patch, against what the run predicts.
    fn errors(&self, patches: &[f32], pred: &[f32]) -> Vec<f32> {
        let mut aim = self.target.apply(patches, &self.grid).unwrap_or_else(|| patches.to_vec());
        let values = self.grid.patch_dim();
        let squares = |aim: &[f32], pred: &[f32]| aim.iter().zip(pred).map(|(a, p)| (p - a).powi(2)).sum::<f32>();
        let patches = aim.chunks_exact_mut(values).zip(pred.chunks_exact(values));
        let errors = patches.map(|(aim, pred)| {
            if self.config.model.norm_pix_loss {
                PatchStats::of(aim).normalize(aim);
            }
            squares(aim, pred) / values as f32
        });
        errors.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        data::synthetic,
        model::{Mae, weights},
        run::TrainState,
    };

    /// A run with random weights of a tiny model, `[16, 24, 3]` in patches of 4.
    pub(in crate::explore) fn tiny_run(folder: &std::path::Path, norm_pix_loss: bool) -> (RunFolder, RunConfig) {
        let text = format!(
            "format = 1\nhost_version = \"test\"\ndevice = \"CPU\"\ndata = \"synthetic\"\n\
             [pixels]\nmean = [0.5, 0.5, 0.5, 0.0]\nstd = [0.25, 0.25, 0.25, 1.0]\n\
             [model]\nimage_height = 16\nimage_width = 24\nchannels = 3\npatch_size = 4\ndim = 16\ndepth = 2\nheads = 2\n\
             decoder_dim = 16\ndecoder_depth = 1\ndecoder_heads = 2\nmlp_ratio = 2.0\nnorm_pix_loss = {norm_pix_loss}\n\
             [train]\nepochs = 1\nbatch_size = 8\nblr = 0.001\nmin_lr = 0.0\nwarmup_epochs = 0.0\nweight_decay = 0.05\n\
             mask = \"random\"\nmask_ratio = 0.75\nsynthetic_images = 40\nseed = 3\n"
        );
        let config: RunConfig = toml::from_str(&text).expect("a configuration");
        let run = RunFolder::create(folder, &config).expect("a run folder");
        let grid = config.model.grid().expect("grid");
        let model = Mae::new(&config.model, 5, &Device::flex()).expect("a model");
        let tensors = weights::to_tensors(&model, &grid).expect("tensors");
        let state = TrainState { epoch: 4, ..TrainState::default() };
        run.training().save(&tensors, &Default::default(), state, 1).expect("a checkpoint");
        (run, config)
    }

    fn explored(norm_pix_loss: bool) -> Explored {
        let folder = tempfile::tempdir().expect("folder");
        let (run, config) = tiny_run(folder.path(), norm_pix_loss);
        Explored::load(&run, config, None, Precision::Fp32).expect("a model")
    }

    fn view() -> Vec<u8> {
        synthetic::image(1, 2, 16, 24).data
    }

    #[test]
    fn it_shows_what_reconstruct_draws_and_the_loss_of_training() {
        for norm_pix_loss in [true, false] {
            let explored = explored(norm_pix_loss);
            assert_eq!(explored.epochs, 4);
            let masks = explored.drawn(MaskKind::Block, 0.5, 3).unwrap();
            let look = explored.look(&view(), &masks, 1).unwrap();
            let parts = (&explored.config, &explored.target);
            let filled = fill::fill(&explored.model, parts, &[view()], &masks).unwrap().remove(0);
            let removed = masks.masks()[0].removed();
            let (mut a, mut b) = (vec![0; 48], vec![0; 48]);
            for (index, removed) in removed.iter().enumerate() {
                let expected = if *removed == 1 { look.predicted.clone() } else { view() };
                explored.grid.extract(&filled, index, &mut a).unwrap();
                explored.grid.extract(&expected, index, &mut b).unwrap();
                assert_eq!(a, b, "patch {index}");
            }
            let patches = fill::patchify(&[view()], &explored.grid, &explored.config).unwrap();
            let input = Tensor::from_data(TensorData::new(patches, [1, 24, 48]), &Device::flex());
            let loss = explored.model.mae.forward(input, &masks).loss.into_scalar::<f32>();
            let errors = look.errors.iter().zip(&removed).filter(|(_, removed)| **removed == 1).map(|(e, _)| e);
            assert!((errors.sum::<f32>() / 12.0 - loss).abs() < 1e-5 * loss);
            assert_eq!(look.attention.len(), 2 * (1 + 12));
            for head in look.attention.chunks_exact(13) {
                assert!((head.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_mask_that_removes_nothing_gives_the_whole_image_s_feature() {
        let explored = explored(true);
        let masks = explored.painted(&[]).unwrap();
        let look = explored.look(&view(), &masks, 0).unwrap();
        let whole = explored.features(&[view(), synthetic::image(1, 3, 16, 24).data]).unwrap();
        assert!(look.feature.iter().zip(&whole[0]).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(whole[0] != whole[1]);
    }

    #[test]
    fn masks_that_leave_nothing_are_none() {
        let explored = explored(true);
        let patches = explored.grid.patches() as u32;
        assert!(explored.painted(&(0..patches).collect::<Vec<_>>()).is_none());
        assert!(explored.painted(&[patches]).is_none() && explored.painted(&[u32::MAX]).is_none());
        assert_eq!(explored.painted(&[1, 1, 23]).unwrap().masks()[0].removed().iter().sum::<u8>(), 2);
        for ratio in [1.0, -0.1, f64::NAN, f64::INFINITY, 0.99] {
            assert!(explored.drawn(MaskKind::Random, ratio, 0).is_none(), "{ratio}");
        }
        assert_eq!(explored.drawn(MaskKind::Red, 0.0, 0).unwrap().removed_count(), 0);
        let masks = explored.drawn(MaskKind::Random, 0.75, 0).unwrap();
        assert!(explored.look(&view(), &masks, 2).is_err() && explored.look(&[0; 5], &masks, 0).is_err());
    }
}
