//! The interrupt controllers: that of the graphics processor on the Pi 3, a GIC-400 on the Pi 4.
//!
//! `arm-gic` 0.10 drives only the second, cannot say which core an interrupt goes to, and sets the priorities of
//! three neighbours to zero with each; it saves 14 lines and brings 12 packages and 0.9 kB (measured 2026-11-30).

use crate::{board::Board, cpu, mmio::Registers};

/// Pi 3: enables the second 32 of them.
const ENABLE_2: usize = 0x14;

/// Pi 4: the graphics processor's interrupts start at this number of the GIC-400.
const FIRST: u32 = 96;
const DISTRIBUTOR_CONTROL: usize = 0x000;
const SET_ENABLE: usize = 0x100;
const PRIORITIES: usize = 0x400;
const TARGETS: usize = 0x800;
const CONFIGURATION: usize = 0xc00;
const CORE_CONTROL: usize = 0x00;
const PRIORITY_MASK: usize = 0x04;
const ACKNOWLEDGE: usize = 0x0c;
const END: usize = 0x10;
/// From here on a number means that nothing is pending.
const SPURIOUS: u32 = 1020;

fn legacy(board: Board) -> Registers<0x28> {
    // SAFETY: the interrupt controller of the Pi 3; it touches no memory.
    unsafe { Registers::new(board.peripherals() + 0xb200) }
}

fn distributor() -> Registers<0x1000> {
    // SAFETY: the GIC-400's distributor on the Pi 4; it touches no memory.
    unsafe { Registers::new(0xff84_1000) }
}

fn interface() -> Registers<0x20> {
    // SAFETY: the GIC-400's interface to this core on the Pi 4; it touches no memory.
    unsafe { Registers::new(0xff84_2000) }
}

/// Lets an interrupt of the graphics processor, number 32 to 63, come to this core.
pub fn enable(board: Board, number: u32) {
    match board {
        Board::Pi3 => legacy(board).write(ENABLE_2, 1 << (number - 32)),
        Board::Pi4 => {
            let (gic, core, number) = (distributor(), interface(), FIRST + number);
            gic.write(DISTRIBUTOR_CONTROL, 0);
            let (byte, shift) = ((number / 4 * 4) as usize, number % 4 * 8);
            gic.modify(PRIORITIES + byte, |old| old & !(0xff << shift) | 0x80 << shift);
            gic.modify(TARGETS + byte, |old| old & !(0xff << shift) | 1 << shift);
            // Level-triggered.
            gic.modify(CONFIGURATION + (number / 16 * 4) as usize, |old| old & !(3 << (number % 16 * 2)));
            gic.write(SET_ENABLE + (number / 32 * 4) as usize, 1 << (number % 32));
            gic.write(DISTRIBUTOR_CONTROL, 1);
            core.write(PRIORITY_MASK, 0xff);
            core.write(CORE_CONTROL, 1);
        }
    }
    cpu::enable_interrupts();
}

/// Handles the only interrupt that is enabled: takes it from the controller, runs `handler`, and gives it back.
pub fn handle(handler: impl FnOnce()) {
    match Board::from_midr(cpu::midr()) {
        Some(Board::Pi4) => {
            let number = interface().read(ACKNOWLEDGE);
            if number & 0x3ff >= SPURIOUS {
                return;
            }
            handler();
            interface().write(END, number);
        }
        _ => handler(),
    }
}
