//! Products of bf16 numbers with sums in f32.
//!
//! Instructions for them take *pairs*: two neighbours along `K` lie in 32 bits, and one instruction adds both of
//! their products to a sum. So `A` and `B` are packed into pairs, which costs `M K + K N` where the product costs
//! `M K N`. Where `K` is odd, the last pair ends with a zero.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::{
    engine::Bf16,
    pairs::{pairs, pairs_of_matrix, pairs_of_rows},
    panels::Panels,
    pool::Buffer,
    tile::{Left, Out, Size},
};
use pulp::{Arch, bytemuck};

/// `A` in pairs: that of row `m` and columns `2 j` and `2 j + 1` is `data[m * row_step + j * pair_step]`.
#[derive(Clone, Copy)]
struct LeftPairs<'a> {
    data: &'a [u32],
    row_step: usize,
    pair_step: usize,
}

/// `C = init + A B`, whose sizes `product` has checked.
pub(crate) fn product(bf16: Bf16, arch: Arch, size: Size, a: Left<'_>, b: &Panels, out: Out<'_>) {
    let mut packed = Buffer::take(size.rows * pairs(size.depth));
    let pairs_of: &mut [u32] = bytemuck::cast_slice_mut(&mut packed);
    let (row_step, pair_step) = match a {
        Left::Rows(data, stride) => {
            pairs_of_matrix(bf16, data, stride, size.depth, pairs_of);
            (pairs(size.depth), 1)
        }
        Left::Columns(data, stride) => {
            for (pair, to) in pairs_of.chunks_exact_mut(size.rows).enumerate() {
                let row = |k: usize| (k < size.depth).then(|| &data[k * stride..][..size.rows]);
                pairs_of_rows(bf16, row(2 * pair).unwrap_or_default(), row(2 * pair + 1), to);
            }
            (1, size.rows)
        }
    };
    let a = LeftPairs { data: pairs_of, row_step, pair_step };
    match bf16 {
        Bf16::Portable => portable::product(arch, size, a, b, out),
        #[cfg(target_arch = "x86_64")]
        Bf16::Avx512 => avx512::product(size, a, b, out),
        #[cfg(target_arch = "aarch64")]
        Bf16::Neon => neon::product(size, a, b, out),
    }
}
