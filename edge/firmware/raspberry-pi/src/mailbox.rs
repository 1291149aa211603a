//! Requests to the firmware on the graphics processor: the rates of clocks.

use crate::{board::Board, clock, cpu, mmio::Registers};
use static_cell::StaticCell;

const READ: usize = 0x00;
const STATUS: usize = 0x18;
const WRITE: usize = 0x20;
const FULL: u32 = 1 << 31;
const EMPTY: u32 = 1 << 30;
/// The channel of property requests.
const PROPERTIES: u32 = 8;
const GET_RATE: u32 = 0x0003_0002;
const GET_HIGHEST_RATE: u32 = 0x0003_0004;
const SET_RATE: u32 = 0x0003_8002;
const SUCCESS: u32 = 1 << 31;
/// How the graphics processor addresses memory past its cache.
const BUS: u32 = 0xc000_0000;
/// The firmware answers within milliseconds.
const PATIENCE_MICROS: u64 = 100_000;

/// A clock that the firmware governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Of the serial port.
    Uart = 2,
    /// Of the processor's cores.
    Arm = 3,
}

/// A request in a cache line of its own. It stays for ever, because the firmware may write to it after its answer is
/// no longer waited for.
#[repr(C, align(64))]
struct Request([u32; 16]);

/// The way to ask the firmware, one request at a time.
pub struct Mailbox {
    registers: Registers<0x24>,
    /// Taken away when the firmware did not answer: a late answer would pass for that to the next request.
    request: Option<&'static mut Request>,
}

impl Mailbox {
    /// The mailbox of `board`; `None` if it was opened before.
    #[must_use]
    pub fn open(board: Board) -> Option<Self> {
        static REQUEST: StaticCell<Request> = StaticCell::new();
        let request = Some(REQUEST.try_init(Request([0; 16]))?);
        // SAFETY: the mailbox of both boards. The firmware writes to the request only, between `flush_line`s.
        let registers = unsafe { Registers::new(board.peripherals() + 0xb880) };
        Some(Self { registers, request })
    }

    /// The rate of a clock, hertz; `None` if the firmware does not say.
    pub fn rate(&mut self, clock: Clock) -> Option<u32> {
        self.call(GET_RATE, [clock as u32, 0, 0])
    }

    /// The highest rate that a clock may have, hertz; `None` if the firmware does not say.
    pub fn highest_rate(&mut self, clock: Clock) -> Option<u32> {
        self.call(GET_HIGHEST_RATE, [clock as u32, 0, 0])
    }

    /// Sets the rate of a clock; returns what it is from now on, hertz, or `None` if the firmware does not say.
    pub fn set_rate(&mut self, clock: Clock, hertz: u32) -> Option<u32> {
        self.call(SET_RATE, [clock as u32, hertz, 0])
    }

    fn call(&mut self, tag: u32, [clock, rate, keep_turbo]: [u32; 3]) -> Option<u32> {
        let request = self.request.take()?;
        // Length, request, one tag: its number, bytes of its buffer, no answer yet, its buffer; end.
        request.0[..9].copy_from_slice(&[36, 0, tag, 12, 0, clock, rate, keep_turbo, 0]);
        cpu::flush_line(request);
        let message = core::ptr::from_ref(&*request) as u32 | BUS | PROPERTIES;
        self.wait_while(FULL)?;
        self.registers.write(WRITE, message);
        loop {
            self.wait_while(EMPTY)?;
            if self.registers.read(READ) == message {
                break;
            }
        }
        cpu::flush_line(request);
        let [_, state, _, _, _, _, rate, ..] = request.0;
        self.request = Some(request);
        (state == SUCCESS && rate > 0).then_some(rate)
    }

    fn wait_while(&self, flag: u32) -> Option<()> {
        let begun = clock::micros();
        while self.registers.read(STATUS) & flag != 0 {
            if clock::micros() - begun > PATIENCE_MICROS {
                return None;
            }
        }
        Some(())
    }
}
