//! rten in this process (feature `rten`).

use super::{
    contender::{Contender, time},
    inputs::Input,
    report::Missing,
};
use anyhow::Context as _;
use edge::model_folder::{ModelFolder, Precision};
use rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView as _, NdTensor};
use std::sync::Arc;

/// One form in rten.
struct Rten {
    name: String,
    model: Model,
    patches: NodeId,
    ids_keep: NodeId,
    mean: NodeId,
    options: RunOptions,
}

impl Rten {
    fn new(folder: &ModelFolder, form: Precision) -> anyhow::Result<Self> {
        let mut options = rten::ModelOptions::with_all_ops();
        let model = options.prepack_weights(true).load(folder.read(form)?).context("rten cannot load the model")?;
        let node = |name| model.node_id(name).map_err(|error| anyhow::anyhow!("rten: {error}"));
        let (patches, ids_keep, mean) = (node("patches")?, node("ids_keep")?, node("mean")?);
        let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(1))));
        Ok(Self { name: format!("rten {form}"), model, patches, ids_keep, mean, options })
    }

    fn encode(&self, input: &Input) -> anyhow::Result<NdTensor<f32, 2>> {
        let visible = input.ids_keep.len();
        let values = input.patches.len() / visible;
        let patches = NdTensor::from_data([1, visible, values], input.patches.clone());
        let ids: Vec<i32> = input.ids_keep.iter().map(|id| id.cast_signed()).collect();
        let ids = NdTensor::from_data([1, visible], ids);
        let inputs = vec![(self.patches, patches.into()), (self.ids_keep, ids.into())];
        let outputs = self.model.run(inputs, &[self.mean], Some(self.options.clone()));
        let mut outputs: Vec<Value> = outputs.map_err(|error| anyhow::anyhow!("rten: {error}"))?;
        let mean = outputs.pop().context("rten gives no output")?;
        mean.try_into().map_err(|_| anyhow::anyhow!("rten gives another type"))
    }
}

impl Contender for Rten {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> Option<&str> {
        Some("rten 0.27.0")
    }

    fn run(&mut self, input: &Input, repeat: usize) -> anyhow::Result<f64> {
        time(repeat, || self.encode(input).map(drop))
    }

    fn feature(&mut self, input: &Input) -> anyhow::Result<Vec<f32>> {
        Ok(self.encode(input)?.to_vec())
    }
}

/// f32, and int8 where the folder has it; and what rten refuses to load.
#[must_use]
pub fn contenders<'a>(folder: &ModelFolder) -> (Vec<Box<dyn Contender + 'a>>, Vec<Missing>) {
    let (mut found, mut missing) = (Vec::<Box<dyn Contender + 'a>>::new(), Vec::new());
    for form in folder.forms().into_iter().filter(|form| *form != Precision::W8) {
        match Rten::new(folder, form) {
            Ok(contender) => found.push(Box::new(contender)),
            Err(error) => missing.push(Missing { name: format!("rten {form}"), reason: format!("{error:#}") }),
        }
    }
    (found, missing)
}
