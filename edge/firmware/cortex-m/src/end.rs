//! The end of the program: a fault or a panic is told to the host, then the board restarts.

use crate::{board, uart::Port};
use common::wire::{Hello, LogLevel, MAX_FRAME, Message, Sender};
use core::{
    cell::RefCell,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};
use cortex_m::{interrupt, peripheral::SCB};
use critical_section::Mutex;
use edge::serve::log;

static HELLO: Mutex<RefCell<Option<Hello>>> = Mutex::new(RefCell::new(None));
static ENDING: AtomicBool = AtomicBool::new(false);

/// Keeps the greeting that a last message has to follow.
pub fn remember(hello: Hello) {
    critical_section::with(|section| HELLO.borrow_ref_mut(section).replace(hello));
}

/// Sends a last message and restarts the board. As its sequence numbers start anew, a greeting comes first.
pub fn end(text: fmt::Arguments<'_>) -> ! {
    interrupt::disable();
    // A fault in what follows must not start it again. With one core and no interrupts a load and a store will do.
    if ENDING.load(Ordering::Relaxed) {
        SCB::sys_reset();
    }
    ENDING.store(true, Ordering::Relaxed);
    let port = Port::host();
    // It may not have been opened yet.
    port.open_to_send(board::HOST_BAUD);
    let (mut sender, mut buffer) = (Sender::new(), [0; MAX_FRAME]);
    // Ends whatever frame was under way.
    port.send(&[0]);
    let hello =
        critical_section::with(|section| HELLO.borrow(section).try_borrow().ok().and_then(|hello| hello.clone()));
    let last = Message::Log(log(LogLevel::Error, text));
    for message in hello.map(Message::Hello).into_iter().chain([last]) {
        if let Ok(frame) = sender.encode(&message, &mut buffer) {
            port.send(frame);
        }
    }
    SCB::sys_reset()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    end(format_args!("{info}"))
}

/// Reads where the fault was, and starts the stack anew: the old one may have overflowed.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn HardFault() -> ! {
    core::arch::naked_asm!(
        "mrs r0, msp",
        "movs r1, #0",
        "movs r2, #0",
        "ldr r3, =_stack_end",
        "cmp r0, r3",
        "blo 0f",
        // Of what the processor stores: the interrupted instruction and its link register.
        "ldr r1, [r0, #24]",
        "ldr r2, [r0, #20]",
        "0:",
        "ldr r3, =_stack_start",
        "msr msp, r3",
        "b {fault}",
        fault = sym fault,
    )
}

/// `stack`: the stack pointer after the fault; `at`, `link`: 0 if the stack overflowed.
extern "C" fn fault(stack: u32, at: u32, link: u32) -> ! {
    // SAFETY: reading this register has no effect.
    let status = unsafe { (*SCB::PTR).cfsr.read() };
    match at {
        0 => end(format_args!("stack overflow: SP {stack:#010x} CFSR {status:#010x}")),
        _ => end(format_args!("hard fault: PC {at:#010x} LR {link:#010x} SP {stack:#010x} CFSR {status:#010x}")),
    }
}
