//! Products for aarch64 by the matrix products of ARMv8.6: 2 by 8 times 8 by 2 in one instruction.

use super::{
    block_asm::{blocks, zeros},
    blocks::{Blocks, Place, in_blocks},
};
use crate::native::product::Product;

/// `smmla`: blocks of 4 rows in two pairs, 16 of the 32 registers.
pub fn i8mm(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[i8mm_1, i8mm_2, i8mm_3, i8mm_4];
    // SAFETY: the set that holds this function is handed out only where the processor has the matrix products.
    unsafe { in_blocks(product, BLOCKS) }
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
/// together. A pair is the names of its rows' pointers, its register of inputs, and its 8 of sums, 2 rows by 2
/// outputs each. A single row's partner is whatever is in the register, and its results are not written.
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
