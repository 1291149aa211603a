//! Products for aarch64 by NEON alone: products of 8 bits, widened and added up in pairs.

use super::{
    block_asm::{blocks, zeros},
    blocks::{Blocks, Place, in_blocks},
};
use crate::native::product::Product;

/// NEON: blocks of 2 rows, each output in two partial sums, 16 of the 32 registers.
pub fn neon(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[neon_1, neon_2];
    // SAFETY: NEON is part of the target (the module is not compiled otherwise).
    unsafe { in_blocks(product, BLOCKS) }
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
