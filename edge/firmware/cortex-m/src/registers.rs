//! Registers of peripherals.

use core::ptr;

/// A block of `COUNT` 32-bit registers.
#[derive(Debug, Clone, Copy)]
pub struct Registers<const COUNT: usize> {
    base: usize,
}

impl<const COUNT: usize> Registers<COUNT> {
    /// The registers at `base`.
    ///
    /// # Safety
    /// `base` must be 4-aligned, and `COUNT` words from there registers that touch no memory by themselves.
    pub const unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// Reads register `INDEX`.
    #[inline(always)]
    pub fn read<const INDEX: usize>(self) -> u32 {
        const { assert!(INDEX < COUNT, "no such register") };
        // SAFETY: the register is inside the block, which `new`'s caller vouched for.
        unsafe { ptr::read_volatile((self.base as *const u32).add(INDEX)) }
    }

    /// Writes register `INDEX`.
    #[inline(always)]
    pub fn write<const INDEX: usize>(self, value: u32) {
        const { assert!(INDEX < COUNT, "no such register") };
        // SAFETY: as above.
        unsafe { ptr::write_volatile((self.base as *mut u32).add(INDEX), value) }
    }
}
