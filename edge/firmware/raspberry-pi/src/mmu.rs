//! Translation tables: every address is mapped to itself, or not at all.
//!
//! The image is mapped page by page: code may be executed and read, constants read, data read and written.
//! Peripherals are device memory. Everything else, page zero and the pages below the stacks among it, faults.
//!
//! With `aarch64-paging` 0.12 this file was 11 lines shorter and the image 1.8 kB larger (measured 2026-11-30); its
//! table allocator can only panic, here before there is a way to report it.

use crate::board::Board;
use core::ops::Range;

const PAGE: usize = 4096;
/// Entries a table.
const ENTRIES: usize = 512;
/// Memory a table of pages maps, bytes.
const REACH: usize = PAGE * ENTRIES;
/// Tables of pages: what they map is as long as the limit in `kernel.ld`.
const TABLES: usize = 8;

/// `MAIR_EL1`: attribute 0 is write-back cacheable memory, attribute 1 device memory (nGnRE).
pub const MAIR: u64 = 0x04ff;
/// `TCR_EL1`: 32-bit addresses, pages of 4 KiB, table walks through the inner shareable write-back caches; no
/// `TTBR1`.
pub const TCR: u64 = 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | 32;
/// `SCTLR_EL1`: what reads as one, and: MMU, data and instruction cache, stack alignment check, no execution from
/// writable memory.
pub const SCTLR: u64 = 0x30d0_0800 | 1 << 19 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

const TABLE: u64 = 0b11;
const BLOCK: u64 = 0b01;
const PAGE_ENTRY: u64 = 0b11;
const ACCESSED: u64 = 1 << 10;
const INNER_SHAREABLE: u64 = 3 << 8;
const READ_ONLY: u64 = 1 << 7;
const NEVER_EXECUTED: u64 = 3 << 53;
/// Executable at level 1, not at level 0.
const EXECUTABLE: u64 = 1 << 54;
const NORMAL: u64 = ACCESSED | INNER_SHAREABLE;
const DEVICE: u64 = 1 << 2 | ACCESSED | NEVER_EXECUTED;

/// Where the parts of the image lie; all ends are page-aligned.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Code.
    pub code: Range<usize>,
    /// Constants.
    pub constants: Range<usize>,
    /// What may be written: data, stacks, buffers. Gaps between them stay unmapped.
    pub data: [Range<usize>; 3],
}

impl Layout {
    /// The page entry for the page at `address`; 0 is not mapped.
    fn entry(&self, address: usize) -> u64 {
        let attributes = if self.code.contains(&address) {
            NORMAL | READ_ONLY | EXECUTABLE
        } else if self.constants.contains(&address) {
            NORMAL | READ_ONLY | NEVER_EXECUTED
        } else if self.data.iter().any(|part| part.contains(&address)) {
            NORMAL | NEVER_EXECUTED
        } else {
            return 0;
        };
        address as u64 | attributes | PAGE_ENTRY
    }
}

/// All tables, level by level.
#[repr(C, align(4096))]
pub struct Tables {
    level1: [u64; ENTRIES],
    level2: [u64; ENTRIES],
    level3: [[u64; ENTRIES]; TABLES],
}

