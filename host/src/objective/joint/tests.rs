//! Joint terms and projector against PyTorch (`tests/python/make_joint.py`, torch 2.15.0), values and gradients.

use super::{projector::Projector, *};
use crate::{
    model::{init::Init, weights},
    tensors::{Tensors, safetensors},
};
use burn::tensor::{Device, TensorData};
use common::patch::PatchGrid;
use std::path::Path;

fn golden() -> Tensors {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/joint.safetensors"));
    safetensors::read(path).expect("golden numbers").0
}

fn upload<const D: usize>(golden: &Tensors, name: &str, device: &Device) -> Tensor<D> {
    let tensor = &golden[name];
    Tensor::from_data(TensorData::new(tensor.data.clone(), tensor.shape.clone()), device)
}

fn near(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 2e-6, "{what}: {worst}");
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("values")
}

#[test]
fn joint_terms_and_their_gradients_equal_pytorchs() {
    let (golden, device) = (golden(), Device::flex().autodiff());
    let slices = Slices::new(golden["directions"].data.clone(), 5);
    for name in ["views2", "views3"] {
        for kind in ["infonce", "sigreg"] {
            let z = upload::<3>(&golden, &format!("{name}.z"), &device).require_grad();
            let loss = match kind {
                "infonce" => infonce(z.clone(), 0.2),
                _ => sigreg(z.clone(), &slices, 0.05),
            };
            let at = format!("{name}.{kind}");
            near(&at, &values(loss.clone().inner()), &golden[&at].data);
            let gradient = z.grad(&loss.backward()).expect("a gradient");
            near(&format!("{at}.grad"), &values(gradient), &golden[&format!("{at}.grad")].data);
        }
    }
}

#[test]
fn the_projector_and_its_gradients_equal_pytorchs() {
    let (golden, device) = (golden(), Device::flex().autodiff());
    let grid = PatchGrid::new(4, 4, 4, 1).expect("grid");
    let config = JointConfig { projector_hidden: 8, projector_dim: 5, ..JointConfig::default() };
    let projector = Projector::new(&config, 4, &mut Init::beside(0), &device);
    let parameters: Tensors = golden
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("projector.")?.to_owned(), tensor.clone())))
        .collect();
    let projector = weights::load_tensors(projector, &parameters, &grid).expect("parameters");
    let features = upload::<2>(&golden, "features", &device).require_grad();
    let z = projector.forward(features.clone(), 2);
    near("projections", &values(z.clone().inner()), &golden["projections"].data);
    let loss = infonce(z.reshape([2, 6, 5]), 0.2);
    near("loss", &values(loss.clone().inner()), &golden["loss"].data);
    let gradients = loss.backward();
    near("features.grad", &values(features.grad(&gradients).expect("gradient")), &golden["features.grad"].data);
    let found = weights::gradients_to_tensors(&projector, &gradients, &grid).expect("gradients");
    assert_eq!(found.len(), 5);
    for (name, tensor) in found {
        near(&name, &tensor.data, &golden[&format!("projector.{name}.grad")].data);
    }
}

#[test]
fn slices_are_unit_vectors_in_all_directions_and_choices_of_the_seed() {
    let draw = |sample| Slices::draw(8, 500, &mut mask::generator(3, sample));
    let slices = &draw(0);
    assert_eq!(*slices, draw(0));
    assert_ne!(*slices, draw(1));
    let columns = |i: usize| (0..8).map(move |row| slices.values()[row * 500 + i]);
    let mut mean = [0.0; 8];
    for i in 0..500 {
        assert!((columns(i).map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
        mean.iter_mut().zip(columns(i)).for_each(|(mean, v)| *mean += v / 500.0);
    }
    assert!(mean.iter().all(|v: &f32| v.abs() < 0.06), "{mean:?}");
}

#[test]
fn a_gaussian_satisfies_sigreg_and_a_point_does_not() {
    let device = Device::flex();
    let slices = Slices::draw(8, 64, &mut mask::generator(3, 0));
    let statistic = |z: &[f32]| {
        let view = Tensor::<3>::from_data(TensorData::new(z.to_vec(), [1, z.len() / 8, 8]), &device);
        sigreg(view, &slices, 1.0).into_scalar::<f32>()
    };
    let normal = Slices::draw(512, 8, &mut mask::generator(4, 0));
    // Columns of length 1 in 512 dimensions: their values are nearly normal, with a variance of 1/512.
    let gaussian: Vec<f32> = normal.values().iter().map(|v| v * 512.0_f32.sqrt()).collect();
    let (gaussian, point) = (statistic(&gaussian), statistic(&[0.0; 512 * 8]));
    assert!(gaussian < 3.0 && point > 100.0, "{gaussian} {point}");
}

#[test]
fn none_has_no_term() {
    let z = Tensor::<2>::ones([4, 3], &Device::flex());
    assert!(joint(&JointConfig::default(), z.clone(), 0, 0).is_none());
    for kind in [JointKind::Infonce, JointKind::Sigreg] {
        let config = JointConfig { kind, ..JointConfig::default() };
        let term = |sample| joint(&config, z.clone(), 1, sample).map(|loss| loss.into_scalar::<f32>());
        assert!(term(0).is_some_and(f32::is_finite));
        assert_eq!(term(0), term(0));
    }
}
