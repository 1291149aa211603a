//! Products for aarch64 by the dot products of ARMv8.2: four products and their sum in one instruction.

use super::{
    block_asm::{blocks, zeros},
    blocks::{Blocks, Place, in_blocks},
};
use crate::native::product::Product;

/// `sdot`: blocks of 4 rows, 16 of the 32 registers; the others hold 32 inputs of each row and two steps of B.
pub fn dotprod(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[dotprod_1, dotprod_2, dotprod_3, dotprod_4];
    // SAFETY: the set that holds this function is handed out only where the processor has the dot products.
    unsafe { in_blocks(product, BLOCKS) }
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
    ($name:ident, $count:literal,
        $($row:ident $a0:literal $a1:literal [$($sum:literal)*] $from:literal-$to:literal),*) => {
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
