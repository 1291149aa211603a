//! tract in this process, as `edge --runtime tract` runs it.

use super::{
    contender::{Contender, time},
    inputs::Input,
};
use edge::{
    model_folder::{ModelFolder, Precision},
    tract_runtime::TractEncoder,
};

/// One form in tract.
#[derive(Debug)]
pub struct Tract {
    name: String,
    encoder: TractEncoder,
}

impl Tract {
    /// Loads a form.
    ///
    /// # Errors
    /// If the folder lacks it, or tract refuses it.
    pub fn new(folder: &ModelFolder, form: Precision) -> anyhow::Result<Self> {
        Ok(Self { name: format!("tract {form}"), encoder: TractEncoder::load(folder, form)? })
    }
}

impl Contender for Tract {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> Option<&str> {
        Some("tract 0.23.9")
    }

    fn run(&mut self, input: &Input, repeat: usize) -> anyhow::Result<f64> {
        time(repeat, || Ok(self.encoder.encode(&input.patches, &input.ids_keep).map(drop)?))
    }

    fn feature(&mut self, input: &Input) -> anyhow::Result<Vec<f32>> {
        Ok(self.encoder.encode(&input.patches, &input.ids_keep)?.mean)
    }
}

/// f32, and int8 where the folder has it.
///
/// # Errors
/// If a form is damaged.
pub fn contenders<'a>(folder: &ModelFolder) -> anyhow::Result<Vec<Box<dyn Contender + 'a>>> {
    let mut found: Vec<Box<dyn Contender + 'a>> = Vec::new();
    for form in folder.precisions().into_iter().filter(|form| *form != Precision::W8) {
        found.push(Box::new(Tract::new(folder, form)?));
    }
    Ok(found)
}
