//! Numbers that are kept from the forward pass for the backward pass: as they are, or rounded to bf16 where products
//! round them anyway, in half of the memory.

use crate::{
    engine::Bf16,
    pairs::{pairs, pairs_of_matrix},
    pool::Buffer,
};
use pulp::{Arch, Simd, WithSimd, bytemuck};
use std::ops::{Deref, DerefMut, Range};

/// Numbers of all images of a batch, `size` each.
#[derive(Debug)]
pub(crate) struct Kept {
    data: Buffer,
    size: usize,
    /// By which instructions they are rounded, if they are.
    bf16: Option<Bf16>,
}

/// The part of some images, being written.
#[derive(Debug)]
pub(crate) struct KeptPart<'a> {
    data: &'a mut [f32],
    size: usize,
    bf16: Option<Bf16>,
}

/// The part of some images, being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptImages<'a> {
    data: &'a [f32],
    size: usize,
    rounded: bool,
}

/// Where the numbers of some images are computed before they are kept.
pub(crate) enum Working<'a> {
    There(&'a mut [f32]),
    Beside(Buffer, KeptPart<'a>),
}

/// Numbers that were kept.
pub(crate) enum Read<'a> {
    There(&'a [f32]),
    Beside(Buffer),
}

/// Cuts the first `count` elements off.
pub(crate) fn cut<'a, T>(data: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (part, rest) = std::mem::take(data).split_at_mut(count);
    *data = rest;
    part
}

/// Places of `f32` that an image takes.
fn places(size: usize, rounded: bool) -> usize {
    if rounded { pairs(size) } else { size }
}

impl Kept {
    pub(crate) fn take(images: usize, size: usize, bf16: Option<Bf16>) -> Self {
        Self { data: Buffer::take(images * places(size, bf16.is_some())), size, bf16 }
    }

    pub(crate) fn whole(&mut self) -> KeptPart<'_> {
        KeptPart { data: &mut self.data, size: self.size, bf16: self.bf16 }
    }

    pub(crate) fn images(&self, images: Range<usize>) -> KeptImages<'_> {
        let (size, rounded) = (self.size, self.bf16.is_some());
        let place = places(size, rounded);
        KeptImages { data: &self.data[images.start * place..images.end * place], size, rounded }
    }
}

impl<'a> KeptPart<'a> {
    /// Cuts the first images off.
    pub(crate) fn take(&mut self, images: usize) -> KeptPart<'a> {
        let (size, bf16) = (self.size, self.bf16);
        KeptPart { data: cut(&mut self.data, images * places(size, bf16.is_some())), size, bf16 }
    }

    /// Room for its numbers, of unknown value.
    pub(crate) fn working(self) -> Working<'a> {
        match self.bf16 {
            None => Working::There(self.data),
            Some(_) => {
                let images = self.data.len().checked_div(pairs(self.size)).unwrap_or(0);
                Working::Beside(Buffer::take(images * self.size), self)
            }
        }
    }
}

impl Working<'_> {
    /// Keeps the numbers as they are now.
    pub(crate) fn keep(self) {
        if let Self::Beside(numbers, KeptPart { data, size, bf16: Some(bf16) }) = self {
            pairs_of_matrix(bf16, &numbers, size, size, bytemuck::cast_slice_mut(data));
        }
    }
}

impl Deref for Working<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match self {
            Self::There(data) => data,
            Self::Beside(data, _) => data,
        }
    }
}

impl DerefMut for Working<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::There(data) => data,
            Self::Beside(data, _) => data,
        }
    }
}

impl<'a> KeptImages<'a> {
    pub(crate) fn read(self, arch: Arch) -> Read<'a> {
        let Self { data, size, rounded } = self;
        if !rounded {
            return Read::There(data);
        }
        let images = data.len().checked_div(pairs(size)).unwrap_or(0);
        let mut numbers = Buffer::take(images * size);
        let from = data.chunks_exact(pairs(size).max(1));
        for (numbers, from) in numbers.chunks_exact_mut(size.max(1)).zip(from) {
            arch.dispatch(Widen(bytemuck::cast_slice(from), numbers));
        }
        Read::Beside(numbers)
    }
}

impl Deref for Read<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match self {
            Self::There(data) => data,
            Self::Beside(data) => data,
        }
    }
}

/// Pairs as the numbers that they are.
struct Widen<'a>(&'a [u32], &'a mut [f32]);

impl WithSimd for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(pairs, numbers) = self;
        let (whole, rest) = numbers.as_chunks_mut::<2>();
        for ([low, high], pair) in whole.iter_mut().zip(pairs) {
            (*low, *high) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
        }
        if let ([last], Some(pair)) = (rest, pairs.last()) {
            *last = f32::from_bits(pair << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_kept_is_read_back_whole_or_rounded(size in 0..40_usize, images in 0..7_usize, cut in 0..7_usize) {
            let cut = cut.min(images);
            let value = |i: usize| (i as f32 * 0.37 - 3.0) * 1.000_1;
            for engine in Engine::every() {
                let mut kept = Kept::take(images, size, engine.products());
                let mut whole = kept.whole();
                for part in [0..cut, cut..images] {
                    let mut working = whole.take(part.len()).working();
                    prop_assert_eq!(working.len(), part.len() * size);
                    working.iter_mut().enumerate().for_each(|(i, to)| *to = value(part.start * size + i));
                    working.keep();
                }
                for part in [0..images, cut..images, 0..cut] {
                    let found = kept.images(part.clone()).read(engine.arch());
                    prop_assert_eq!(found.len(), part.len() * size);
                    for (i, found) in found.iter().enumerate() {
                        let exact = value(part.start * size + i);
                        let bound = if engine.products().is_some() { exact.abs() / 256.0 } else { 0.0 };
                        prop_assert!((found - exact).abs() <= bound, "{:?}: {} for {}", engine, found, exact);
                    }
                }
            }
        }
    }
}