impl Tables {
    /// Tables that map nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { level1: [0; ENTRIES], level2: [0; ENTRIES], level3: [[0; ENTRIES]; TABLES] }
    }

    /// Fills in every entry. The tables must stay where they are: they hold their own addresses.
    pub fn fill(&mut self, board: Board, layout: &Layout) {
        for (index, page) in self.level3.as_flattened_mut().iter_mut().enumerate() {
            *page = layout.entry(index * PAGE);
        }
        self.level2.fill(0);
        for (entry, table) in self.level2.iter_mut().zip(&self.level3) {
            *entry = address_of(table) | TABLE;
        }
        self.level1.fill(0);
        self.level1[0] = address_of(&self.level2) | TABLE;
        match board {
            Board::Pi3 => {
                // The last 16 MiB of the first gigabyte; the local interrupt controller lies behind it.
                let first = board.peripherals() / REACH;
                for (index, entry) in self.level2.iter_mut().enumerate().skip(first) {
                    *entry = (index * REACH) as u64 | DEVICE | BLOCK;
                }
                self.level1[1] = 1 << 30 | DEVICE | BLOCK;
            }
            // The fourth gigabyte; the memory that some boards have at its start is not used.
            Board::Pi4 => self.level1[3] = 3 << 30 | DEVICE | BLOCK,
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

fn address_of<T>(value: &T) -> u64 {
    core::ptr::from_ref(value) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        code: 0x8_0000..0xa_0000,
        constants: 0xa_0000..0x30_0000,
        data: [0x30_0000..0x31_0000, 0x31_1000..0x32_1000, 0x32_2000..0x100_0000],
    };

    /// Follows the tables as the processor does; gives the attributes of an address that is mapped to itself.
    fn walk(tables: &Tables, address: usize) -> Option<u64> {
        const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
        let leaf = |entry: u64, size: usize| {
            assert_eq!((entry & ADDRESS) as usize, address / size * size, "{address:#x} is mapped elsewhere");
            assert_ne!(entry & ACCESSED, 0, "the first access of {address:#x} would fault");
            Some(entry & !ADDRESS)
        };
        let first = tables.level1[address >> 30];
        match first & 3 {
            0 => return None,
            1 => return leaf(first, 1 << 30),
            _ => assert_eq!(first & ADDRESS, address_of(&tables.level2)),
        }
        let second = tables.level2[address >> 21 & 511];
        match second & 3 {
            0 => return None,
            1 => return leaf(second, 1 << 21),
            _ => assert_eq!(second & ADDRESS, address_of(&tables.level3[address >> 21])),
        }
        let third = tables.level3[address >> 21][address >> 12 & 511];
        if third == 0 { None } else { leaf(third, 1 << 12) }
    }

    fn tables(board: Board) -> Box<Tables> {
        let mut tables = Box::new(Tables::new());
        // What was there before must not show.
        tables.level2.fill(u64::MAX);
        tables.level1.fill(u64::MAX);
        tables.fill(board, &LAYOUT);
        tables
    }

    #[test]
    fn memory_is_protected_by_what_it_holds() {
        for board in [Board::Pi3, Board::Pi4] {
            let tables = tables(board);
            let writable = |a| walk(&tables, a).map(|entry| entry & READ_ONLY == 0);
            let executable = |a| walk(&tables, a).map(|entry| entry >> 53 & 1 == 0);
            let cached = |a| walk(&tables, a).map(|entry| entry >> 2 & 7 == 0);
            for (address, expected) in [
                (0, None),
                (0x7_f000, None),
                (0x8_0000, Some((false, true))),
                (0x9_ffff, Some((false, true))),
                (0xa_0000, Some((false, false))),
                (0x2f_ffff, Some((false, false))),
                (0x30_0000, Some((true, false))),
                (0x31_0000, None),
                (0x31_1000, Some((true, false))),
                (0x32_1fff, None),
                (0xff_ffff, Some((true, false))),
                (0x100_0000, None),
                (0x3000_0000, None),
            ] {
                assert_eq!(writable(address).zip(executable(address)), expected, "{address:#x}");
                assert_ne!(cached(address), Some(false), "{address:#x}");
            }
        }
    }

    #[test]
    fn peripherals_are_device_memory() {
        for (board, inside, outside) in [
            (Board::Pi3, [0x3f20_1000, 0x3fff_ffff, 0x4000_000c], [0x3eff_ffff, 0xfe20_1000, 0x8000_0000]),
            (Board::Pi4, [0xfe20_1000, 0xff84_1000, 0xff84_2000], [0x3f20_1000, 0x4000_000c, 0x8000_0000]),
        ] {
            let tables = tables(board);
            for address in inside {
                let entry = walk(&tables, address).expect("mapped");
                assert_eq!((entry >> 2 & 7, entry >> 53 & 3, entry & READ_ONLY), (1, 3, 0), "{address:#x}");
            }
            for address in outside {
                assert_eq!(walk(&tables, address), None, "{address:#x}");
            }
        }
    }
}
