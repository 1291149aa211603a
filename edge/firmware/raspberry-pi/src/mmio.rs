//! Registers of peripherals.

use core::ptr;

/// A block of 32-bit registers, `SIZE` bytes long.
#[derive(Debug)]
pub struct Registers<const SIZE: usize> {
    base: usize,
}

impl<const SIZE: usize> Registers<SIZE> {
    /// The registers at `base`.
    ///
    /// # Safety
    /// `base` must be 4-aligned, and `SIZE` bytes from there registers that are mapped as device memory. Whatever
    /// they do to memory by themselves is the caller's responsibility.
    #[must_use]
    pub const unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at `offset`.
    #[inline(always)]
    #[must_use]
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: `address` checks that the register is inside the block, which `new`'s caller vouched for.
        unsafe { ptr::read_volatile(self.address(offset)) }
    }

    /// Writes the register at `offset`.
    #[inline(always)]
    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(self.address(offset), value) }
    }

    /// Reads, changes and writes the register at `offset`: not atomic.
    pub fn modify(&self, offset: usize, change: impl FnOnce(u32) -> u32) {
        self.write(offset, change(self.read(offset)));
    }

    #[inline(always)]
    fn address(&self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= SIZE, "no such register");
        (self.base + offset) as *mut u32
    }
}
