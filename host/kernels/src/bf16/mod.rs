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

/// A product that takes `C` tile by tile; what calls it has `LANES`, `available` and `tile_of` for its instructions,
/// `$features`.
macro_rules! tiled_product {
    ($features:literal) => {
        /// Most columns of a panel.
        const WIDTH: usize = crate::panels::VECTORS * LANES;

        pub(super) fn product(size: Size, a: LeftPairs<'_>, b: &Panels, out: Out<'_>) {
            assert!(b.width.is_multiple_of(LANES) && b.width <= WIDTH && available());
            // SAFETY: the instructions are there.
            unsafe { product_inside(size, a, b, out) }
        }

        #[target_feature(enable = $features)]
        fn product_inside(size: Size, a: LeftPairs<'_>, b: &Panels, out: Out<'_>) {
            let Size { rows, columns, depth } = size;
            let pairs = crate::pairs::pairs(depth);
            let tiles = rows.div_ceil(crate::tile::ROWS);
            // The last row, column and pair of A, by either layout.
            assert!(pairs == 0 || a.data.len() > (rows - 1) * a.row_step + (pairs - 1) * a.pair_step);
            for (panel, column) in (0..columns).step_by(WIDTH).enumerate() {
                let lines = b.pairs_of_panel(panel);
                let columns = WIDTH.min(columns - column);
                assert!(lines.len() >= pairs * b.width && columns <= b.width);
                let lines = (lines, b.width);
                for tile in 0..tiles {
                    let row = tile * rows / tiles;
                    let height = (tile + 1) * rows / tiles - row;
                    let place = Place { row, column, columns };
                    let a = LeftPairs { data: a.data.get(row * a.row_step..).unwrap_or_default(), ..a };
                    // SAFETY: the tile's rows and pairs of A and this panel's vectors lie inside their slices by
                    // the two assertions above; `product` has checked where the tile lies in C.
                    unsafe {
                        match (height, columns.div_ceil(LANES)) {
                            (1, 1) => tile_of::<1, 1>(pairs, a, lines, out, place),
                            (1, 2) => tile_of::<1, 2>(pairs, a, lines, out, place),
                            (1, 3) => tile_of::<1, 3>(pairs, a, lines, out, place),
                            (2, 1) => tile_of::<2, 1>(pairs, a, lines, out, place),
                            (2, 2) => tile_of::<2, 2>(pairs, a, lines, out, place),
                            (2, 3) => tile_of::<2, 3>(pairs, a, lines, out, place),
                            (3, 1) => tile_of::<3, 1>(pairs, a, lines, out, place),
                            (3, 2) => tile_of::<3, 2>(pairs, a, lines, out, place),
                            (3, 3) => tile_of::<3, 3>(pairs, a, lines, out, place),
                            (4, 1) => tile_of::<4, 1>(pairs, a, lines, out, place),
                            (4, 2) => tile_of::<4, 2>(pairs, a, lines, out, place),
                            (4, 3) => tile_of::<4, 3>(pairs, a, lines, out, place),
                            (5, 1) => tile_of::<5, 1>(pairs, a, lines, out, place),
                            (5, 2) => tile_of::<5, 2>(pairs, a, lines, out, place),
                            (5, 3) => tile_of::<5, 3>(pairs, a, lines, out, place),
                            (6, 1) => tile_of::<6, 1>(pairs, a, lines, out, place),
                            (6, 2) => tile_of::<6, 2>(pairs, a, lines, out, place),
                            (6, 3) => tile_of::<6, 3>(pairs, a, lines, out, place),
                            (7, 1) => tile_of::<7, 1>(pairs, a, lines, out, place),
                            (7, 2) => tile_of::<7, 2>(pairs, a, lines, out, place),
                            (7, 3) => tile_of::<7, 3>(pairs, a, lines, out, place),
                            (8, 1) => tile_of::<8, 1>(pairs, a, lines, out, place),
                            (8, 2) => tile_of::<8, 2>(pairs, a, lines, out, place),
                            (8, 3) => tile_of::<8, 3>(pairs, a, lines, out, place),
                            _ => unreachable!("tiles have 1 to 8 rows and 1 to 3 vectors"),
                        }
                    }
                }
            }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use tiled_product;

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
