//! The portable runtime: the ONNX encoder in tract. Only the visible patches are computed.

use crate::model_folder::{ModelError, ModelFolder, Precision};
use common::{model::EncoderSpec, patch::PatchGrid};
use std::{collections::VecDeque, sync::Arc};
use tract_onnx::prelude::*;

/// Plans that are kept, one a number of visible patches.
const PLANS: usize = 8;

/// Why an encoder cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum TractError {
    /// The model folder is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// tract does not accept the file.
    #[error("tract cannot run the {form} encoder: {reason}")]
    Graph {
        /// The form.
        form: Precision,
        /// What tract said.
        reason: String,
    },
    /// Lengths disagree, a patch lies outside the grid, or none is visible.
    #[error("unusable input: {0}")]
    Input(String),
}

/// What the encoder yields for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The class token after the final norm, `[D]`.
    pub cls: Vec<f32>,
    /// Mean of the visible patch tokens after the final norm, `[D]`.
    pub mean: Vec<f32>,
    /// The visible patch tokens after the final norm, `[V, D]`.
    pub tokens: Vec<f32>,
}

/// An encoder with one optimised plan for each number of visible patches that was asked for lately.
#[derive(Debug)]
pub struct TractEncoder {
    spec: EncoderSpec,
    grid: PatchGrid,
    form: Precision,
    model: InferenceModel,
    plans: VecDeque<(usize, Arc<TypedSimplePlan>)>,
}

impl TractEncoder {
    /// Loads one form of a model.
    ///
    /// # Errors
    /// If the form is missing or damaged, or tract does not accept it.
    pub fn load(folder: &ModelFolder, form: Precision) -> Result<Self, TractError> {
        Self::from_onnx(folder.spec(), form, &folder.read(form)?)
    }

    /// Loads an ONNX file in memory.
    ///
    /// # Errors
    /// If tract does not accept it, or it has other inputs or outputs.
    pub fn from_onnx(spec: &EncoderSpec, form: Precision, onnx: &[u8]) -> Result<Self, TractError> {
        let graph = |reason: String| TractError::Graph { form, reason };
        let grid = spec.grid().map_err(|error| TractError::Input(error.to_string()))?;
        let proto = tract_onnx::onnx().proto_model_for_read(&mut &*onnx).map_err(|e| graph(cause(&e)))?;
        // tract panics at a patch that has no position.
        let mut tensors = proto.graph.iter().flat_map(|graph| &graph.initializer);
        let positions = tensors.find(|tensor| tensor.name == "pos_embed").map(|tensor| tensor.dims.as_slice());
        let expected = [grid.patches() as i64, i64::from(spec.dim)];
        if positions.is_some_and(|found| found != expected) {
            let (found, expected) = (positions.unwrap_or_default(), expected.as_slice());
            return Err(graph(format!(
                "its positions are {found:?}, those of model.toml {expected:?}; export it again"
            )));
        }
        let model = tract_onnx::onnx().model_for_proto_model(&proto).map_err(|e| graph(cause(&e)))?;
        let count = |outlets: TractResult<&[OutletId]>| outlets.map_or(0, <[OutletId]>::len);
        let (inputs, outputs) = (count(model.input_outlets()), count(model.output_outlets()));
        if (inputs, outputs) != (2, 3) {
            return Err(graph(format!("it has {inputs} inputs and {outputs} outputs instead of 2 and 3")));
        }
        Ok(Self { spec: *spec, grid, form, model, plans: VecDeque::new() })
    }

    /// The encoder's description.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// The form that was loaded.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.form
    }

    /// Prepares the plan for `visible` patches, which otherwise the first call of [`Self::encode`] does.
    ///
    /// # Errors
    /// If tract does not accept the graph.
    pub fn prepare(&mut self, visible: usize) -> Result<(), TractError> {
        self.plan(visible).map(drop)
    }

    /// Encodes one image. `patches`: `[V, P]` normalised pixels; `ids_keep`: `[V]`.
    ///
    /// # Errors
    /// If lengths disagree, a patch lies outside the grid, none is visible, or tract fails.
    pub fn encode(&mut self, patches: &[f32], ids_keep: &[u32]) -> Result<Features, TractError> {
        let (visible, values) = (ids_keep.len(), self.grid.patch_dim());
        if visible == 0 || patches.len() != visible * values {
            return Err(TractError::Input(format!(
                "{} values do not make {visible} patches of {values}",
                patches.len()
            )));
        }
        if let Some(id) = ids_keep.iter().find(|id| **id as usize >= self.grid.patches()) {
            return Err(TractError::Input(format!("patch {id} lies outside {} patches", self.grid.patches())));
        }
        let form = self.form;
        let failed = |error: Cause| TractError::Graph { form, reason: cause(&error) };
        let ids: Vec<i64> = ids_keep.iter().map(|id| i64::from(*id)).collect();
        let patches = Tensor::from_shape(&[1, visible, values], patches).map_err(failed)?;
        let ids = Tensor::from_shape(&[1, visible], &ids).map_err(failed)?;
        let outputs = self.plan(visible)?.run(tvec!(patches.into(), ids.into())).map_err(failed)?;
        let read = |i: usize| -> Result<Vec<f32>, TractError> {
            let view = outputs[i].to_plain_array_view::<f32>().map_err(failed)?;
            Ok(view.iter().copied().collect())
        };
        Ok(Features { cls: read(0)?, mean: read(1)?, tokens: read(2)? })
    }

    fn plan(&mut self, visible: usize) -> Result<Arc<TypedSimplePlan>, TractError> {
        if let Some((_, plan)) = self.plans.iter().find(|(known, _)| *known == visible) {
            return Ok(plan.clone());
        }
        let build = || -> TractResult<Arc<TypedSimplePlan>> {
            let patches = f32::fact([1, visible, self.grid.patch_dim()]);
            let ids = i64::fact([1, visible]);
            let model = self.model.clone().with_input_fact(0, patches.into())?.with_input_fact(1, ids.into())?;
            model.into_optimized()?.into_runnable()
        };
        let plan = build().map_err(|error| TractError::Graph { form: self.form, reason: cause(&error) })?;
        if self.plans.len() == PLANS {
            self.plans.pop_front();
        }
        self.plans.push_back((visible, plan.clone()));
        Ok(plan)
    }
}

/// tract's own error type.
type Cause = tract_onnx::prelude::TractError;

/// All causes in one line.
fn cause(error: &Cause) -> String {
    format!("{error:#}").replace('\n', " ")
}
