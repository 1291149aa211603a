//! Products by the packed 16-bit instructions of Thumb-2: Cortex-M4 and M7 (ARMv7E-M), ARMv7-A, and ARMv8-M with DSP.
//!
//! `sxtb16` widens two of the four bytes of a word, `smlad` multiplies two pairs of 16 bits and adds both products to a
//! sum. Their intrinsics are not stable, hence the inline assembly. The standard library cannot ask for these instructions; `build.rs` sets `dsp_instructions` for targets
//! that always have them. For a Cortex-M33 set it by hand:
//! `RUSTFLAGS='-C target-cpu=cortex-m33 --cfg dsp_instructions'`.

use super::{
    Kernels,
    blocks::{Block, Place, in_blocks},
    passes,
};
use crate::native::{
    layout::{STEP, TILE},
    product::Product,
};
use core::arch::asm;

/// The DSP instructions. Few rows at a time: microcontrollers have little memory.
pub(super) static DSP: Kernels = Kernels { name: "dsp", rows: 8, product: dsp, passes: passes!(f32) };

/// Blocks of 2 rows where B is packed, by 2 outputs at a time; single rows by 4 outputs elsewhere.
pub fn dsp(product: Product<'_>) -> bool {
    const BLOCKS: &[Block] = &[row, two_rows];
    // SAFETY: this module is compiled only for targets with the instructions.
    unsafe { in_blocks(product, BLOCKS) }
}

/// Bytes 0 and 2 of the word, or 1 and 3, as two numbers of 16 bits each.
#[inline(always)]
fn widened(word: u32) -> [u32; 2] {
    let (even, odd);
    // SAFETY: reads and writes only the named registers.
    unsafe {
        asm!("sxtb16 {}, {}", out(reg) even, in(reg) word, options(pure, nomem, nostack, preserves_flags));
        asm!("sxtb16 {}, {}, ror #8", out(reg) odd, in(reg) word, options(pure, nomem, nostack, preserves_flags));
    }
    [even, odd]
}

/// The sum and both products of 16 bits. It cannot overflow (`MAX_K`), so no flag changes.
#[inline(always)]
fn smlad(sum: i32, a: u32, b: u32) -> i32 {
    let result;
    // SAFETY: reads and writes only the named registers.
    unsafe {
        asm!("smlad {}, {}, {}, {}", out(reg) result, in(reg) a, in(reg) b, in(reg) sum,
            options(pure, nomem, nostack, preserves_flags));
    }
    result
}

/// # Safety
/// As [`Block`] says, with one row.
unsafe fn row(place: Place) {
    const OUTPUTS: usize = 4;
    let Place { a, b, b_step, steps, c, .. } = place;
    for output in (0..TILE).step_by(OUTPUTS) {
        let (mut a, mut b) = (a, b.wrapping_add(output * STEP));
        let mut sums = [0; OUTPUTS];
        // SAFETY: `steps` of B and as many quarters of A can be read, and one tile of C written.
        unsafe {
            for _ in 0..steps {
                let values = widened(a.cast::<u32>().read_unaligned());
                for (column, sum) in sums.iter_mut().enumerate() {
                    let weights = widened(b.add(column * STEP).cast::<u32>().read_unaligned());
                    *sum = smlad(smlad(*sum, values[0], weights[0]), values[1], weights[1]);
                }
                a = a.wrapping_add(STEP);
                b = b.wrapping_add(b_step);
            }
            for (column, sum) in sums.into_iter().enumerate() {
                c.add(output + column).write(sum);
            }
        }
    }
}

/// # Safety
/// As [`Block`] says, with two rows.
unsafe fn two_rows(place: Place) {
    let Place { a, lda, b, b_step, steps, c, ldc } = place;
    if b_step != TILE * STEP {
        // SAFETY: the caller's promise.
        unsafe {
            row(place);
            row(Place { a: a.add(lda), c: c.add(ldc), ..place });
        }
        return;
    }
    for output in (0..TILE).step_by(2) {
        let [mut s00, mut s01, mut s10, mut s11] = [0; 4];
        // SAFETY: `steps` of packed B and as many quarters of A in two rows can be read, and two rows by one tile of C
        // written. All 14 registers are used: r6 and r7, which cannot be operands, are put back.
        unsafe {
            asm!(
                "push {{r6, r7}}",
                "2:",
                "ldr r6, [r0], #4",
                "ldr r7, [r1], #4",
                "ldr lr, [r2, #4]",
                "sxtb16 r5, r6",
                "sxtb16 r6, r6, ror #8",
                "sxtb16 r4, r7",
                "sxtb16 r7, r7, ror #8",
                "sxtb16 r12, lr",
                "sxtb16 lr, lr, ror #8",
                "smlad r9, r5, r12, r9",
                "smlad r11, r4, r12, r11",
                "ldr r12, [r2], #64",
                "smlad r9, r6, lr, r9",
                "smlad r11, r7, lr, r11",
                "sxtb16 lr, r12",
                "sxtb16 r12, r12, ror #8",
                "subs r3, r3, #1",
                "smlad r8, r5, lr, r8",
                "smlad r10, r4, lr, r10",
                "smlad r8, r6, r12, r8",
                "smlad r10, r7, r12, r10",
                "bne 2b",
                "pop {{r6, r7}}",
                inout("r0") a => _, inout("r1") a.add(lda) => _, inout("r2") b.add(output * STEP) => _,
                inout("r3") steps => _, out("r4") _, out("r5") _,
                inout("r8") s00, inout("r9") s01, inout("r10") s10, inout("r11") s11,
                out("r12") _, out("lr") _,
            );
            c.add(output).write(s00);
            c.add(output + 1).write(s01);
            c.add(ldc + output).write(s10);
            c.add(ldc + output + 1).write(s11);
        }
    }
}
