//! Named tensors that are not the parameters that a model needs.

use super::{NamedTensor, Tensors};

/// Why named tensors do not fit; also what is said of a checkpoint, a run and a model folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MismatchError {
    /// The parameter of this name is not there.
    #[error("the tensor `{0}` is missing")]
    Missing(String),
    /// A parameter has another shape.
    #[error("the tensor `{name}` is {found:?} where {expected:?} is needed")]
    Shape {
        /// The parameter's name, the reference's or the file's.
        name: String,
        /// The shape that the model needs.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// A parameter has another number of axes.
    #[error("the tensor `{name}` is {found:?} where {axes} axes are needed")]
    Axes {
        /// The parameter's name, the reference's or the file's.
        name: String,
        /// How many axes the model needs.
        axes: usize,
        /// Its shape in the file.
        found: Vec<usize>,
    },
}

impl MismatchError {
    /// The same about a tensor of another name.
    #[must_use]
    pub(crate) fn renamed(self, rename: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Missing(name) => Self::Missing(rename(name)),
            Self::Shape { name, expected, found } => Self::Shape { name: rename(name), expected, found },
            Self::Axes { name, axes, found } => Self::Axes { name: rename(name), axes, found },
        }
    }
}

/// The tensor `name`, if it has the shape `expected`.
///
/// # Errors
/// [`MismatchError`]: there is none of this name, or it has another shape.
pub(crate) fn fitting<'a>(
    tensors: &'a Tensors,
    name: &str,
    expected: &[usize],
) -> Result<&'a NamedTensor, MismatchError> {
    let tensor = tensors.get(name).ok_or_else(|| MismatchError::Missing(name.to_owned()))?;
    if tensor.shape != expected || tensor.data.len() != expected.iter().product::<usize>() {
        let (name, expected, found) = (name.to_owned(), expected.to_vec(), tensor.shape.clone());
        return Err(MismatchError::Shape { name, expected, found });
    }
    Ok(tensor)
}
