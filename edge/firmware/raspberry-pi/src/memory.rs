//! Turns memory protection and caches on, before anything else.

use crate::{
    board::Board,
    cpu,
    mmu::{Layout, MAIR, SCTLR, TCR, Tables},
};
use core::{arch::asm, cell::UnsafeCell, ops::Range};

/// Filled by [`enable_mmu`] alone, then read by the processor.
#[repr(transparent)]
struct Shared(UnsafeCell<Tables>);

// SAFETY: written once, by the only core, before anybody else could see it.
unsafe impl Sync for Shared {}

#[unsafe(link_section = ".bss.tables")]
static TABLES: Shared = Shared(UnsafeCell::new(Tables::new()));

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __data_end: u8;
    static __exception_stack_start: u8;
    static __exception_stack_end: u8;
    static __stack_start: u8;
    static __end: u8;
}

/// Called by boot.s with `MIDR_EL1`, on a stack but with `.bss` not zeroed yet. Does not return on an unknown board,
/// on which it knows no way to say anything.
#[unsafe(no_mangle)]
extern "C" fn enable_mmu(midr: u64) {
    let Some(board) = Board::from_midr(midr) else { cpu::halt() };
    let between = |start: *const u8, end: *const u8| Range { start: start as usize, end: end as usize };
    let layout = Layout {
        code: between(&raw const __text_start, &raw const __text_end),
        constants: between(&raw const __text_end, &raw const __rodata_end),
        data: [
            between(&raw const __rodata_end, &raw const __data_end),
            between(&raw const __exception_stack_start, &raw const __exception_stack_end),
            between(&raw const __stack_start, &raw const __end),
        ],
    };
    // SAFETY: nothing else refers to the tables: see `Shared`.
    unsafe { (*TABLES.0.get()).fill(board, &layout) };
    // SAFETY: the tables map all of the program to where it is, so execution goes on at the next instruction. Caches
    // hold nothing of what was written so far (boot.s), and old instructions and translations are dropped.
    unsafe {
        asm!(
            "dsb sy", "ic iallu", "tlbi vmalle1", "dsb sy", "isb",
            "msr mair_el1, {mair}", "msr tcr_el1, {tcr}", "msr ttbr0_el1, {tables}", "isb",
            "msr sctlr_el1, {sctlr}", "isb",
            mair = in(reg) MAIR,
            tcr = in(reg) TCR,
            tables = in(reg) TABLES.0.get(),
            sctlr = in(reg) SCTLR,
            options(nostack, preserves_flags),
        );
    }
}
