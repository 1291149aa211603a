//! Starting anew.

use crate::{board::Board, cpu, mmio::Registers};

const CONTROL: usize = 0x1c;
const TIME: usize = 0x24;
const PASSWORD: u32 = 0x5a00_0000;
const FULL_RESET: u32 = 0x20;
/// Ticks a second.
const SECOND: u32 = 1 << 16;

/// Restarts the board in a second: the time keeps a board that fails at every start from filling the line.
pub fn restart(board: Board) -> ! {
    // SAFETY: the power manager of both boards; a reset ends the program.
    let power: Registers<0x28> = unsafe { Registers::new(board.peripherals() + 0x10_0000) };
    power.write(TIME, PASSWORD | SECOND);
    power.modify(CONTROL, |old| PASSWORD | old & 0x00ff_ffcf | FULL_RESET);
    cpu::halt()
}
