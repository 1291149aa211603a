//! Parameters of a module as named tensors in the reference's layouts, and back.

use crate::tensors::{
    NamedTensor, Tensors,
    mismatch::{MismatchError, fitting},
};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Gradients, Tensor, TensorData},
};
use common::patch::PatchGrid;

/// Why named tensors do not fit a module.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A parameter is missing or misshapen.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// The backend could not give the values back.
    #[error("cannot read the tensor `{name}` from the device: {reason}")]
    Read {
        /// Its name.
        name: String,
        /// What the backend said.
        reason: String,
    },
}

/// Where a visitor of a module is.
#[derive(Debug, Default)]
pub struct Path(Vec<String>);

impl Path {
    /// Goes into the module `name` of `container`. The variant of an enum is no part of the path.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    /// Comes back from a module of `container`.
    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    /// A parameter's name in the reference: its path, without the `mae` and the `encoder` of this crate's grouping.
    #[must_use]
    pub fn official_name(&self) -> String {
        let path = self.0.strip_prefix(&["mae".to_owned()]).unwrap_or(&self.0);
        path.strip_prefix(&["encoder".to_owned()]).unwrap_or(path).join(".")
    }
}

/// How a parameter is stored by the reference.
enum Layout {
    Same,
    /// A Linear: `[in, out]` here, `[out, in]` there.
    Transposed,
    /// The patch projection: `[p*p*C, D]` here, `[D, C, p, p]` there.
    Patch,
}

impl Layout {
    fn of(name: &str, rank: usize) -> Self {
        match rank {
            2 if name == "patch_embed.proj.weight" => Self::Patch,
            2 => Self::Transposed,
            _ => Self::Same,
        }
    }

    /// The reference's shape of a parameter that is `shape` here.
    fn official_shape(&self, shape: &[usize], grid: &PatchGrid) -> Vec<usize> {
        match self {
            Self::Same => shape.to_vec(),
            Self::Transposed => vec![shape[1], shape[0]],
            Self::Patch => vec![shape[1], grid.channels(), grid.patch_size(), grid.patch_size()],
        }
    }

    /// For each value of the reference in order, its place here.
    fn source_index(&self, official: usize, shape: &[usize], grid: &PatchGrid) -> usize {
        match self {
            Self::Same => official,
            Self::Transposed => official % shape[0] * shape[1] + official / shape[0],
            Self::Patch => {
                let area = grid.patch_size() * grid.patch_size();
                let (channel, pixel) = (official / area % grid.channels(), official % area);
                (pixel * grid.channels() + channel) * shape[1] + official / shape[0]
            }
        }
    }
}

/// All parameters of `module` by their official names.
///
/// # Errors
/// If the device cannot give the values back.
pub fn to_tensors<M: Module>(module: &M, grid: &PatchGrid) -> Result<Tensors, WeightsError> {
    read(module, None, grid)
}

/// The gradients of `module`'s parameters by their official names and in their layouts; a parameter without one is
/// left out.
///
/// # Errors
/// If the device cannot give the values back.
pub fn gradients_to_tensors<M: Module>(
    module: &M,
    gradients: &Gradients,
    grid: &PatchGrid,
) -> Result<Tensors, WeightsError> {
    read(module, Some(gradients), grid)
}

/// Parameters, or with `gradients` those.
fn read<M: Module>(module: &M, gradients: Option<&Gradients>, grid: &PatchGrid) -> Result<Tensors, WeightsError> {
    struct Reader<'a> {
        gradients: Option<&'a Gradients>,
        grid: &'a PatchGrid,
        path: Path,
        result: Result<Tensors, WeightsError>,
    }
    impl ModuleVisitor for Reader<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Ok(tensors) = &mut self.result else { return };
            let name = self.path.official_name();
            let value = match self.gradients {
                None => param.val(),
                Some(gradients) => match param.val().grad(gradients) {
                    Some(gradient) => gradient,
                    None => return,
                },
            };
            let shape = value.dims();
            let values: Vec<f32> = match value.try_into_vec_as::<f32>() {
                Ok(values) => values,
                Err(error) => {
                    self.result = Err(WeightsError::Read { name, reason: error.to_string() });
                    return;
                }
            };
            let layout = Layout::of(&name, D);
            let data = (0..values.len()).map(|i| values[layout.source_index(i, &shape, self.grid)]).collect();
            let shape = layout.official_shape(&shape, self.grid);
            tensors.insert(name, NamedTensor { shape, data });
        }
    }
    let mut reader = Reader { gradients, grid, path: Path::default(), result: Ok(Tensors::new()) };
    module.visit(&mut reader);
    reader.result
}

/// `module` with all its parameters replaced by those of `tensors`; tensors that the module lacks are ignored.
///
/// # Errors
/// Names the first parameter that is missing or has another shape.
pub fn load_tensors<M: Module>(module: M, tensors: &Tensors, grid: &PatchGrid) -> Result<M, WeightsError> {
    struct Writer<'a> {
        grid: &'a PatchGrid,
        tensors: &'a Tensors,
        path: Path,
        error: Option<WeightsError>,
    }
    impl Writer<'_> {
        fn find(&self, name: &str, rank: usize, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
            let layout = Layout::of(name, rank);
            let tensor = fitting(self.tensors, name, &layout.official_shape(shape, self.grid))?;
            let mut data = vec![0.0; tensor.data.len()];
            for (i, value) in tensor.data.iter().enumerate() {
                data[layout.source_index(i, shape, self.grid)] = *value;
            }
            Ok(data)
        }
    }
    impl ModuleMapper for Writer<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.val().dims();
            match self.find(&self.path.official_name(), D, &shape) {
                Ok(data) => param.map(|old| {
                    let tracked = old.is_require_grad();
                    let new = Tensor::from_data(TensorData::new(data, shape), &old.device());
                    if tracked { new.require_grad() } else { new }
                }),
                Err(error) => {
                    self.error.get_or_insert(error);
                    param
                }
            }
        }
    }
    let mut writer = Writer { grid, tensors, path: Path::default(), error: None };
    let module = module.map(&mut writer);
    writer.error.map_or(Ok(module), Err)
}
