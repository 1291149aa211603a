//! Products for aarch64: NEON alone, with the dot products of ARMv8.2, and with the matrix products of ARMv8.6.
//!
//! A block of rows by one tile of 16 outputs is kept in registers while the inputs go by. The blocks are inline
//! assembly: two of the three instructions have no stable intrinsics, and around the third the compiler moves
//! registers about. One instruction loads a step of B; what is left of the inputs, if `k` is no multiple of 8 or 16,
//! goes by in single steps.

use super::blocks::{Block, Place, in_blocks};
use crate::native::product::Product;
use core::{arch::asm, array};

/// NEON: blocks of 2 rows, each output in two partial sums, 16 of the 32 registers.
pub fn neon(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] = &[neon_1, neon_2];
    // SAFETY: NEON is part of the target (the module is not compiled otherwise).
    unsafe { in_blocks(product, BLOCKS) }
}

/// `sdot`: blocks of 5 rows, 20 of the 32 registers, so that four are left for a step of B.
pub fn dotprod(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] = &[dotprod_1, dotprod_2, dotprod_3, dotprod_4, dotprod_5];
    // SAFETY: the set that holds this function is handed out only where the processor has the dot products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// `smmla`: blocks of 4 rows in two pairs, 16 of the 32 registers.
pub fn i8mm(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] = &[i8mm_1, i8mm_2, i8mm_3, i8mm_4];
    // SAFETY: the set that holds this function is handed out only where the processor has the matrix products.
    unsafe { in_blocks(product, BLOCKS) }
}

/// The rows' first values.
fn rows<const R: usize>(place: &Place) -> [*const i8; R] {
    array::from_fn(|row| place.a.wrapping_add(row * place.lda))
}

/// `asm!` that may write all vector registers. `c` and `step` are the strides of C and B in bytes.
macro_rules! vectors {
    ($place:expr, $($arguments:tt)*) => {
        asm!($($arguments)* b = inout(reg) $place.b => _, step = in(reg) $place.b_step, c = inout(reg) $place.c => _,
            line = in(reg) $place.ldc * 4,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
            out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _, options(nostack))
    };
}

/// Lines of assembly, the same for each register named.
macro_rules! each {
    ($before:literal [$($register:literal)*] $after:literal) => { concat!($($before, $register, $after, "\n"),*) };
}

