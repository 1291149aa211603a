//! rten in this process (feature `rten`).

use super::{
    contender::{Contender, time},
    inputs::Input,
    report::Missing,
};
use anyhow::Context as _;
use rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView as _, NdTensor};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

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
    fn new(name: &str, file: &Path) -> anyhow::Result<Self> {
        let mut options = rten::ModelOptions::with_all_ops();
        let model = options.prepack_weights(true).load(fs::read(file)?).context("rten cannot load the model")?;
        let node = |name| model.node_id(name).map_err(|error| anyhow::anyhow!("rten: {error}"));
        let (patches, ids_keep, mean) = (node("patches")?, node("ids_keep")?, node("mean")?);
        let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(1))));
        Ok(Self { name: name.into(), model, patches, ids_keep, mean, options })
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

/// f32 and dynamic int8, from the files that onnxruntime runs; and what rten refuses to load.
#[must_use]
pub fn contenders<'a>(files: &[(String, PathBuf)]) -> (Vec<Box<dyn Contender + 'a>>, Vec<Missing>) {
    let (mut found, mut missing) = (Vec::<Box<dyn Contender + 'a>>::new(), Vec::new());
    for (form, file) in files.iter().filter(|(form, _)| ["f32", "dynamic int8"].contains(&form.as_str())) {
        let name = format!("rten {form}");
        match Rten::new(&name, file) {
            Ok(contender) => found.push(Box::new(contender)),
            Err(error) => missing.push(Missing { name, reason: format!("{error:#}") }),
        }
    }
    (found, missing)
}
