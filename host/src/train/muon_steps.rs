//! Muon's steps of all matrices of a model, side by side: each is a chain of products that are too small to share.

use super::muon::Muon;
use crate::model::weights::Path;
use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Matrices after a step, and their momenta (flat), by their names in the reference.
pub type Stepped = BTreeMap<String, (Tensor<2>, Tensor<1>)>;

/// One matrix before its step.
struct Job {
    name: String,
    lr: f64,
    decay: f32,
    tensor: Tensor<2>,
    gradient: Tensor<2>,
    momentum: Option<Tensor<1>>,
}

/// The learning rate and the weight decay of a parameter by its name in the reference and its number of axes.
type Rates<'a> = &'a dyn Fn(&str, usize) -> (f64, f32);

struct Collect<'a> {
    rates: Rates<'a>,
    gradients: &'a mut GradientsParams,
    momenta: &'a mut BTreeMap<String, Tensor<1>>,
    path: Path,
    jobs: Vec<Job>,
}

/// The steps of all matrices of `module` that Muon takes and that have a gradient; takes gradients and momenta.
pub fn steps<M: Module>(
    muon: &Muon,
    module: &M,
    rates: Rates<'_>,
    gradients: &mut GradientsParams,
    momenta: &mut BTreeMap<String, Tensor<1>>,
) -> Stepped {
    let mut collect = Collect { rates, gradients, momenta, path: Path::default(), jobs: Vec::new() };
    module.visit(&mut collect);
    let step = |Job { name, lr, decay, tensor, gradient, momentum }: Job| {
        let stepped = muon.step(&name, (lr, decay), tensor, gradient, momentum);
        (name, stepped)
    };
    // Another device has an order of its own.
    let cpu = collect.jobs.first().is_some_and(|job| job.tensor.device() == Device::flex());
    match cpu {
        true => collect.jobs.into_par_iter().with_max_len(1).map(step).collect(),
        false => collect.jobs.into_iter().map(step).collect(),
    }
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.official_name();
        if !Muon::takes(&name, D) {
            return;
        }
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        let tensor = param.val().inner();
        let dims = tensor.dims();
        let (count, shape) = (dims.iter().product::<usize>(), [dims[0], dims[D - 1]]);
        let (lr, decay) = (self.rates)(&name, D);
        self.jobs.push(Job {
            lr,
            decay,
            tensor: tensor.reshape(shape),
            gradient: gradient.reshape(shape),
            momentum: self.momenta.remove(&name).filter(|momentum| momentum.dims() == [count]),
            name,
        });
    }
}
