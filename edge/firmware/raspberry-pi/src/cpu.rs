//! The processor: counter, interrupt mask, caches.

use core::arch::{asm, global_asm};

global_asm!(include_str!("boot.s"));

/// `MIDR_EL1`: which processor this is.
#[must_use]
pub fn midr() -> u64 {
    let value;
    // SAFETY: reads a register that level 1 may read; nothing else changes.
    unsafe { asm!("mrs {}, midr_el1", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The generic timer's counter, and how often it counts a second. `isb` keeps it from being read early.
#[must_use]
pub fn counter() -> (u64, u64) {
    let (count, frequency);
    // SAFETY: reads two registers that boot.s opened to level 1; nothing else changes.
    unsafe {
        asm!("isb", "mrs {}, cntpct_el0", "mrs {}, cntfrq_el0", out(reg) count, out(reg) frequency,
            options(nostack, preserves_flags));
    }
    (count, frequency)
}

/// Lets interrupts come.
pub fn enable_interrupts() {
    // SAFETY: boot.s has set the vectors, and the handler keeps all registers.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// Keeps everything away, system errors too; for the end of the program.
pub fn disable_exceptions() {
    // SAFETY: masks exceptions of this core only.
    unsafe { asm!("msr daifset, #0xf", options(nostack, preserves_flags)) };
}

/// Sleeps until the next interrupt unless `ready`, which an interrupt may change, is true.
pub fn sleep_unless(ready: impl FnOnce() -> bool) {
    critical_section::with(|_| {
        if !ready() {
            // SAFETY: `wfi` also ends at an interrupt that is masked; it is handled at the end of the section.
            unsafe { asm!("wfi", options(nostack, preserves_flags)) };
        }
    });
}

/// Sleeps for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: waits; nothing else changes.
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) };
    }
}

/// Writes the cache line of `value` to memory and drops it, so that another processor sees what was written here, and
/// the next read sees what that one writes.
pub fn flush_line<T>(value: &mut T) {
    const { assert!(align_of::<T>() == 64 && size_of::<T>() == 64, "a cache line of its own") };
    // SAFETY: cleaning and invalidating a line changes no value; the asm may write the whole of it, as far as the
    // compiler knows, through the exclusive reference.
    unsafe {
        asm!("dsb sy", "dc civac, {}", "dsb sy", in(reg) core::ptr::from_mut(value),
            options(nostack, preserves_flags));
    }
}

struct SingleCore;
critical_section::set_impl!(SingleCore);

// SAFETY: one core runs (boot.s parks the others), so masking its interrupts makes a section exclusive. The asm is a
// barrier for the compiler, because it has no `nomem`.
unsafe impl critical_section::Impl for SingleCore {
    unsafe fn acquire() -> critical_section::RawRestoreState {
        let daif: u64;
        // SAFETY: reads and sets this core's interrupt mask.
        unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack, preserves_flags)) };
        daif & 1 << 7 == 0
    }

    unsafe fn release(were_enabled: critical_section::RawRestoreState) {
        if were_enabled {
            enable_interrupts();
        }
    }
}
