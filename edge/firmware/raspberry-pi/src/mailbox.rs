//! Requests to the firmware on the graphics processor.

use crate::{board::Board, clock, cpu, mmio::Registers};
use static_cell::StaticCell;

const READ: usize = 0x00;
const STATUS: usize = 0x18;
const WRITE: usize = 0x20;
const FULL: u32 = 1 << 31;
const EMPTY: u32 = 1 << 30;
/// The channel of property requests.
const PROPERTIES: u32 = 8;
const SET_CLOCK_RATE: u32 = 0x0003_8002;
const UART_CLOCK: u32 = 2;
const SUCCESS: u32 = 1 << 31;
/// How the graphics processor addresses memory past its cache.
const BUS: u32 = 0xc000_0000;
/// The firmware answers within a millisecond.
const PATIENCE_MICROS: u64 = 100_000;

/// A request in a cache line of its own.
#[repr(C, align(64))]
struct Request([u32; 16]);

/// Asks, once, for a rate of the serial port's clock; returns the rate that it has from now on, in hertz, or `None` if
/// the firmware did not answer.
#[must_use]
pub fn set_uart_clock(board: Board, hertz: u32) -> Option<u32> {
    // It stays for ever, because the firmware may write to it after this function has given up.
    static REQUEST: StaticCell<Request> = StaticCell::new();
    let request = REQUEST.try_init(Request([0; 16]))?;
    // Length, request, one tag: its number, length of its buffer, length of the value, clock, rate, no turbo; end.
    request.0[..9].copy_from_slice(&[36, 0, SET_CLOCK_RATE, 12, 8, UART_CLOCK, hertz, 1, 0]);
    // SAFETY: the mailbox of both boards. The firmware writes to the request only, which is not read before it has
    // answered.
    let mailbox: Registers<0x24> = unsafe { Registers::new(board.peripherals() + 0xb880) };
    let begun = clock::micros();
    let wait_while = |flag| {
        while mailbox.read(STATUS) & flag != 0 {
            if clock::micros() - begun > PATIENCE_MICROS {
                return None;
            }
        }
        Some(())
    };
    cpu::flush_line(request);
    let message = core::ptr::from_ref(request) as u32 | BUS | PROPERTIES;
    wait_while(FULL)?;
    mailbox.write(WRITE, message);
    loop {
        wait_while(EMPTY)?;
        if mailbox.read(READ) == message {
            break;
        }
    }
    cpu::flush_line(request);
    let [_, state, _, _, _, _, rate, ..] = request.0;
    (state == SUCCESS && rate > 0).then_some(rate)
}
