//! Products for aarch64: NEON alone, with the dot products of ARMv8.2, and with the matrix products of ARMv8.6.
//!
//! A block of rows by one tile of 16 outputs is kept in registers while the inputs go by. The blocks are inline
//! assembly: two of the three instructions have no stable intrinsics, and around the third the compiler moves
//! registers about. One instruction loads a step of B. Rounds of several steps take most of the inputs; what is left
//! goes by in smaller rounds and single steps.

use super::blocks::{Blocks, Place, in_blocks};
use crate::native::product::Product;
use core::{arch::asm, array};

/// NEON: blocks of 2 rows, each output in two partial sums, 16 of the 32 registers.
pub fn neon(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[neon_1, neon_2];
    // SAFETY: NEON is part of the target (the module is not compiled otherwise).
    unsafe { in_blocks(product, BLOCKS) }
}

/// `sdot`: blocks of 4 rows, 16 of the 32 registers; the others hold 32 inputs of each row and two steps of B.
pub fn dotprod(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[dotprod_1, dotprod_2, dotprod_3, dotprod_4];
    // SAFETY: the set that holds this function is handed out only where the processor has the dot products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// `smmla`: blocks of 4 rows in two pairs, 16 of the 32 registers.
pub fn i8mm(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[i8mm_1, i8mm_2, i8mm_3, i8mm_4];
    // SAFETY: the set that holds this function is handed out only where the processor has the matrix products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// The rows' first values.
fn rows<const R: usize>(place: &Place) -> [*const i8; R] {
    array::from_fn(|row| place.a.wrapping_add(row * place.lda))
}

/// `asm!` of the body of one block of R rows, in a loop over all blocks. The body finds `b` at the first step, and
/// leaves the rows' pointers behind their inputs and `c` behind the block; it may write all vector registers and `t`.
macro_rules! blocks {
    ($place:ident, $count:ident, $rows:literal [$($row:ident)*], $period:literal, $($body:tt)*) => {{
        let [$($row),*] = rows::<$rows>(&$place);
        // From behind a row's inputs to the row of the next block.
        let skip = ($rows * $place.lda).wrapping_sub($place.steps * 4);
        asm!(
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

/// The inputs of one row and step, by a step of B.
macro_rules! sdots {
    (($b0:literal $b1:literal $b2:literal $b3:literal) $a:literal [$lane:literal]
        $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "sdot v", $s0, ".4s, v", $b0, ".16b, v", $a, ".4b[", $lane, "]\n", "sdot v", $s1, ".4s, v", $b1,
            ".16b, v", $a, ".4b[", $lane, "]\n", "sdot v", $s2, ".4s, v", $b2, ".16b, v", $a, ".4b[", $lane, "]\n",
            "sdot v", $s3, ".4s, v", $b3, ".16b, v", $a, ".4b[", $lane, "]\n",
        )
    };
}

/// Four steps: the 16 inputs of each row in one register.
macro_rules! four_steps {
    ($($a:literal ($($sum:literal)*))*) => {
        concat!(
            "ld1 {{v24.16b-v27.16b}}, [{b}], {step}\n",
            "ld1 {{v28.16b-v31.16b}}, [{b}], {step}\n",
            $(sdots!((24 25 26 27) $a [0] $($sum)*),)*
            "ld1 {{v24.16b-v27.16b}}, [{b}], {step}\n",
            $(sdots!((28 29 30 31) $a [1] $($sum)*),)*
            "ld1 {{v28.16b-v31.16b}}, [{b}], {step}\n",
            $(sdots!((24 25 26 27) $a [2] $($sum)*),)*
            $(sdots!((28 29 30 31) $a [3] $($sum)*),)*
        )
    };
}

/// `$name`: blocks of `sdot`, 16 steps a round. A row is the name of its pointer, its two registers of inputs and
/// its four of sums. v24 to v31: two steps of B.
macro_rules! dotprod_blocks {
    ($name:ident, $count:literal, $($row:ident $a0:literal $a1:literal [$($sum:literal)*] $from:literal-$to:literal),*) => {
        /// # Safety
        /// As [`Blocks`] says.
        #[target_feature(enable = "dotprod")]
        unsafe fn $name(place: Place, count: usize) {
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written.
            unsafe {
                blocks!(place, count, $count [$($row)*], 16,
                    $(zeros!($($sum)*),)*
                    "mov {t}, {rounds}",
                    "cbz {t}, 3f",
                    "2:",
                    $(concat!("ldp q", $a0, ", q", $a1, ", [{", stringify!($row), "}], #32"),)*
                    four_steps!($($a0 ($($sum)*))*),
                    four_steps!($($a1 ($($sum)*))*),
                    $(concat!("ldp q", $a0, ", q", $a1, ", [{", stringify!($row), "}], #32"),)*
                    four_steps!($($a0 ($($sum)*))*),
                    four_steps!($($a1 ($($sum)*))*),
                    "subs {t}, {t}, #1",
                    "b.ne 2b",
                    "3:",
                    "tbz {rest}, #3, 7f",
                    $(concat!("ldp q", $a0, ", q", $a1, ", [{", stringify!($row), "}], #32"),)*
                    four_steps!($($a0 ($($sum)*))*),
                    four_steps!($($a1 ($($sum)*))*),
                    "7:",
                    "tbz {rest}, #2, 4f",
                    $(concat!("ldr q", $a0, ", [{", stringify!($row), "}], #16"),)*
                    four_steps!($($a0 ($($sum)*))*),
                    "4:",
                    "ands {t}, {rest}, #3",
                    "b.eq 6f",
                    "5:",
                    $(concat!("ld1r {{v", $a0, ".4s}}, [{", stringify!($row), "}], #4"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!((28 29 30 31) $a0 [0] $($sum)*),)*
                    "subs {t}, {t}, #1",
                    "b.ne 5b",
                    "6:",
                    $(concat!("st1 {{v", $from, ".4s-v", $to, ".4s}}, [{c}], {line}"),)*
                );
            }
        }
    };
}

dotprod_blocks!(dotprod_1, 1, a0 16 17 [0 1 2 3] 0-3);
dotprod_blocks!(dotprod_2, 2, a0 16 17 [0 1 2 3] 0-3, a1 18 19 [4 5 6 7] 4-7);
dotprod_blocks!(dotprod_3, 3, a0 16 17 [0 1 2 3] 0-3, a1 18 19 [4 5 6 7] 4-7, a2 20 21 [8 9 10 11] 8-11);
dotprod_blocks!(dotprod_4, 4, a0 16 17 [0 1 2 3] 0-3, a1 18 19 [4 5 6 7] 4-7, a2 20 21 [8 9 10 11] 8-11,
    a3 22 23 [12 13 14 15] 12-15);

/// 16 products of a register of B with a row's inputs.
macro_rules! widening {
    ($operation:literal ($t0:literal $t1:literal) $b:literal $a:literal) => {
        concat!(
            $operation, " v", $t0, ".8h, v", $b, ".8b, v", $a, ".8b\n", $operation, "2 v", $t1, ".8h, v", $b,
            ".16b, v", $a, ".16b\n",
        )
    };
}

/// Adds neighbours in two registers of 16-bit sums to two of partial sums.
macro_rules! pairs {
    ($s0:literal $s1:literal ($t0:literal $t1:literal)) => {
        concat!("sadalp v", $s0, ".4s, v", $t0, ".8h\n", "sadalp v", $s1, ".4s, v", $t1, ".8h\n")
    };
}

/// Partial sums to sums, in the first four registers.
macro_rules! whole {
    ($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) => {
        concat!(
            "addp v", $s0, ".4s, v", $s0, ".4s, v", $s1, ".4s\n", "addp v", $s1, ".4s, v", $s2, ".4s, v", $s3,
            ".4s\n", "addp v", $s2, ".4s, v", $s4, ".4s, v", $s5, ".4s\n", "addp v", $s3, ".4s, v", $s6, ".4s, v",
            $s7, ".4s\n",
        )
    };
}

/// Two steps: `smull` and `smlal` give 16-bit sums of two products, at most 2 * 128 * 127 in magnitude, and `sadalp`
/// adds neighbours to a partial sum of 32 bits: 16 products in 3 instructions.
macro_rules! two_steps {
    ($($row:ident ($a0:literal $a1:literal) $t:tt
        [$s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal])*) => {
        concat!(
            $("ld2r {{v", $a0, ".4s, v", $a1, ".4s}}, [{", stringify!($row), "}], #8\n",)*
            "ld1 {{v20.16b-v23.16b}}, [{b}], {step}\n",
            "ld1 {{v24.16b-v27.16b}}, [{b}], {step}\n",
            $(widening!("smull" $t 20 $a0),)* $(widening!("smlal" $t 24 $a1),)* $(pairs!($s0 $s1 $t),)*
            $(widening!("smull" $t 21 $a0),)* $(widening!("smlal" $t 25 $a1),)* $(pairs!($s2 $s3 $t),)*
            $(widening!("smull" $t 22 $a0),)* $(widening!("smlal" $t 26 $a1),)* $(pairs!($s4 $s5 $t),)*
            $(widening!("smull" $t 23 $a0),)* $(widening!("smlal" $t 27 $a1),)* $(pairs!($s6 $s7 $t),)*
        )
    };
}

/// One step, as the first of two.
macro_rules! one_step {
    ($($row:ident ($a0:literal $a1:literal) $t:tt
        [$s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal])*) => {
        concat!(
            $("ld1r {{v", $a0, ".4s}}, [{", stringify!($row), "}], #4\n",)*
            "ld1 {{v20.16b-v23.16b}}, [{b}]\n",
            $(widening!("smull" $t 20 $a0), pairs!($s0 $s1 $t),)*
            $(widening!("smull" $t 21 $a0), pairs!($s2 $s3 $t),)*
            $(widening!("smull" $t 22 $a0), pairs!($s4 $s5 $t),)*
            $(widening!("smull" $t 23 $a0), pairs!($s6 $s7 $t),)*
        )
    };
}

/// `$name`: blocks of NEON, four steps a round. A row is the name of its pointer, its two registers of inputs, two of
/// 16-bit sums, and its 8 of partial sums. v20 to v27: two steps of B.
macro_rules! neon_blocks {
    ($name:ident, $count:literal, $($row:ident $a:tt $t:tt [$($sum:literal)*] $from:literal-$to:literal),*) => {
        /// # Safety
        /// As [`Blocks`] says.
        unsafe fn $name(place: Place, count: usize) {
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written. NEON is part of the target.
            unsafe {
                blocks!(place, count, $count [$($row)*], 4,
                    $(zeros!($($sum)*),)*
                    "mov {t}, {rounds}",
                    "cbz {t}, 3f",
                    "2:",
                    two_steps!($($row $a $t [$($sum)*])*),
                    two_steps!($($row $a $t [$($sum)*])*),
                    "subs {t}, {t}, #1",
                    "b.ne 2b",
                    "3:",
                    "tbz {rest}, #1, 4f",
                    two_steps!($($row $a $t [$($sum)*])*),
                    "4:",
                    "tbz {rest}, #0, 5f",
                    one_step!($($row $a $t [$($sum)*])*),
                    "5:",
                    $(
                        whole!($($sum)*),
                        concat!("st1 {{v", $from, ".4s-v", $to, ".4s}}, [{c}], {line}"),
                    )*
                );
            }
        }
    };
}

neon_blocks!(neon_1, 1, a0 (16 17) (28 29) [0 1 2 3 4 5 6 7] 0-3);
neon_blocks!(neon_2, 2, a0 (16 17) (28 29) [0 1 2 3 4 5 6 7] 0-3, a1 (18 19) (30 31) [8 9 10 11 12 13 14 15] 8-11);

/// v16 to v19 and v20 to v23, two steps, to pairs of outputs by 8 inputs in v24 to v29, v16, v17.
macro_rules! interleaved {
    () => {
        concat!(
            "zip1 v24.4s, v16.4s, v20.4s\n",
            "zip2 v25.4s, v16.4s, v20.4s\n",
            "zip1 v26.4s, v17.4s, v21.4s\n",
            "zip2 v27.4s, v17.4s, v21.4s\n",
            "zip1 v28.4s, v18.4s, v22.4s\n",
            "zip2 v29.4s, v18.4s, v22.4s\n",
            "zip1 v16.4s, v19.4s, v23.4s\n",
            "zip2 v17.4s, v19.4s, v23.4s\n",
        )
    };
}

/// 8 inputs of a pair of rows by 16 outputs.
macro_rules! smmlas {
    ($a:literal
        $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) => {
        concat!(
            "smmla v",
            $s0,
            ".4s, v",
            $a,
            ".16b, v24.16b\n",
            "smmla v",
            $s1,
            ".4s, v",
            $a,
            ".16b, v25.16b\n",
            "smmla v",
            $s2,
            ".4s, v",
            $a,
            ".16b, v26.16b\n",
            "smmla v",
            $s3,
            ".4s, v",
            $a,
            ".16b, v27.16b\n",
            "smmla v",
            $s4,
            ".4s, v",
            $a,
            ".16b, v28.16b\n",
            "smmla v",
            $s5,
            ".4s, v",
            $a,
            ".16b, v29.16b\n",
            "smmla v",
            $s6,
            ".4s, v",
            $a,
            ".16b, v16.16b\n",
            "smmla v",
            $s7,
            ".4s, v",
            $a,
            ".16b, v17.16b\n",
        )
    };
}

/// Writes the rows of a pair: 2 by 2 matrices to rows.
macro_rules! unpaired {
    (($($sum:literal)*) one) => { unpaired!("zip1" $($sum)*) };
    (($($sum:literal)*) both) => { concat!(unpaired!("zip1" $($sum)*), unpaired!("zip2" $($sum)*)) };
    ($zip:literal
        $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) => {
        concat!(
            $zip, " v16.2d, v", $s0, ".2d, v", $s1, ".2d\n",
            $zip, " v17.2d, v", $s2, ".2d, v", $s3, ".2d\n",
            $zip, " v18.2d, v", $s4, ".2d, v", $s5, ".2d\n",
            $zip, " v19.2d, v", $s6, ".2d, v", $s7, ".2d\n",
            "st1 {{v16.4s-v19.4s}}, [{c}], {line}\n",
        )
    };
}

/// The inputs of two rows side by side: `$load` gives the first row's, `$part` is the second's part of the register.
/// A row without a partner is its own.
macro_rules! paired {
    ($load:literal $part:literal $bytes:literal $a:literal $first:ident $second:ident) => {
        concat!(
            "ldr ",
            $load,
            $a,
            ", [{",
            stringify!($first),
            "}], #",
            $bytes,
            "\n",
            "ld1 {{v",
            $a,
            $part,
            "}}[",
            "1], [{",
            stringify!($second),
            "}], #",
            $bytes,
            "\n",
        )
    };
    ($load:literal $part:literal $bytes:literal $a:literal $first:ident) => {
        concat!("ldr ", $load, $a, ", [{", stringify!($first), "}], #", $bytes, "\n")
    };
}

/// `$name`: blocks of `smmla`, two steps a round: interleaving the words of two steps of B puts 8 inputs of an output
/// together. A pair is the names of its rows' pointers, its register of inputs, and its 8 of sums, 2 rows by 2 outputs
/// each. A single row's partner is whatever is in the register, and its results are not written.
macro_rules! i8mm_blocks {
    ($name:ident, $count:literal [$($row:ident)*], $(($($member:ident)*) $a:literal $s:tt $writes:ident),*) => {
        /// # Safety
        /// As [`Blocks`] says.
        #[target_feature(enable = "i8mm")]
        unsafe fn $name(place: Place, count: usize) {
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written.
            unsafe {
                blocks!(place, count, $count [$($row)*], 2,
                    $(i8mm_blocks!(@zeros $s),)*
                    "mov {t}, {rounds}",
                    "cbz {t}, 3f",
                    "2:",
                    $(paired!("d" ".d" 8 $a $($member)*),)*
                    "ld1 {{v16.16b-v19.16b}}, [{b}], {step}",
                    "ld1 {{v20.16b-v23.16b}}, [{b}], {step}",
                    interleaved!(),
                    $(i8mm_blocks!(@sums $a $s),)*
                    "subs {t}, {t}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {rest}, 4f",
                    // The step after the last is zeros; a row's inputs are the even words of the register.
                    $(paired!("s" ".s" 4 $a $($member)*), concat!("zip1 v", $a, ".4s, v", $a, ".4s, v", $a, ".4s"),)*
                    "ld1 {{v16.16b-v19.16b}}, [{b}]",
                    zeros!(20 21 22 23),
                    interleaved!(),
                    $(i8mm_blocks!(@sums $a $s),)*
                    "4:",
                    $(unpaired!($s $writes),)*
                );
            }
        }
    };
    (@zeros ($($sum:literal)*)) => { zeros!($($sum)*) };
    (@sums $a:literal ($($sum:literal)*)) => { smmlas!($a $($sum)*) };
}

i8mm_blocks!(i8mm_1, 1 [a0], (a0) 30 (0 1 2 3 4 5 6 7) one);
i8mm_blocks!(i8mm_2, 2 [a0 a1], (a0 a1) 30 (0 1 2 3 4 5 6 7) both);
i8mm_blocks!(i8mm_3, 3 [a0 a1 a2], (a0 a1) 30 (0 1 2 3 4 5 6 7) both, (a2) 31 (8 9 10 11 12 13 14 15) one);
i8mm_blocks!(i8mm_4, 4 [a0 a1 a2 a3], (a0 a1) 30 (0 1 2 3 4 5 6 7) both, (a2 a3) 31 (8 9 10 11 12 13 14 15) both);
