//! AdamW over a module, with its state kept by parameter name so that it can be saved and found again; on request
//! [`Muon`] for the matrices of its blocks.
//!
//! The arithmetic is burn's [`AdamW`], or on the CPU the fused [`ops::adamw`]; burn's own module optimizer keys its
//! state by identifiers that are new in every process, and restores it on a default device that may not exist.

use super::{
    muon::Muon,
    muon_steps::{self, Stepped},
};
use crate::{
    model::{
        ops::{self, Ops},
        weights::Path,
    },
    tensors::{NamedTensor, Tensors},
};
use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, Optimizer as _},
    tensor::{Device, Gradients, Tensor, TensorData},
};
use kernels::adamw::Step;
use std::{collections::BTreeMap, sync::Arc};

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWHyper {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay, on matrices and tokens; biases and norms have none.
    pub weight_decay: f32,
}

/// PyTorch's epsilon.
const EPSILON: f32 = 1e-8;
/// What Muon's state is called in files.
const MOMENTUM: &str = "momentum";

/// First and second moment, flat, and the number of steps.
#[derive(Debug, Clone)]
struct Moments {
    steps: usize,
    exp_avg: Tensor<1>,
    exp_avg_sq: Tensor<1>,
}

/// How one parameter is updated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Its learning rate as a multiple of the schedule's.
    pub lr_scale: f64,
    /// Whether it has weight decay.
    pub decayed: bool,
}

/// The group of a parameter by its name in the reference and its number of axes.
pub type Groups = Arc<dyn Fn(&str, usize) -> Group + Send + Sync>;

/// The reference's groups for pre-training: weight decay on parameters of two and more axes, tokens included.
fn pretraining_groups() -> Groups {
    Arc::new(|_, rank| Group { lr_scale: 1.0, decayed: rank > 1 })
}

/// AdamW, by default with the groups of pre-training.
#[derive(Clone)]
pub struct Optimizer {
    hyper: AdamWHyper,
    groups: Groups,
    ops: Ops,
    decayed: AdamW,
    plain: AdamW,
    moments: BTreeMap<String, Moments>,
    muon: Option<Muon>,
    /// Of what Muon updates, flat.
    momenta: BTreeMap<String, Tensor<1>>,
}

/// Why a saved optimizer does not fit.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// One half of a parameter's state is missing, or halves differ.
    #[error("the optimizer's state of `{0}` is incomplete")]
    Incomplete(String),
    /// The device could not give the values back.
    #[error("cannot read the optimizer's state of `{0}` from the device: {1}")]
    Read(String, String),
}

impl Optimizer {
    /// An optimizer without state.
    #[must_use]
    pub fn new(hyper: AdamWHyper) -> Self {
        let config = AdamWConfig::new().with_beta_1(hyper.beta1).with_beta_2(hyper.beta2).with_epsilon(EPSILON);
        Self {
            hyper,
            groups: pretraining_groups(),
            ops: Ops::default(),
            decayed: config.clone().with_weight_decay(hyper.weight_decay).build(),
            plain: config.with_weight_decay(0.0).build(),
            moments: BTreeMap::new(),
            muon: None,
            momenta: BTreeMap::new(),
        }
    }

    /// The same optimizer with other operations.
    #[must_use]
    pub fn with_ops(self, ops: Ops) -> Self {
        Self { ops, ..self }
    }

    /// The same optimizer with other groups.
    #[must_use]
    pub fn with_groups(self, groups: Groups) -> Self {
        Self { groups, ..self }
    }

    /// The same optimizer with Muon for the matrices of blocks, or without it.
    #[must_use]
    pub fn with_muon(self, muon: bool) -> Self {
        Self { muon: muon.then(Muon::default), ..self }
    }

    /// One update of every parameter that has a gradient.
    pub fn step<M: Module>(&mut self, module: M, gradients: Gradients, lr: f64) -> M {
        let gradients = GradientsParams::from_grads(gradients, &module);
        self.step_by(module, gradients, lr)
    }

    /// As [`Self::step`], by gradients that have been taken from the graph, for example sums of several batches.
    /// Parameters that nothing else holds are updated in place.
    pub fn step_by<M: Module>(&mut self, module: M, mut gradients: GradientsParams, lr: f64) -> M {
        let muon = match &self.muon {
            Some(muon) => {
                let rates = |name: &str, rank: usize| {
                    let Group { lr_scale, decayed } = (self.groups)(name, rank);
                    (lr * lr_scale, if decayed { self.hyper.weight_decay } else { 0.0 })
                };
                muon_steps::steps(muon, &module, &rates, &mut gradients, &mut self.momenta)
            }
            None => Stepped::new(),
        };
        module.map(&mut Update { optimizer: self, gradients, muon, lr, path: Path::default() })
    }

