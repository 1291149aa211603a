//! Matrix products of a size that fits the second-level cache, on one thread.
//!
//! `C[M, N] = init + A[M, K] B[K, N]`. A tile of up to 8 rows by 3 vectors of `C` (4 rows where there are 16 vector
//! registers) stays in registers over all of `K`; the columns of `B` that a tile needs, a *panel*, are read by all
//! row tiles in turn and stay in the first-level cache. `A` is read where it lies, by rows or by columns; `B` may be
//! packed beforehand ([`Panels`]) or read where it lies. In bf16 ([`Engine`]) both are packed.

pub use crate::{
    panels::Panels,
    tile::{Init, Left},
};

use crate::{
    bf16,
    engine::Engine,
    panels::{VECTORS, Width},
    tile::{Out, Place, ROWS, Size, store},
};
use pulp::{Arch, Simd, WithSimd};

/// `B[K, N]`.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a> {
    /// `B[k][n] = data[k * stride + n]`.
    Rows(&'a [f32], usize),
    /// Packed beforehand: faster where the matrix serves more than one tile of rows.
    Panels(&'a Panels),
}

/// `C = init + A B`; factors are rounded if `engine` says so. `c[m * stride + n]` for `m < rows`, `n < columns`;
/// `depth` is `K`.
///
/// # Panics
/// If a slice is too short for these sizes, or `b` is packed for another engine.
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
pub fn product(
    engine: impl Into<Engine>,
    rows: usize,
    columns: usize,
    depth: usize,
    a: Left<'_>,
    b: Right<'_>,
    init: Init<'_>,
    c: &mut [f32],
    stride: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    // Everything that the kernel reads and writes lies inside the slices: the last row starts at `stride * (n - 1)`.
    let spans = |outer: usize, stride: usize, inner: usize| {
        if outer == 0 || inner == 0 { 0 } else { (outer - 1) * stride + inner }
    };
    assert!(stride >= columns && c.len() >= spans(rows, stride, columns), "C is too short");
    match a {
        Left::Rows(data, stride) => assert!(data.len() >= spans(rows, stride, depth), "A is too short"),
        Left::Columns(data, stride) => assert!(data.len() >= spans(depth, stride, rows), "A is too short"),
    }
    match init {
        Init::Zero | Init::Sum => {}
        Init::Bias(bias) => assert!(bias.len() >= columns, "the bias is too short"),
        Init::BiasAnd(bias, other) => {
            assert!(bias.len() >= columns && other.len() >= spans(rows, stride, columns), "init is too short");
        }
    }
    let (engine, size) = (engine.into(), Size { rows, columns, depth });
    match b {
        Right::Panels(panels) => {
            let same = panels.depth == depth && panels.columns == columns && panels.bf16 == engine.products();
            assert!(same && panels.width.is_multiple_of(engine.arch().dispatch(Width) / VECTORS), "other panels");
        }
        Right::Rows(data, stride) => assert!(data.len() >= spans(depth, stride, columns), "B is too short"),
    }
    match (engine.products(), b) {
        (None, _) => product_f32(engine.arch(), size, a, b, init, c, stride),
        (Some(bf16), Right::Panels(panels)) => {
            bf16::product(bf16, engine.arch(), size, a, panels, Out { c: c.as_mut_ptr(), stride, init });
        }
        (Some(bf16), Right::Rows(data, b_stride)) => {
            let panels = Panels::pack(engine, data, b_stride, depth, columns);
            bf16::product(bf16, engine.arch(), size, a, &panels, Out { c: c.as_mut_ptr(), stride, init });
        }
    }
}

/// [`product`] of sizes that it has checked.
fn product_f32(arch: Arch, size: Size, a: Left<'_>, b: Right<'_>, init: Init<'_>, c: &mut [f32], stride: usize) {
    let (Size { rows, columns, depth }, width) = (size, arch.dispatch(Width));
    let (b, b_step, panel_step, columns_whole) = match b {
        Right::Panels(panels) => (&panels.data[..], panels.width, depth * panels.width, columns),
        // Whole vectors are read where they lie; a part of one would be read past its end.
        Right::Rows(data, stride) => (data, stride, width, columns / (width / VECTORS) * (width / VECTORS)),
    };
    if columns_whole > 0 {
        let size = Size { columns: columns_whole, ..size };
        let panels = PanelsAt { data: b, row_step: b_step, panel_step };
        arch.dispatch(Product { size, a, b: panels, out: Out { c: c.as_mut_ptr(), stride, init } });
    }
    if columns_whole < columns {
        let rest = columns - columns_whole;
        let packed = Panels::pack(arch, &b[columns_whole..], b_step, depth, rest);
        let init = match init {
            Init::Zero => Init::Zero,
            Init::Sum => Init::Sum,
            Init::Bias(bias) => Init::Bias(&bias[columns_whole..]),
            Init::BiasAnd(bias, other) => Init::BiasAnd(&bias[columns_whole..], &other[columns_whole..]),
        };
        let out = Out { c: c[columns_whole..].as_mut_ptr(), stride, init };
        let panels = PanelsAt { data: &packed.data, row_step: packed.width, panel_step: depth * packed.width };
        arch.dispatch(Product { size: Size { rows, columns: rest, depth }, a, b: panels, out });
    }
}

#[derive(Clone, Copy)]
struct PanelsAt<'a> {
    data: &'a [f32],
    row_step: usize,
    panel_step: usize,
}

