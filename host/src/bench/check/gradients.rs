//! Every parameter's gradient (`gradients.safetensors`).

use super::{
    Check, Parity, Setup, Worst,
    files::{device, tensor},
    relative_difference,
};
use crate::{
    checkpoint::Tensors,
    model::weights::{self, official_name},
};
use anyhow::{Context as _, ensure};
use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Gradients, Tensor},
};
use common::patch::PatchGrid;

/// All gradients, each as a share of the parameter's largest, both through the whole loss and through that of training,
/// which predicts removed patches alone.
///
/// # Errors
/// If a parameter has no gradient, or the file lacks one.
pub fn check(parity: &Parity, setup: &Setup) -> anyhow::Result<Vec<Check>> {
    let (device, masks) = (device(setup, true), parity.masks()?);
    let official = parity.tensors("gradients.safetensors")?;
    let wanted = official.keys().filter(|name| !name.contains("pos_embed")).count();
    let model = parity.model(true, setup, true)?;
    let patches = parity.patches(&device)?;
    let mut checks = Vec::new();
    for (name, loss) in [
        ("gradients (relative)", model.forward(patches.clone(), &masks).loss),
        ("gradients, as trained (relative)", model.loss(patches.clone(), &masks)),
    ] {
        let found = tensors_of(&model, &loss.backward(), parity.grid())?;
        ensure!(found.len() == wanted, "{} of {wanted} gradients are there", found.len());
        let mut worst = Worst::default();
        for (name, found) in &found {
            let expected = &tensor(&official, name)?.data;
            worst.add(name, relative_difference(&found.data, expected).with_context(|| name.clone())?);
        }
        checks.push(Check::worst(name, worst, setup.arithmetic().tolerance().gradients));
    }
    Ok(checks)
}

/// The gradients of all parameters of `module` by their official names and layouts.
///
/// # Errors
/// Names a parameter that has none.
pub fn tensors_of<M: Module>(module: &M, gradients: &Gradients, grid: &PatchGrid) -> anyhow::Result<Tensors> {
    struct InPlace<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        missing: Option<String>,
    }
    impl ModuleMapper for InPlace<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match param.val().grad(self.gradients) {
                Some(gradient) => param.map(|_| Tensor::from_inner(gradient)),
                None => {
                    self.missing.get_or_insert_with(|| official_name(&self.path));
                    param
                }
            }
        }
    }
    // A gradient takes its parameter's place, so that names and layouts are those of parameters.
    let mut mapper = InPlace { gradients, path: Vec::new(), missing: None };
    let module = module.clone().map(&mut mapper);
    ensure!(mapper.missing.is_none(), "`{}` has no gradient", mapper.missing.unwrap_or_default());
    Ok(weights::to_tensors(&module, grid)?)
}