    /// One parameter and its moments after a step.
    fn update<const D: usize>(
        &self,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        moments: Option<Moments>,
        decayed: bool,
        lr: f64,
    ) -> (Tensor<D>, Option<Moments>) {
        let (shape, AdamWHyper { beta1, beta2, weight_decay }) = (tensor.dims(), self.hyper);
        let (count, device) = (shape.iter().product::<usize>(), tensor.device());
        let zeros = || Tensor::zeros([count], &device);
        let (mut tensor, mut moments) = (tensor, moments);
        if self.ops.fused() {
            let Moments { steps, exp_avg, exp_avg_sq } =
                moments.unwrap_or_else(|| Moments { steps: 0, exp_avg: zeros(), exp_avg_sq: zeros() });
            let weight_decay = if decayed { weight_decay } else { 0.0 };
            let step = Step { lr: lr as f32, beta1, beta2, eps: EPSILON, weight_decay, number: steps + 1 };
            match ops::adamw(step, &gradient, (tensor, exp_avg, exp_avg_sq)) {
                Ok((tensor, exp_avg, exp_avg_sq)) => {
                    return (tensor, Some(Moments { steps: steps + 1, exp_avg, exp_avg_sq }));
                }
                Err(state) => {
                    let (same, exp_avg, exp_avg_sq) = *state;
                    tensor = same;
                    moments = (steps > 0).then_some(Moments { steps, exp_avg, exp_avg_sq });
                }
            }
        }
        let state = moments.map(|m| {
            let (exp_avg, exp_avg_sq) = (m.exp_avg.reshape(shape), m.exp_avg_sq.reshape(shape));
            AdamWState::new(AdaptiveMomentumState::new(m.steps, exp_avg, exp_avg_sq))
        });
        let adamw = if decayed { &self.decayed } else { &self.plain };
        let (tensor, state) = adamw.step(lr, tensor, gradient, state);
        let moments = state.map(|AdamWState { momentum }| Moments {
            steps: momentum.time,
            exp_avg: momentum.moment_1.reshape([count]),
            exp_avg_sq: momentum.moment_2.reshape([count]),
        });
        (tensor, moments)
    }

    /// The state as named tensors: `NAME.exp_avg`, `NAME.exp_avg_sq` (flat), `NAME.step` (one value), or
    /// `NAME.momentum` (flat).
    ///
    /// # Errors
    /// If the device cannot give the values back.
    pub fn to_tensors(&self) -> Result<Tensors, OptimizerError> {
        let mut tensors = Tensors::new();
        let read = |name: &String, tensor: &Tensor<1>| -> Result<NamedTensor, OptimizerError> {
            let data = tensor.try_to_vec_as::<f32>();
            let data = data.map_err(|error| OptimizerError::Read(name.clone(), error.to_string()))?;
            Ok(NamedTensor { shape: vec![data.len()], data })
        };
        for (name, momentum) in &self.momenta {
            tensors.insert(format!("{name}.{MOMENTUM}"), read(name, momentum)?);
        }
        for (name, moments) in &self.moments {
            for (part, tensor) in [("exp_avg", &moments.exp_avg), ("exp_avg_sq", &moments.exp_avg_sq)] {
                tensors.insert(format!("{name}.{part}"), read(name, tensor)?);
            }
            // Exact below 2^24; that late the bias corrections, which alone depend on it, have long been 1.
            let step = NamedTensor { shape: vec![1], data: vec![moments.steps as f32] };
            tensors.insert(format!("{name}.step"), step);
        }
        Ok(tensors)
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// Names the first parameter whose state is incomplete.
    pub fn load_tensors(&mut self, tensors: &Tensors, device: &Device) -> Result<(), OptimizerError> {
        self.moments.clear();
        self.momenta.clear();
        let upload = |t: &NamedTensor| {
            Tensor::<1>::from_data(TensorData::new(t.data.clone(), [t.data.len()]), device).without_autodiff()
        };
        for (key, momentum) in tensors {
            if let Some(name) = key.strip_suffix(MOMENTUM).and_then(|name| name.strip_suffix('.')) {
                self.momenta.insert(name.into(), upload(momentum));
            }
        }
        let names = tensors.keys().filter_map(|key| key.strip_suffix(".step"));
        for name in names {
            let part = |part: &str| tensors.get(&format!("{name}.{part}"));
            let (Some(step), Some(exp_avg), Some(exp_avg_sq)) = (part("step"), part("exp_avg"), part("exp_avg_sq"))
            else {
                return Err(OptimizerError::Incomplete(name.into()));
            };
            if exp_avg.data.len() != exp_avg_sq.data.len() || step.data.len() != 1 {
                return Err(OptimizerError::Incomplete(name.into()));
            }
            let moments =
                Moments { steps: step.data[0] as usize, exp_avg: upload(exp_avg), exp_avg_sq: upload(exp_avg_sq) };
            self.moments.insert(name.into(), moments);
        }
        Ok(())
    }
}

struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: GradientsParams,
    muon: Stepped,
    lr: f64,
    path: Path,
}

impl Update<'_> {
    fn gradient<const D: usize>(&mut self, id: ParamId) -> Option<Tensor<D>> {
        self.gradients.remove(id)
    }
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.official_name();
        if let Some((matrix, momentum)) = self.muon.remove(&name) {
            self.optimizer.momenta.insert(name, momentum);
            return stepped(param, |tensor| (matrix.reshape(tensor.dims()), ())).0;
        }
        let Some(gradient) = self.gradient::<D>(param.id) else { return param };
        let count = gradient.shape().num_elements();
        let Group { lr_scale, decayed } = (self.optimizer.groups)(&name, D);
        let lr = self.lr * lr_scale;
        let moments = self.optimizer.moments.remove(&name).filter(|m| m.exp_avg.dims() == [count]);
        let optimizer = &*self.optimizer;
        let (param, moments) = stepped(param, |tensor| optimizer.update(tensor, gradient, moments, decayed, lr));
        self.optimizer.moments.extend(moments.flatten().map(|moments| (name, moments)));
        param
    }
}

/// A parameter after `step`, which tells its state besides.
fn stepped<const D: usize, S>(
    param: Param<Tensor<D>>,
    step: impl FnOnce(Tensor<D>) -> (Tensor<D>, S),
) -> (Param<Tensor<D>>, Option<S>) {
    let mut after = None;
    let param = param.map(|tensor| {
        let tracked = tensor.is_require_grad();
        let (tensor, state) = step(tensor.inner());
        after = Some(state);
        let tensor = Tensor::from_inner(tensor);
        if tracked { tensor.require_grad() } else { tensor }
    });
    (param, after)
}
