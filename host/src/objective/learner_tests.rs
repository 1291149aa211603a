//! Mask tokens in the encoder, which a learner may have.

use super::*;
use crate::{
    model::weights,
    objective::{Objective, seam::SeamConfig},
};
use burn::tensor::TensorData;
use common::mask::{MaskKind, generator, uniform};

fn config() -> MaeConfig {
    crate::preset::Preset::parse(
        "description = \"small\"\n[model]\nimage_height = 16\nimage_width = 16\npatch_size = 4\ndim = 32\ndepth = 2\n\
         heads = 2\ndecoder_dim = 16\ndecoder_depth = 1\ndecoder_heads = 2\n[train]\nepochs = 1\nbatch_size = 2\n\
         warmup_epochs = 0\n",
        "small",
    )
    .expect("preset")
    .model
}

#[test]
fn a_mask_token_in_the_encoder_stands_for_a_removed_patch() {
    let (config, device, batch) = (config(), Device::flex(), 2);
    let grid = config.grid().expect("grid");
    let (length, values) = (grid.patches(), grid.patch_dim());
    let mut model = Learner::new(&config, true, &JointConfig::default(), 3, &device).expect("model");
    // A black patch is projected to the bias: with this as the token it makes no difference whether it is removed.
    let bias = model.mae.encoder.patch_embed.proj.bias.val();
    model.encoder_mask_token = Some(Param::from_tensor(bias.reshape([1, 1, config.dim])));
    let masks = MaskBatch::draw(MaskKind::Random, &grid, length / 4, 7, 0, batch);
    let rng = &mut generator(5, 0);
    let removed: Vec<u8> = masks.masks().iter().flat_map(|mask| mask.removed()).collect();
    let patches: Vec<f32> = removed
        .iter()
        .flat_map(|r| (0..values).map(|_| uniform(rng) * f32::from(1 - r)).collect::<Vec<_>>())
        .collect();
    let patches = Tensor::<3>::from_data(TensorData::new(patches, [batch, length, values]), &device);
    let found = model.encode(patches.clone(), &masks);
    assert_eq!(found.dims(), [batch * (1 + length), config.dim]);
    let all: Vec<i32> = (0..batch).flat_map(|_| 0..length as i32).collect();
    let positions = Tensor::from_data(TensorData::new(all, [batch * length]), &device);
    let expected = model.mae.encoder.forward(patches.reshape([batch * length, values]), positions, batch);
    let worst: f32 = (found.clone() - expected).abs().max().into_scalar();
    assert!(worst < 1e-5, "{worst}");
    assert_eq!(model.predict(found, &masks).dims(), [batch, length, values]);
}

#[test]
fn the_token_of_the_place_where_masks_join_is_the_one_that_learns() {
    let (config, device) = (config(), Device::flex().autodiff());
    let grid = config.grid().expect("grid");
    let masks = MaskBatch::draw(MaskKind::Random, &grid, 4, 7, 0, 2);
    let patches = Tensor::<3>::ones([2, grid.patches(), grid.patch_dim()], &device);
    let plain = Learner::new(&config, false, &JointConfig::default(), 3, &device).expect("model");
    let variant = Learner::new(&config, true, &JointConfig::default(), 3, &device).expect("model");
    let objective = Objective::new(true, SeamConfig::default(), grid);
    let loss = |learner: &Learner| {
        let pred = learner.predict_removed(learner.encode(patches.clone(), &masks), &masks);
        objective.loss(pred, patches.clone(), &masks)
    };
    let gradients = loss(&plain).backward();
    assert!(plain.mae.mask_token.val().grad(&gradients).is_some());
    let gradients = loss(&variant).backward();
    let token = variant.encoder_mask_token.as_ref().expect("a token");
    assert!(token.val().grad(&gradients).is_some() && variant.mae.mask_token.val().grad(&gradients).is_none());
    // All else begins as it does without it.
    let tensors = |model: &Learner| weights::to_tensors(model, &grid).expect("tensors");
    let (before, mut after) = (tensors(&plain), tensors(&variant));
    assert!(after.remove("encoder_mask_token").is_some());
    assert_eq!(before, after);
    assert!(!crate::tensors::is_encoder("encoder_mask_token"));
}
