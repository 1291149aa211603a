//! The product by instructions for f32: the twin against which others are tested.

use super::LeftPairs;
use crate::{
    pairs::pairs,
    panels::{Panels, VECTORS},
    tile::{Out, Place, Size, store},
};
use pulp::{Arch, Simd, WithSimd};

/// The two numbers of a pair.
fn both(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// Vectors of a line are few enough for an array.
const MOST_WIDE: usize = 64;

struct Product<'a> {
    size: Size,
    a: LeftPairs<'a>,
    b: &'a Panels,
    out: Out<'a>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { size: Size { rows, columns, depth }, a, b, out } = self;
        let zero = simd.splat_f32s(0.0);
        let mut sums = [0.0; MOST_WIDE];
        let sums = &mut sums[..b.width];
        for (panel, column) in (0..columns).step_by(b.width).enumerate() {
            for row in 0..rows {
                sums.fill(0.0);
                for (j, line) in (0..pairs(depth)).zip(b.pairs_of_panel(panel).chunks_exact(b.width)) {
                    let [a_low, a_high] = both(a.data[row * a.row_step + j * a.pair_step]);
                    for (sum, pair) in sums.iter_mut().zip(line) {
                        let [low, high] = both(*pair);
                        *sum += a_low * low + a_high * high;
                    }
                }
                let place = Place { row, column, columns: b.width.min(columns - column) };
                let (vectors, []) = S::as_simd_f32s(sums) else { unreachable!("a panel is {VECTORS} vectors wide") };
                let line: [S::f32s; VECTORS] = std::array::from_fn(|v| vectors.get(v).copied().unwrap_or(zero));
                let lanes = S::F32_LANES;
                // SAFETY: `product` has checked that row and columns lie inside; as many vectors as they need.
                unsafe {
                    match place.columns.div_ceil(lanes) {
                        3 => store::<S, 1, 3>(simd, [line], out, place),
                        2 => store::<S, 1, 2>(simd, [[line[0], line[1]]], out, place),
                        _ => store::<S, 1, 1>(simd, [[line[0]]], out, place),
                    }
                }
            }
        }
    }
}

pub(super) fn product(arch: Arch, size: Size, a: LeftPairs<'_>, b: &Panels, out: Out<'_>) {
    arch.dispatch(Product { size, a, b, out });
}
