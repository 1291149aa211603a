//! defmt's logs, over a serial port of their own: `defmt-print` decodes them.

use crate::{board, uart::Port};
use core::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, Ordering},
};
use critical_section::{Mutex, RestoreState};

/// Opens the port; before, logs are lost.
pub fn open() {
    Port::logs().open_to_send(board::LOG_BAUD);
}

#[defmt::global_logger]
struct Logger;

static TAKEN: AtomicBool = AtomicBool::new(false);
static ENCODER: Mutex<RefCell<defmt::Encoder>> = Mutex::new(RefCell::new(defmt::Encoder::new()));
static RESTORE: Mutex<Cell<RestoreState>> = Mutex::new(Cell::new(RestoreState::invalid()));

fn with(work: impl FnOnce(&mut defmt::Encoder)) {
    critical_section::with(|section| work(&mut ENCODER.borrow_ref_mut(section)));
}

fn send(bytes: &[u8]) {
    Port::logs().send(bytes);
}

// SAFETY: from `acquire` to `release` interrupts are off, so that nothing else logs on the only core.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: `release` ends it.
        let restore = unsafe { critical_section::acquire() };
        // A log inside a log would be mixed into it. defmt forbids it, and a panic could not be told better.
        assert!(!TAKEN.swap(true, Ordering::Relaxed), "a log inside a log");
        critical_section::with(|section| RESTORE.borrow(section).set(restore));
        with(|encoder| encoder.start_frame(send));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        with(|encoder| encoder.end_frame(send));
        TAKEN.store(false, Ordering::Relaxed);
        let restore = critical_section::with(|section| RESTORE.borrow(section).get());
        // SAFETY: began in `acquire`.
        unsafe { critical_section::release(restore) }
    }

    unsafe fn write(bytes: &[u8]) {
        with(|encoder| encoder.write(bytes, send));
    }
}
