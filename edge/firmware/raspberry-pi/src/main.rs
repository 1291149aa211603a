//! `kernel8.img`.
#![no_std]
#![no_main]

use embedded_io::{Read as _, Write as _};
use raspberry_pi::{board::Board, cpu, exception, mailbox, uart};

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    exception::end(format_args!("{info}"))
}

/// Called by boot.s on one core, with caches on and interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let Some(board) = Board::from_midr(cpu::midr()) else { cpu::halt() };
    let clock = mailbox::set_uart_clock(board, uart::CLOCK);
    let Some(mut port) = uart::Uart::open(board, clock.unwrap_or(uart::CLOCK)) else { cpu::halt() };
    let _ = port.write_all(b"hello\n");
    let mut buffer = [0; 64];
    loop {
        let Ok(read) = port.read(&mut buffer);
        let _ = port.write_all(&buffer[..read]);
        if buffer[0] == b'!' {
            unsafe { core::ptr::read_volatile(16 as *const u32) };
        }
        if buffer[0] == b'%' {
            panic!("percent");
        }
    }
}