/// A product whose sizes were checked by [`product`].
struct Product<'a> {
    size: Size,
    a: Left<'a>,
    b: PanelsAt<'a>,
    out: Out<'a>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { size, a, b, out } = self;
        let most = if S::REGISTER_COUNT >= 32 { ROWS } else { ROWS / 2 };
        let width = VECTORS * S::F32_LANES;
        // Rows in tiles of nearly equal height: 17 as 6, 6, 5 and not as 8, 8, 1.
        let tiles = size.rows.div_ceil(most);
        for (panel, column) in (0..size.columns).step_by(width).enumerate() {
            let columns = width.min(size.columns - column);
            let vectors = columns.div_ceil(S::F32_LANES);
            let b_at = panel * b.panel_step;
            for tile in 0..tiles {
                let row = tile * size.rows / tiles;
                let rows = (tile + 1) * size.rows / tiles - row;
                let place = Place { row, column, columns };
                macro_rules! run {
                    ($($m:literal)*) => {
                        match (rows, vectors) {
                            $(
                                ($m, 3) => tile_of::<S, $m, 3>(simd, size.depth, a, b, b_at, out, place),
                                ($m, 2) => tile_of::<S, $m, 2>(simd, size.depth, a, b, b_at, out, place),
                                ($m, _) => tile_of::<S, $m, 1>(simd, size.depth, a, b, b_at, out, place),
                            )*
                            _ => unreachable!("tiles have 1 to 8 rows"),
                        }
                    };
                }
                if S::REGISTER_COUNT >= 32 {
                    run!(1 2 3 4 5 6 7 8);
                } else {
                    run!(1 2 3 4);
                }
            }
        }
    }
}

#[inline(always)]
fn tile_of<S: Simd, const M: usize, const V: usize>(
    simd: S,
    depth: usize,
    a: Left<'_>,
    b: PanelsAt<'_>,
    b_at: usize,
    out: Out<'_>,
    place: Place,
) {
    let sums = match a {
        // SAFETY: `product` has checked that rows `place.row..place.row + M` of A and `V` vectors of every row of
        // this panel lie inside their slices; unpacked panels end with a whole vector, packed ones are padded to
        // their width.
        Left::Rows(data, stride) => unsafe {
            let a = data.as_ptr().add(place.row * stride);
            sums::<S, M, V>(simd, depth, a, stride, 1, b.data.as_ptr().add(b_at), b.row_step)
        },
        // SAFETY: as above.
        Left::Columns(data, stride) => unsafe {
            let a = data.as_ptr().add(place.row);
            sums::<S, M, V>(simd, depth, a, 1, stride, b.data.as_ptr().add(b_at), b.row_step)
        },
    };
    // SAFETY: `product` has checked that the tile lies inside C and inside what `init` names.
    unsafe { store::<S, M, V>(simd, sums, out, place) }
}

