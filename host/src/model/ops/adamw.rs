//! AdamW as one operation.

use super::elements;
use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{DType, Tensor},
};
use kernels::{
    Arch,
    adamw::{Step, update},
};

/// A parameter and its two moments, the moments flat; all outside the graph.
pub type Updated<const D: usize> = (Tensor<D>, Tensor<1>, Tensor<1>);

/// `state` after `step`, in place where nothing else holds its memory.
///
/// # Errors
/// `state` as it was, where the plain form must do.
pub fn adamw<const D: usize>(
    step: Step,
    gradient: &Tensor<D>,
    state: Updated<D>,
) -> Result<Updated<D>, Box<Updated<D>>> {
    let on_cpu = cpu(state.0.clone()).is_some() && cpu(state.1.clone()).is_some() && cpu(state.2.clone()).is_some();
    let gradient = cpu(gradient.clone()).filter(|_| on_cpu);
    let Some(gradient) = gradient else { return Err(Box::new(state)) };
    let (parameter, exp_avg, exp_avg_sq) = state;
    let (Some(mut parameter), Some(mut exp_avg), Some(mut exp_avg_sq)) =
        (cpu(parameter), cpu(exp_avg), cpu(exp_avg_sq))
    else {
        unreachable!("looked at above")
    };
    update(
        Arch::new(),
        step,
        parameter.storage_mut(),
        elements(&gradient),
        exp_avg.storage_mut(),
        exp_avg_sq.storage_mut(),
    );
    let flat = Tensor::from_primitive::<Flex>;
    Ok((Tensor::from_primitive::<Flex>(parameter), flat(exp_avg), flat(exp_avg_sq)))
}

/// A contiguous tensor of the CPU backend whose storage is its elements.
fn cpu<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    let count = tensor.shape().num_elements();
    let tensor = tensor.try_into_primitive::<Flex>().ok().filter(|tensor| tensor.dtype() == DType::F32)?;
    let whole = |tensor: &FlexTensor| tensor.as_slice::<f32>().is_some() && tensor.storage::<f32>().len() == count;
    if whole(&tensor) { Some(tensor) } else { Some(tensor.to_contiguous()).filter(whole) }
}
