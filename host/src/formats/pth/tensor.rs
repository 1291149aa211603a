//! Tensors from their recipes in a pickle and their bytes in a container.

use super::container::Container;
use crate::{
    formats::pickle::{Pickle, Value},
    tensors::{NamedTensor, number::Kind},
};
use std::{
    io::{Read, Seek},
    ops::Range,
};

/// Why a tensor is not read.
pub(super) enum Refusal {
    /// It is of a kind that is not read; the end of a sentence.
    Kind(String),
    /// The file contradicts itself; the end of a sentence.
    Damage(String),
}

use Refusal::{Damage, Kind as OtherKind};

/// The function that makes a tensor, and with what.
type Call<'a> = ((&'a str, &'a str), &'a [Value]);

/// The call that makes a tensor from stored bytes, itself, within a `Parameter`, or of a class of its own.
fn call(pickle: &Pickle, value: Value) -> Option<Call<'_>> {
    let (function, arguments) = pickle.call(value)?;
    match (function, arguments) {
        (("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), [data, ..]) => pickle.call(*data),
        (("torch._tensor", "_rebuild_from_type_v2"), [function, _, arguments, ..]) => {
            Some((pickle.global(*function)?, pickle.sequence(*arguments)?))
        }
        _ => Some((function, arguments)),
    }
}

/// Whether a value is a tensor, be it of a kind that is not read.
pub(super) fn is(pickle: &Pickle, value: Value) -> bool {
    call(pickle, value).is_some_and(|((module, name), _)| {
        ["torch._utils", "torch._tensor"].contains(&module) && name.starts_with("_rebuild_")
    })
}

/// Makes a tensor: storage, offset, extents, strides (all in values). `read` counts the values of all tensors.
pub(super) fn tensor<R: Read + Seek>(
    pickle: &Pickle,
    value: Value,
    container: &mut Container<R>,
    read: &mut u64,
) -> Result<(NamedTensor, Kind), Refusal> {
    let strange = || Damage("is described in an unknown way".to_owned());
    let (((_, function), recipe), mut dtype) = (call(pickle, value).ok_or_else(strange)?, None);
    match function {
        "_rebuild_tensor" | "_rebuild_tensor_v2" => {}
        "_rebuild_tensor_v3" => dtype = recipe.get(6).and_then(|dtype| pickle.global(*dtype)),
        other => return Err(OtherKind(format!("is made by torch's {other}, which is not read"))),
    }
    let [storage, offset, shape, strides, ..] = recipe else { return Err(strange()) };
    let Some([_, class, key, _, numel, view @ ..]) = pickle.persistent(*storage) else { return Err(strange()) };
    let (Some((module, class)), Some(key)) = (pickle.global(*class), pickle.text(*key)) else {
        return Err(strange());
    };
    let (kind, unit, shown) = match dtype {
        // Its storage counts bytes.
        Some((module, name)) => (Kind::of_dtype(name), 1, format!("{module}.{name}")),
        None => {
            let kind = Kind::of(class).filter(|_| module == "torch");
            (kind, kind.map_or(1, Kind::width), format!("{module}.{class}"))
        }
    };
    let kind = kind.ok_or_else(|| OtherKind(format!("has the type {shown}, which is not read")))?;
    let extents =
        |value: Value| -> Option<Vec<usize>> { pickle.sequence(value)?.iter().map(|v| v.count()).collect() };
    let (Some(offset), Some(shape), Some(strides)) = (offset.count(), extents(*shape), extents(*strides)) else {
        return Err(strange());
    };
    if shape.len() != strides.len() || shape.len() > 8 {
        return Err(strange());
    }
    // Before 1.6 a storage may itself be a part of another.
    let part = view.first().and_then(|view| pickle.sequence(*view)).and_then(|view| view.get(1)?.count());
    let outside = || Damage(format!("of shape {shape:?} reaches beyond its storage"));
    let offset = offset.checked_add(part.unwrap_or(0)).ok_or_else(outside)?;
    let count = shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent)).ok_or_else(outside)?;
    // A file of views into one storage could otherwise ask for any amount of memory.
    *read = read.saturating_add(count as u64);
    if *read > container.length() {
        return Err(Damage(format!("of shape {shape:?} makes more values than the file has bytes")));
    }
    let bytes = container.storage(key).map_err(|error| Damage(format!("cannot be read: {error}")))?;
    if numel.count().and_then(|numel| numel.checked_mul(unit)) != Some(bytes.len()) {
        let length = bytes.len();
        return Err(Damage(format!("has a storage of {length} bytes, which is another length than described")));
    }
    let last = shape
        .iter()
        .zip(&strides)
        .try_fold(offset, |place, (extent, stride)| place.checked_add(extent.checked_sub(1)?.checked_mul(*stride)?));
    let range = match last {
        _ if count == 0 => 0..0,
        Some(last) if last < bytes.len() / kind.width() => offset..last + 1,
        _ => return Err(outside()),
    };
    Ok((NamedTensor { data: gather(bytes, kind, range, &shape, &strides), shape }, kind))
}

/// Values in row-major order; `range` holds the first and the last of them.
fn gather(bytes: &[u8], kind: Kind, range: Range<usize>, shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let values = kind.to_f32(&bytes[range.start * kind.width()..range.end * kind.width()]);
    let mut dense = 1;
    let is_dense = shape.iter().zip(strides).rev().all(|(extent, stride)| {
        let fits = *extent <= 1 || *stride == dense;
        dense *= *extent;
        fits
    });
    if is_dense {
        return values;
    }
    let count: usize = shape.iter().product();
    let place = |mut index: usize| {
        shape.iter().zip(strides).rev().fold(0, |place, (extent, stride)| {
            let here = index % extent;
            index /= extent;
            place + here * stride
        })
    };
    (0..count).map(|index| values[place(index)]).collect()
}