/// The sums over `depth` of `M` rows by `V` vectors.
///
/// # Safety
/// `a + m * a_row + k * a_step` is readable for `m < M`, `k < depth`; so are `V` vectors at `b + k * b_step`.
#[inline(always)]
unsafe fn sums<S: Simd, const M: usize, const V: usize>(
    simd: S,
    depth: usize,
    mut a: *const f32,
    a_row: usize,
    a_step: usize,
    mut b: *const f32,
    b_step: usize,
) -> [[S::f32s; V]; M] {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for _ in 0..depth {
        let mut line = [simd.splat_f32s(0.0); V];
        for (v, value) in line.iter_mut().enumerate() {
            // SAFETY: the caller's promise for B; vectors may lie anywhere, so the read is unaligned.
            *value = unsafe { b.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned() };
        }
        for (m, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise for A.
            let value = simd.splat_f32s(unsafe { *a.add(m * a_row) });
            for (sum, line) in row.iter_mut().zip(line) {
                *sum = simd.mul_add_e_f32s(value, line, *sum);
            }
        }
        // Past the last row the pointers are not read; `wrapping_add` may leave the slice.
        a = a.wrapping_add(a_step);
        b = b.wrapping_add(b_step);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn products_equal_the_plain_sums(
            rows in 1..40_usize, columns in 1..120_usize, depth in 0..70_usize, extra in 0..5_usize,
            seed in 0..1000_usize, by_columns: bool, packing in 0..3, init in 0..4,
        ) {
            let (a_stride, b_stride, c_stride) =
                (if by_columns { rows } else { depth } + extra, columns + extra, columns + extra);
            let a = values((if by_columns { depth } else { rows }) * a_stride, seed);
            let b = values(depth.max(1) * b_stride, seed + 1);
            let transposed: Vec<f32> =
                (0..columns * depth).map(|i| b[i % depth * b_stride + i / depth]).collect();
            let bias = values(columns, seed + 2);
            let other = values(rows * c_stride, seed + 3);
            let before = values(rows * c_stride, seed + 4);
            for engine in Engine::every() {
                let panels = match packing {
                    0 => None,
                    1 => Some(Panels::pack(engine, &b, b_stride, depth, columns)),
                    _ => Some(Panels::pack_transposed(engine, &transposed, depth, depth, columns)),
                };
                let right = panels.as_ref().map_or(Right::Rows(&b, b_stride), Right::Panels);
                let left = if by_columns { Left::Columns(&a, a_stride) } else { Left::Rows(&a, a_stride) };
                let start = match init {
                    0 => Init::Zero,
                    1 => Init::Sum,
                    2 => Init::Bias(&bias),
                    _ => Init::BiasAnd(&bias, &other),
                };
                let mut c = before.clone();
                product(engine, rows, columns, depth, left, right, start, &mut c, c_stride);
                for (i, found) in c.iter().enumerate() {
                    let (row, column) = (i / c_stride, i % c_stride);
                    if column >= columns {
                        prop_assert_eq!(*found, before[i], "outside the product");
                        continue;
                    }
                    let base = match init {
                        0 => 0.0,
                        1 => f64::from(before[i]),
                        2 => f64::from(bias[column]),
                        _ => f64::from(bias[column]) + f64::from(other[i]),
                    };
                    let term = |k: usize| {
                        let left = if by_columns { a[k * a_stride + row] } else { a[row * a_stride + k] };
                        f64::from(left) * f64::from(b[k * b_stride + column])
                    };
                    let expected = base + (0..depth).map(term).sum::<f64>();
                    // What rounding in any order can do to a sum of that many numbers, and to their factors.
                    let terms = (0..depth).map(|k| term(k).abs()).sum::<f64>();
                    let factors = if engine.products().is_some() { 2.0_f64.powi(-7) * terms * 1.01 } else { 0.0 };
                    let size = base.abs() + 2.0 + terms;
                    let bound = (depth + 3) as f64 * f64::from(f32::EPSILON) * size + factors;
                    let error = (f64::from(*found) - expected).abs();
                    prop_assert!(error < bound, "{engine:?}: {found} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn factors_that_bf16_holds_give_the_same_in_all_engines() {
        // Small whole numbers: products and sums are exact in f32, so every order gives them.
        let (rows, depth, columns) = (19, 37, 101);
        let whole = |count: usize| -> Vec<f32> { (0..count).map(|i| (i * 31 % 17) as f32 - 8.0).collect() };
        let (a, b) = (whole(rows * depth), whole(depth * columns));
        let products: Vec<Vec<f32>> = Engine::every()
            .into_iter()
            .map(|engine| {
                let mut c = vec![0.0; rows * columns];
                let (a, b) = (Left::Rows(&a, depth), Right::Rows(&b, columns));
                product(engine, rows, columns, depth, a, b, Init::Zero, &mut c, columns);
                c
            })
            .collect();
        assert!(products.iter().all(|found| *found == products[0]));
        assert!(products[0].iter().any(|v| *v > 100.0));
    }

    #[test]
    #[should_panic(expected = "A is too short")]
    fn short_slices_are_refused() {
        let (a, b, mut c) = ([0.0; 5], [0.0; 6], [0.0; 4]);
        product(Arch::new(), 2, 2, 3, Left::Rows(&a, 3), Right::Rows(&b, 2), Init::Zero, &mut c, 2);
    }
}
