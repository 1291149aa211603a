//! The serial port's interrupt: the only one.

use crate::{board::Board, cpu, mmio::Registers, uart};

/// The serial port's number among the graphics processor's interrupts.
const UART: u32 = 57;

/// Pi 3: enables the second 32 of them.
const ENABLE_2: usize = 0x14;

/// Pi 4: the graphics processor's interrupts start at number 96 of the GIC-400.
const GIC_UART: u32 = 96 + UART;
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

/// Lets the serial port's interrupt come to this core.
pub fn enable(board: Board) {
    match board {
        Board::Pi3 => legacy(board).write(ENABLE_2, 1 << (UART - 32)),
        Board::Pi4 => {
            let (gic, core) = (distributor(), interface());
            gic.write(DISTRIBUTOR_CONTROL, 0);
            let (byte, shift) = ((GIC_UART / 4 * 4) as usize, GIC_UART % 4 * 8);
            gic.modify(PRIORITIES + byte, |old| old & !(0xff << shift) | 0x80 << shift);
            gic.modify(TARGETS + byte, |old| old & !(0xff << shift) | 1 << shift);
            // Level-triggered.
            gic.modify(CONFIGURATION + (GIC_UART / 16 * 4) as usize, |old| old & !(3 << (GIC_UART % 16 * 2)));
            gic.write(SET_ENABLE + (GIC_UART / 32 * 4) as usize, 1 << (GIC_UART % 32));
            gic.write(DISTRIBUTOR_CONTROL, 1);
            core.write(PRIORITY_MASK, 0xff);
            core.write(CORE_CONTROL, 1);
        }
    }
    cpu::enable_interrupts();
}

/// Called by boot.s.
#[unsafe(no_mangle)]
extern "C" fn interrupt() {
    match Board::from_midr(cpu::midr()) {
        Some(Board::Pi4) => {
            let number = interface().read(ACKNOWLEDGE);
            if number & 0x3ff >= SPURIOUS {
                return;
            }
            uart::receive();
            interface().write(END, number);
        }
        _ => uart::receive(),
    }
}
