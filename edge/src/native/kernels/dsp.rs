//! Products by the packed 16-bit instructions of Thumb-2: Cortex-M4 and M7 (ARMv7E-M), ARMv7-A, and ARMv8-M with DSP.
//!
//! `sxtb16` widens two of the four bytes of a word, `smlad` multiplies two pairs of 16 bits and adds both products to
//! a sum. Their intrinsics are not stable, hence the inline assembly. The standard library cannot ask for these
//! instructions; `build.rs` sets `dsp_instructions` for targets that always have them. For a Cortex-M33 set it by
//! hand: `RUSTFLAGS='-C target-cpu=cortex-m33 --cfg dsp_instructions'`.

use super::{
    blocks::{Blocks, Place, in_blocks},
    set::{Kernels, passes},
};
use crate::native::{
    layout::{STEP, TILE},
    product::Product,
};
use core::arch::asm;

#[cfg(not(fused_instructions))]
type Floats = f32;
#[cfg(fused_instructions)]
type Floats = super::vfp::Quarter;

/// The DSP instructions. Few rows at a time: microcontrollers have little memory.
pub(super) static DSP: Kernels = Kernels { name: "dsp", rows: 8, product: dsp, passes: passes!(Floats) };

/// Blocks of 2 rows where B is packed, by 2 outputs at a time; single rows by 4 outputs elsewhere.
pub fn dsp(product: Product<'_>) -> bool {
    const BLOCKS: &[Blocks] = &[rows, pairs];
    // SAFETY: this module is compiled only for targets with the instructions.
    unsafe { in_blocks(product, BLOCKS) }
}

/// # Safety
/// As [`Blocks`] says, in blocks of one row.
unsafe fn rows(place: Place, count: usize) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe { row(place.below(index)) };
    }
}

/// # Safety
/// As [`Blocks`] says, in blocks of two rows.
unsafe fn pairs(place: Place, count: usize) {
    if place.b_step != TILE * STEP {
        // SAFETY: the caller's promise.
        return unsafe { rows(place, 2 * count) };
    }
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe { pair(place.below(2 * index)) };
    }
}

/// # Safety
/// The place lies inside a checked product.
unsafe fn row(place: Place) {
    let Place { a, b, b_step, steps, c, .. } = place;
    for output in (0..TILE).step_by(4) {
        let mut sums = [0; 4];
        // SAFETY: `steps` of B and as many quarters of A can be read, and one tile of C written. Sums cannot overflow
        // (`MAX_K`).
        unsafe {
            asm!(
                "2:",
                "ldr {odd}, [{a}], #4",
                "ldr {w}, [{b}]",
                "sxtb16 {even}, {odd}",
                "sxtb16 {odd}, {odd}, ror #8",
                "sxtb16 {x}, {w}",
                "sxtb16 {w}, {w}, ror #8",
                "smlad {s0}, {even}, {x}, {s0}",
                "ldr {x}, [{b}, #4]",
                "smlad {s0}, {odd}, {w}, {s0}",
                "sxtb16 {w}, {x}",
                "sxtb16 {x}, {x}, ror #8",
                "smlad {s1}, {even}, {w}, {s1}",
                "ldr {w}, [{b}, #8]",
                "smlad {s1}, {odd}, {x}, {s1}",
                "sxtb16 {x}, {w}",
                "sxtb16 {w}, {w}, ror #8",
                "smlad {s2}, {even}, {x}, {s2}",
                "ldr {x}, [{b}, #12]",
                "smlad {s2}, {odd}, {w}, {s2}",
                "add {b}, {b}, {step}",
                "sxtb16 {w}, {x}",
                "sxtb16 {x}, {x}, ror #8",
                "subs {steps}, {steps}, #1",
                "smlad {s3}, {even}, {w}, {s3}",
                "smlad {s3}, {odd}, {x}, {s3}",
                "bne 2b",
                a = inout(reg) a => _, b = inout(reg) b.add(output * STEP) => _, step = in(reg) b_step,
                steps = inout(reg) steps => _, s0 = inout(reg) sums[0], s1 = inout(reg) sums[1],
                s2 = inout(reg) sums[2], s3 = inout(reg) sums[3],
                even = out(reg) _, odd = out(reg) _, w = out(reg) _, x = out(reg) _, options(nostack),
            );
            for (column, sum) in sums.into_iter().enumerate() {
                c.add(output + column).write(sum);
            }
        }
    }
}

/// # Safety
/// The place lies inside a checked product of packed B, with another row after it.
unsafe fn pair(place: Place) {
    let Place { a, lda, b, steps, c, ldc, .. } = place;
    for output in (0..TILE).step_by(2) {
        let [mut s00, mut s01, mut s10, mut s11] = [0; 4];
        // SAFETY: `steps` of packed B and as many quarters of A in two rows can be read, and two rows by one tile of
        // C written. All 14 registers are used: r6 and r7, which cannot be operands, are put back.
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