/// `$name`: a block of rows of `sdot`, four steps a round. A row is the name of its pointer, its register of inputs
/// and its four of sums. v28 to v31: a step of B.
macro_rules! dotprod_block {
    ($name:ident, $count:literal, $($row:ident $a:literal [$($sum:literal)*] $from:literal-$to:literal),*) => {
        /// # Safety
        /// As [`Block`] says.
        #[target_feature(enable = "dotprod")]
        unsafe fn $name(place: Place) {
            let [$($row),*] = rows::<$count>(&place);
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written.
            unsafe {
                vectors!(place,
                    $(each!("movi v" [$($sum)*] ".4s, #0"),)*
                    "cbz {rounds}, 3f",
                    "2:",
                    $(concat!("ldr q", $a, ", [{", stringify!($row), "}], #16"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!([$($sum)*] $a "0"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!([$($sum)*] $a "1"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!([$($sum)*] $a "2"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!([$($sum)*] $a "3"),)*
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {rest}, 5f",
                    "4:",
                    $(concat!("ld1r {{v", $a, ".4s}}, [{", stringify!($row), "}], #4"),)*
                    "ld1 {{v28.16b-v31.16b}}, [{b}], {step}",
                    $(sdots!([$($sum)*] $a "0"),)*
                    "subs {rest}, {rest}, #1",
                    "b.ne 4b",
                    "5:",
                    $(concat!("st1 {{v", $from, ".4s-v", $to, ".4s}}, [{c}], {line}"),)*
                    $($row = inout(reg) $row => _,)*
                    rounds = inout(reg) place.steps / 4 => _, rest = inout(reg) place.steps % 4 => _,
                );
            }
        }
    };
}

/// The inputs of one row and step, by a step of B.
macro_rules! sdots {
    ([$s0:literal $s1:literal $s2:literal $s3:literal] $a:literal $lane:literal) => {
        concat!(
            "sdot v",
            $s0,
            ".4s, v28.16b, v",
            $a,
            ".4b[",
            $lane,
            "]\n",
            "sdot v",
            $s1,
            ".4s, v29.16b, v",
            $a,
            ".4b[",
            $lane,
            "]\n",
            "sdot v",
            $s2,
            ".4s, v30.16b, v",
            $a,
            ".4b[",
            $lane,
            "]\n",
            "sdot v",
            $s3,
            ".4s, v31.16b, v",
            $a,
            ".4b[",
            $lane,
            "]\n",
        )
    };
}

dotprod_block!(dotprod_1, 1, a0 20 [0 1 2 3] 0-3);
dotprod_block!(dotprod_2, 2, a0 20 [0 1 2 3] 0-3, a1 21 [4 5 6 7] 4-7);
dotprod_block!(dotprod_3, 3, a0 20 [0 1 2 3] 0-3, a1 21 [4 5 6 7] 4-7, a2 22 [8 9 10 11] 8-11);
dotprod_block!(dotprod_4, 4, a0 20 [0 1 2 3] 0-3, a1 21 [4 5 6 7] 4-7, a2 22 [8 9 10 11] 8-11,
    a3 23 [12 13 14 15] 12-15);
dotprod_block!(dotprod_5, 5, a0 20 [0 1 2 3] 0-3, a1 21 [4 5 6 7] 4-7, a2 22 [8 9 10 11] 8-11,
    a3 23 [12 13 14 15] 12-15, a4 24 [16 17 18 19] 16-19);

/// `$name`: a block of rows, two steps a round: `smull` and `smlal` give 16-bit sums of two products, at most
/// 2 * 128 * 127 in magnitude, and `sadalp` adds neighbours to a partial sum of 32 bits: 16 products in 3
/// instructions. A row is the name of its pointer, its two registers of inputs, two of 16-bit sums, its 8 of partial
/// sums, and four for sums. v20 to v23: this step of B; v24 to v27: the next.
macro_rules! neon_block {
    ($name:ident, $count:literal, $(
        $row:ident ($a0:literal $a1:literal) $t:tt [$($sum:literal)*] $s:tt $from:literal-$to:literal
    ),*) => {
        /// # Safety
        /// As [`Block`] says.
        unsafe fn $name(place: Place) {
            let [$($row),*] = rows::<$count>(&place);
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written. NEON is part of the target.
            unsafe {
                vectors!(place,
                    $(each!("movi v" [$($sum)*] ".4s, #0"),)*
                    "cbz {rounds}, 3f",
                    "2:",
                    $(concat!("ld2r {{v", $a0, ".4s, v", $a1, ".4s}}, [{", stringify!($row), "}], #8"),)*
                    "ld1 {{v20.16b-v23.16b}}, [{b}], {step}",
                    "ld1 {{v24.16b-v27.16b}}, [{b}], {step}",
                    $(widening!("smull" $t 20 $a0),)*
                    $(widening!("smlal" $t 24 $a1),)*
                    $(pairs!($s 0 $t),)*
                    $(widening!("smull" $t 21 $a0),)*
                    $(widening!("smlal" $t 25 $a1),)*
                    $(pairs!($s 1 $t),)*
                    $(widening!("smull" $t 22 $a0),)*
                    $(widening!("smlal" $t 26 $a1),)*
                    $(pairs!($s 2 $t),)*
                    $(widening!("smull" $t 23 $a0),)*
                    $(widening!("smlal" $t 27 $a1),)*
                    $(pairs!($s 3 $t),)*
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {rest}, 4f",
                    $(concat!("ld1r {{v", $a0, ".4s}}, [{", stringify!($row), "}]"),)*
                    "ld1 {{v20.16b-v23.16b}}, [{b}]",
                    $(widening!("smull" $t 20 $a0), pairs!($s 0 $t),)*
                    $(widening!("smull" $t 21 $a0), pairs!($s 1 $t),)*
                    $(widening!("smull" $t 22 $a0), pairs!($s 2 $t),)*
                    $(widening!("smull" $t 23 $a0), pairs!($s 3 $t),)*
                    "4:",
                    $(
                        whole!($s),
                        concat!("st1 {{v", $from, ".4s-v", $to, ".4s}}, [{c}], {line}"),
                    )*
                    $($row = inout(reg) $row => _,)*
                    rounds = inout(reg) place.steps / 2 => _, rest = in(reg) place.steps % 2,
                );
            }
        }
    };
}

/// 16 products of a register of B with a row's inputs.
macro_rules! widening {
    ($operation:literal ($t0:literal $t1:literal) $b:literal $a:literal) => {
        concat!(
            $operation, " v", $t0, ".8h, v", $b, ".8b, v", $a, ".8b\n", $operation, "2 v", $t1, ".8h, v", $b,
            ".16b, v", $a, ".16b\n",
        )
    };
}

/// Adds a register of B's 16-bit sums to its partial sums.
macro_rules! pairs {
    (($s0:literal $s1:literal $($s:literal)*) 0 $t:tt) => { pairs!($s0 $s1 $t) };
    (($s0:literal $s1:literal $s2:literal $s3:literal $($s:literal)*) 1 $t:tt) => { pairs!($s2 $s3 $t) };
    (($a:literal $b:literal $c:literal $d:literal $s4:literal $s5:literal $($s:literal)*) 2 $t:tt) => {
        pairs!($s4 $s5 $t)
    };
    (($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $s6:literal $s7:literal) 3 $t:tt) => {
        pairs!($s6 $s7 $t)
    };
    ($s0:literal $s1:literal ($t0:literal $t1:literal)) => {
        concat!("sadalp v", $s0, ".4s, v", $t0, ".8h\n", "sadalp v", $s1, ".4s, v", $t1, ".8h\n")
    };
}

/// Partial sums to sums, in the first four registers.
macro_rules! whole {
    (($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal)) => {
        concat!(
            "addp v", $s0, ".4s, v", $s0, ".4s, v", $s1, ".4s\n", "addp v", $s1, ".4s, v", $s2, ".4s, v", $s3,
            ".4s\n", "addp v", $s2, ".4s, v", $s4, ".4s, v", $s5, ".4s\n", "addp v", $s3, ".4s, v", $s6, ".4s, v",
            $s7, ".4s\n",
        )
    };
}

neon_block!(neon_1, 1, a0 (16 17) (28 29) [0 1 2 3 4 5 6 7] (0 1 2 3 4 5 6 7) 0-3);
neon_block!(neon_2, 2, a0 (16 17) (28 29) [0 1 2 3 4 5 6 7] (0 1 2 3 4 5 6 7) 0-3,
    a1 (18 19) (30 31) [8 9 10 11 12 13 14 15] (8 9 10 11 12 13 14 15) 8-11);

/// `$name`: a block of rows in pairs, two steps a round: interleaving the words of two steps of B puts 8 inputs of an
/// output together. A pair is its number, the names of its rows' pointers, its register of inputs, and its 8 of sums,
/// 2 rows by 2 outputs each. A row without a partner is its own, and its second result is not written.
macro_rules! i8mm_block {
    ($name:ident, $count:literal, $pointers:tt, $($first:ident $second:ident $a:literal $s:tt $writes:tt),*) => {
        /// # Safety
        /// As [`Block`] says.
        #[target_feature(enable = "i8mm")]
        unsafe fn $name(place: Place) {
            let $pointers = rows::<$count>(&place);
            // SAFETY: `steps` of B and as many quarters of A in all rows can be read, and the rows by one tile of C
            // written.
            unsafe {
                $(let ($first, $second) = pair!($first $second $writes);)*
                vectors!(place,
                    $(zeros!($s),)*
                    "cbz {rounds}, 3f",
                    "2:",
                    $(concat!("ldr d", $a, ", [{", stringify!($first), "}], #8"),)*
                    $(concat!("ld1 {{v", $a, ".d}}[1], [{", stringify!($second), "}], #8"),)*
                    "ld1 {{v16.16b-v19.16b}}, [{b}], {step}",
                    "ld1 {{v20.16b-v23.16b}}, [{b}], {step}",
                    interleaved!(),
                    $(smmlas!($s $a),)*
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    "3:",
                    "cbz {rest}, 4f",
                    // The step after the last is zeros.
                    $(concat!("ldr s", $a, ", [{", stringify!($first), "}]"),)*
                    $(concat!("ld1 {{v", $a, ".s}}[2], [{", stringify!($second), "}]"),)*
                    "ld1 {{v16.16b-v19.16b}}, [{b}]",
                    each!("movi v" [20 21 22 23] ".4s, #0"),
                    interleaved!(),
                    $(smmlas!($s $a),)*
                    "4:",
                    $(unpaired!($s $writes),)*
                    $($first = inout(reg) $first => _, $second = inout(reg) $second => _,)*
                    rounds = inout(reg) place.steps / 2 => _, rest = in(reg) place.steps % 2,
                );
            }
        }
    };
}

macro_rules! pair {
    ($first:ident $second:ident both) => {
        ($first, $second)
    };
    ($first:ident $second:ident one) => {
        ($first, $first)
    };
}

macro_rules! zeros {
    (($($sum:literal)*)) => { each!("movi v" [$($sum)*] ".4s, #0") };
}

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
    (($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) $a:literal) => {
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
    ($s:tt one) => { unpaired!($s "zip1") };
    ($s:tt both) => { concat!(unpaired!($s "zip1"), unpaired!($s "zip2")) };
    (($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal) $zip:literal) => {
        concat!(
            $zip, " v16.2d, v", $s0, ".2d, v", $s1, ".2d\n",
            $zip, " v17.2d, v", $s2, ".2d, v", $s3, ".2d\n",
            $zip, " v18.2d, v", $s4, ".2d, v", $s5, ".2d\n",
            $zip, " v19.2d, v", $s6, ".2d, v", $s7, ".2d\n",
            "st1 {{v16.4s-v19.4s}}, [{c}], {line}\n",
        )
    };
}

i8mm_block!(i8mm_1, 1, [a0], a0 a1 30 (0 1 2 3 4 5 6 7) one);
i8mm_block!(i8mm_2, 2, [a0, a1], a0 a1 30 (0 1 2 3 4 5 6 7) both);
i8mm_block!(i8mm_3, 3, [a0, a1, a2], a0 a1 30 (0 1 2 3 4 5 6 7) both, a2 a3 31 (8 9 10 11 12 13 14 15) one);
i8mm_block!(i8mm_4, 4, [a0, a1, a2, a3], a0 a1 30 (0 1 2 3 4 5 6 7) both, a2 a3 31 (8 9 10 11 12 13 14 15) both);
