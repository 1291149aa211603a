//! What the blocks of the three products for aarch64 share: the loop over blocks below each other, in inline
//! assembly.
//!
//! A block of rows by one tile of 16 outputs is kept in registers while the inputs go by. The blocks are inline
//! assembly: `sdot` and `smmla` have no stable intrinsics, and around those of NEON the compiler moves registers
//! about. One instruction loads a step of B. Rounds of several steps take most of the inputs; what is left goes by in
//! smaller rounds and single steps.

use super::blocks::Place;

/// The rows' first values.
pub(super) fn rows<const R: usize>(place: &Place) -> [*const i8; R] {
    core::array::from_fn(|row| place.a.wrapping_add(row * place.lda))
}

/// `asm!` of the body of one block of R rows, in a loop over all blocks. The body finds `b` at the first step, and
/// leaves the rows' pointers behind their inputs and `c` behind the block; it may write all vector registers and `t`.
macro_rules! blocks {
    ($place:ident, $count:ident, $rows:literal [$($row:ident)*], $period:literal, $($body:tt)*) => {{
        let [$($row),*] = $crate::native::kernels::block_asm::rows::<$rows>(&$place);
        // From behind a row's inputs to the row of the next block.
        let skip = ($rows * $place.lda).wrapping_sub($place.steps * 4);
        core::arch::asm!(
            "9:",
            "mov {b}, {first}",
            $($body)*
            $(concat!("add {", stringify!($row), "}, {", stringify!($row), "}, {skip}"),)*
            "subs {count}, {count}, #1",
            "b.ne 9b",
            $($row = inout(reg) $row => _,)*
            skip = in(reg) skip, first = in(reg) $place.b, b = out(reg) _, step = in(reg) $place.b_step,
            c = inout(reg) $place.c => _, line = in(reg) $place.ldc * 4, t = out(reg) _,
            rounds = in(reg) $place.steps / $period, rest = in(reg) $place.steps % $period,
            count = inout(reg) $count => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
            out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _, options(nostack),
        );
    }};
}

/// Zero in each register named.
macro_rules! zeros {
    ($($register:literal)*) => { concat!($("movi v", $register, ".4s, #0\n"),*) };
}

pub(super) use {blocks, zeros};
