//! `kernel8.img`.
#![no_std]
#![no_main]

use core::fmt::Write as _;
use embedded_io::{Read as _, Write as _};
use raspberry_pi::{
    board::Board,
    cpu, exception,
    mailbox::{Clock, Mailbox},
    uart,
};

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    exception::end(format_args!("{info}"))
}

/// Called by boot.s on one core, with caches on and interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let Some(board) = Board::from_midr(cpu::midr()) else { cpu::halt() };
    let Some(mut mailbox) = Mailbox::open(board) else { cpu::halt() };
    let clock = mailbox.set_rate(Clock::Uart, uart::CLOCK);
    let Some(mut port) = uart::Uart::open(board, clock.unwrap_or(uart::CLOCK)) else { cpu::halt() };
    let mut s = heapless::String::<99>::new();
    let h = mailbox.highest_rate(Clock::Arm);
    let g = mailbox.set_rate(Clock::Arm, h.unwrap_or(1));
    let r = mailbox.rate(Clock::Arm);
    let _ = writeln!(s, "{h:?} {g:?} {r:?} {clock:?}");
    let _ = port.write_all(s.as_bytes());
    let mut buffer = [0; 64];
    loop {
        let Ok(read) = port.read(&mut buffer);
        let _ = port.write_all(&buffer[..read]);
    }
}
