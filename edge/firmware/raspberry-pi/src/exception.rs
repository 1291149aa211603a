//! The end of the program: a fault or a panic is sent to the host as an error message, then the board restarts.

use crate::{board::Board, cpu, fault::Fault, uart, watchdog};
use common::wire::{Hello, Log, LogLevel, MAX_FRAME, Message, Sender};
use core::{
    cell::RefCell,
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};
use critical_section::Mutex;
use heapless::String;

static HELLO: Mutex<RefCell<Option<Hello>>> = Mutex::new(RefCell::new(None));
static ENDING: AtomicBool = AtomicBool::new(false);

/// Keeps the greeting that a last message has to follow.
pub fn remember(hello: Hello) {
    critical_section::with(|section| HELLO.borrow_ref_mut(section).replace(hello));
}

/// Sends a last message and restarts the board. As its sequence numbers start anew, a greeting comes first.
pub fn end(text: fmt::Arguments<'_>) -> ! {
    cpu::disable_exceptions();
    let Some(board) = Board::from_midr(cpu::midr()) else { cpu::halt() };
    // A fault in what follows must not start it again. With one core and no interrupts a load and a store will do.
    if ENDING.load(Ordering::Relaxed) {
        watchdog::restart(board);
    }
    ENDING.store(true, Ordering::Relaxed);
    let mut line = String::<200>::new();
    // What does not fit is cut.
    let _ = line.write_fmt(text);
    let (mut sender, mut buffer) = (Sender::new(), [0; MAX_FRAME]);
    // Ends whatever frame was under way.
    uart::send_last(board, &[0]);
    let hello =
        critical_section::with(|section| HELLO.borrow(section).try_borrow().ok().and_then(|hello| hello.clone()));
    for message in hello.map(Message::Hello).into_iter().chain([Message::Log(Log::new(LogLevel::Error, &line))]) {
        if let Ok(frame) = sender.encode(&message, &mut buffer) {
            uart::send_last(board, frame);
        }
    }
    watchdog::restart(board)
}

/// Called by boot.s.
#[unsafe(no_mangle)]
extern "C" fn exception(vector: u64, esr: u64, elr: u64, far: u64, link: u64) -> ! {
    end(format_args!("{}", Fault { vector, esr, elr, far, link }))
}
